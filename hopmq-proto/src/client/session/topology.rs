use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use thiserror::Error;

use super::Entity;
use super::aliases::Aliases;
use super::bindings::{Bindings, Destination, Key};
use super::consumers::Consumers;
use crate::amqp::{FieldTable, Method, ShortStr, exchange, queue};
use crate::client::Token;

/// What a session declared and did not delete, kept as the server would keep it if nobody else were there: what goes
/// with something else, goes here too.
///
/// It is fed with what the server has answered, in the order of the answers, and with what was sent without asking for
/// one. What came before it by another connection it knows nothing of.
#[derive(Debug)]
pub(crate) struct Topology {
    exchanges: BTreeMap<ShortStr, exchange::Declare>,
    /// The name in the method is empty when the server is to choose one.
    queues: BTreeMap<ShortStr, queue::Declare>,
    bindings: Bindings,
    consumers: Consumers,
    aliases: Aliases,
    max_entities: usize,
}

/// Why a session could not remember something that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unrecorded {
    /// It remembers as many exchanges, queues and bindings as it may.
    #[error("a session remembers no more than {0} exchanges, queues and bindings")]
    Full(usize),
    /// The server has named the queue, and was asked not to answer.
    #[error("nobody knows the name that the server gave to the queue")]
    Unnamed,
}

impl Topology {
    /// With at most so many exchanges, queues and bindings together.
    pub(crate) fn new(max_entities: usize) -> Self {
        Self {
            exchanges: BTreeMap::new(),
            queues: BTreeMap::new(),
            bindings: Bindings::default(),
            consumers: Consumers::default(),
            aliases: Aliases::default(),
            max_entities,
        }
    }

    /// The server has done what `method` asks, or it was asked not to answer. `declared` is the name in `declare-ok`.
    ///
    /// # Errors
    ///
    /// When it cannot be recorded: then it will not be restored.
    pub(crate) fn on_done(&mut self, method: &Method, declared: Option<&ShortStr>) -> Result<(), Unrecorded> {
        match method {
            Method::ExchangeDeclare(declare) if !declare.passive => return self.on_exchange_declare(declare),
            Method::ExchangeDelete(delete) => self.remove_exchange(&delete.exchange.without_line_breaks()),
            Method::ExchangeBind(bind) => {
                let to = Destination::Exchange(bind.destination.without_line_breaks());
                let key = Key::new(&bind.source, to, &bind.routing_key, &bind.arguments);
                return self.on_bind(key, bind.arguments.clone());
            }
            Method::ExchangeUnbind(unbind) => {
                let to = Destination::Exchange(unbind.destination.without_line_breaks());
                self.on_unbind(&Key::new(&unbind.source, to, &unbind.routing_key, &unbind.arguments));
            }
            Method::QueueDeclare(declare) if !declare.passive => {
                return self.on_queue_declare(declare, declared);
            }
            Method::QueueDelete(delete) => self.remove_queue(&self.queue_name(&delete.queue)),
            Method::QueueBind(bind) => {
                let queue = self.queue_name(&bind.queue);
                if queue.is_empty() {
                    return Err(Unrecorded::Unnamed);
                }
                let key =
                    Key::new(&bind.exchange, Destination::Queue(queue), &bind.routing_key, &bind.arguments);
                return self.on_bind(key, bind.arguments.clone());
            }
            Method::QueueUnbind(unbind) => {
                let to = Destination::Queue(self.queue_name(&unbind.queue));
                self.on_unbind(&Key::new(&unbind.exchange, to, &unbind.routing_key, &unbind.arguments));
            }
            _ => {}
        }
        Ok(())
    }

    /// The name of a queue today, as RabbitMQ writes it.
    pub(crate) fn queue_name(&self, name: &ShortStr) -> ShortStr {
        let name = name.without_line_breaks();
        self.aliases.resolve(name.as_bytes()).cloned().unwrap_or(name)
    }

    fn check_room(&self) -> Result<(), Unrecorded> {
        let len = self.exchanges.len() + self.queues.len() + self.bindings.len();
        if len < self.max_entities { Ok(()) } else { Err(Unrecorded::Full(self.max_entities)) }
    }

    fn on_exchange_declare(&mut self, declare: &exchange::Declare) -> Result<(), Unrecorded> {
        let name = declare.exchange.without_line_breaks();
        if is_predeclared(&name) {
            return Ok(());
        }
        if !self.exchanges.contains_key(&name) {
            self.check_room()?;
        }
        let declare = exchange::Declare { exchange: name.clone(), no_wait: false, ..declare.clone() };
        self.exchanges.insert(name, declare);
        Ok(())
    }

    fn on_queue_declare(
        &mut self,
        declare: &queue::Declare,
        declared: Option<&ShortStr>,
    ) -> Result<(), Unrecorded> {
        let name = declared.cloned().unwrap_or_else(|| declare.queue.without_line_breaks());
        if name.is_empty() {
            return Err(Unrecorded::Unnamed);
        }
        let by_server = match self.queues.get(&name) {
            Some(known) => known.queue.is_empty(),
            // Only a server gives names that begin so, but for direct reply-to, which is no queue.
            None if declare.queue.as_bytes().starts_with(b"amq.") => return Ok(()),
            None => {
                self.check_room()?;
                declare.queue.is_empty()
            }
        };
        let queue = if by_server { ShortStr::empty() } else { name.clone() };
        self.aliases.free(&name);
        self.queues.insert(name, queue::Declare { queue, no_wait: false, ..declare.clone() });
        Ok(())
    }

    fn on_bind(&mut self, key: Key, arguments: FieldTable) -> Result<(), Unrecorded> {
        if !self.bindings.contains(&key) {
            self.check_room()?;
            self.bindings.insert(key, arguments);
        }
        Ok(())
    }

    fn on_unbind(&mut self, key: &Key) {
        let sources = self.bindings.remove(key);
        self.remove_unbound(sources.into_iter().collect());
    }

    fn remove_exchange(&mut self, name: &ShortStr) {
        self.exchanges.remove(name);
        self.bindings.remove_source(name);
        let sources = self.bindings.remove_destination(&Destination::Exchange(name.clone()));
        self.remove_unbound(sources);
    }

    fn remove_queue(&mut self, name: &ShortStr) {
        let sources = self.forget_queue(name);
        self.remove_unbound(sources);
    }

    /// Gives the sources of its bindings.
    fn forget_queue(&mut self, name: &ShortStr) -> Vec<ShortStr> {
        self.queues.remove(name);
        self.aliases.forget(name);
        self.consumers.forget(name);
        self.bindings.remove_destination(&Destination::Queue(name.clone()))
    }

    /// Removes the auto-delete exchanges among those that have lost a binding, and what goes with them.
    fn remove_unbound(&mut self, sources: Vec<ShortStr>) {
        let mut work = vec![sources];
        while let Some(sources) = work.pop() {
            for source in sources {
                let is_auto = self.exchanges.get(&source).is_some_and(|exchange| exchange.auto_delete);
                if is_auto && !self.bindings.has_source(&source) {
                    self.exchanges.remove(&source);
                    work.push(self.bindings.remove_destination(&Destination::Exchange(source)));
                }
            }
        }
    }

    /// A consumer runs. Once for each; one that is resumed after a loss still does.
    pub(crate) fn on_consumer_started(&mut self, consumer: Token, queue: &ShortStr) {
        let queue = self.queue_name(queue);
        self.consumers.insert(consumer, queue);
    }

    /// A consumer was cancelled, or its channel has ended. An auto-delete queue goes with the last one.
    pub(crate) fn on_consumer_ended(&mut self, consumer: Token) {
        if let Some((queue, true)) = self.consumers.remove(consumer)
            && self.queues.get(&queue).is_some_and(|declare| declare.auto_delete)
        {
            self.remove_queue(&queue);
        }
    }

    /// A consumer was not resumed after a loss: its queue, which is new if it was an auto-delete one, waits for a first
    /// consumer again.
    pub(crate) fn on_consumer_refused(&mut self, consumer: Token) {
        self.consumers.remove(consumer);
    }

    /// The server has cancelled a consumer: its queue is gone. One whose queue has been deleted since, and perhaps
    /// declared anew, is known no more, and its cancel says nothing.
    pub(crate) fn on_consumer_cancelled(&mut self, consumer: Token) {
        if let Some((queue, _)) = self.consumers.remove(consumer) {
            self.remove_queue(&queue);
        }
    }

    /// Something was not restored. It is forgotten until it is declared anew, with the bindings that need it.
    pub(crate) fn on_refused(&mut self, entity: &Entity) {
        match entity {
            Entity::Exchange(declare) => {
                self.exchanges.remove(&declare.exchange);
                self.bindings.remove_source(&declare.exchange);
                self.bindings.remove_destination(&Destination::Exchange(declare.exchange.clone()));
            }
            Entity::Queue { name, .. } => {
                self.queues.remove(name);
                self.aliases.forget(name);
                self.bindings.remove_destination(&Destination::Queue(name.clone()));
            }
            Entity::ExchangeBinding(bind) => {
                let to = Destination::Exchange(bind.destination.clone());
                self.bindings.remove(&Key::new(&bind.source, to, &bind.routing_key, &bind.arguments));
            }
            Entity::Binding(bind) => {
                let to = Destination::Queue(bind.queue.clone());
                self.bindings.remove(&Key::new(&bind.exchange, to, &bind.routing_key, &bind.arguments));
            }
            Entity::Consumer(_) => {}
        }
    }

    /// A queue that the server named has been declared again, and has another name now.
    pub(crate) fn rename(&mut self, old: &ShortStr, new: &ShortStr) {
        if old == new {
            return;
        }
        let Some(declare) = self.queues.remove(old) else { return };
        self.queues.insert(new.clone(), declare);
        self.bindings.rename_queue(old, new);
        self.consumers.rename(old, new);
        self.aliases.rename(old, new);
    }

    /// Puts the name that a queue has today wherever a former one stands.
    pub(crate) fn resolve(&self, method: &mut Method) {
        let queue = match method {
            Method::QueueDeclare(declare) if declare.passive => &mut declare.queue,
            Method::QueueBind(bind) => &mut bind.queue,
            Method::QueueUnbind(unbind) => &mut unbind.queue,
            Method::QueuePurge(purge) => &mut purge.queue,
            Method::QueueDelete(delete) => &mut delete.queue,
            Method::BasicConsume(consume) => &mut consume.queue,
            Method::BasicGet(get) => &mut get.queue,
            _ => return,
        };
        if let Some(current) = self.aliases.resolve(queue.as_bytes()) {
            *queue = current.clone();
        }
    }

    /// The name of a queue today, when `former` is one it had before: the routing key for the default exchange.
    pub(crate) fn resolve_name(&self, former: &[u8]) -> Option<&ShortStr> {
        self.aliases.resolve(former)
    }

    /// What to restore, each after what it needs: exchanges, their bindings, queues, their bindings. Each group is in
    /// the order of the names.
    pub(crate) fn plan(&self, filter: Option<&dyn Fn(&Entity) -> bool>) -> Vec<Entity> {
        let exchanges = self.exchanges.values().cloned().map(Entity::Exchange);
        let queues = self
            .queues
            .iter()
            .map(|(name, declare)| Entity::Queue { name: name.clone(), declare: declare.clone() });
        exchanges
            .chain(self.bindings.of_exchanges())
            .chain(queues)
            .chain(self.bindings.of_queues())
            .filter(|entity| filter.is_none_or(|is_wanted| is_wanted(entity)))
            .collect()
    }
}

/// Whether the server has it, whoever declares it. <https://www.rabbitmq.com/docs/exchanges#predeclared>
fn is_predeclared(name: &ShortStr) -> bool {
    name.is_empty() || name.as_bytes().starts_with(b"amq.")
}
