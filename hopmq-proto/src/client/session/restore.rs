use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use thiserror::Error;

use super::{Entity, Unrecorded};
use crate::amqp::{Arguments, Method, ReplyCode, ShortStr, basic, exchange, queue};
use crate::client::{CloseReason, CommandError};
use crate::{Deadlines, Instant};

/// A channel that is closed for no named cause, this often in a row, is closed because of the entity that is next.
const MAX_UNEXPLAINED: u32 = 3;

/// What became of an entity after a loss.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityOutcome {
    /// The entity. A queue that the server named has its new name.
    pub entity: Entity,
    /// Whether it is there again.
    pub result: Result<(), Refused>,
}

impl EntityOutcome {
    /// The name of a queue that is there again, if it goes with its last consumer.
    pub(super) fn auto_delete_queue(&self) -> Option<&ShortStr> {
        match (&self.entity, &self.result) {
            (Entity::Queue { name, declare }, Ok(())) if declare.auto_delete => Some(name),
            _ => None,
        }
    }
}

/// Why an entity was not restored. It is not tried again until it is declared anew.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The server has refused it: with 405 for as long as an exclusive queue may be locked, or with any other code once.
    #[error(transparent)]
    Server(Arc<CloseReason>),
    /// The server has left it without an answer on two connections in a row, each time until it was given up; on four if
    /// the server said nothing else meanwhile.
    #[error("the server did not answer, on two connections one after the other")]
    Unanswered,
    /// It needs another entity, which was refused.
    #[error("it needs {0}, which was refused")]
    Needs(Box<Entity>),
    /// It cannot be sent: its arguments may be longer than this server's frames.
    #[error(transparent)]
    NotSent(CommandError),
    /// It could not be remembered when it was made. It is there, until it is lost.
    #[error(transparent)]
    Unrecorded(Unrecorded),
}

/// How a plan is carried out.
#[derive(Debug, Clone)]
pub(crate) struct RestoreConfig {
    /// How many methods may wait for their answer; no more than `max_calls`.
    pub(crate) window: usize,
    /// How long to wait after a first 405, which means that the server has not noticed yet that the old connection is
    /// dead. Every further wait is twice as long.
    pub(crate) locked_initial: Duration,
    /// The longest such wait.
    pub(crate) locked_max: Duration,
    /// How long after the first 405 the last attempt is made: a server notices within two heartbeat intervals.
    pub(crate) locked_for: Duration,
}

impl Default for RestoreConfig {
    fn default() -> Self {
        Self {
            window: 64,
            locked_initial: Duration::from_millis(100),
            locked_max: Duration::from_secs(5),
            locked_for: Duration::from_secs(120),
        }
    }
}

/// What to do next to carry out a plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Open a channel, and tell [`on_channel_opened`](Restore::on_channel_opened).
    OpenChannel,
    /// Send a method on it.
    Send(Method),
    /// Wait for an answer.
    Wait,
    /// Nothing to do before then.
    WaitUntil(Instant),
    /// Close the channel; nobody waits for the answer.
    CloseChannel,
    /// Everything is decided, in the order of the plan.
    Done(Vec<EntityOutcome>),
}

/// A queue that the server has given another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renamed {
    pub(crate) old: ShortStr,
    pub(crate) new: ShortStr,
}

/// The procedure that brings back what is planned, over a channel of its own.
///
/// Methods are sent without waiting for the answers before them. When the server refuses one it closes the channel, and
/// has carried out nothing behind it: that is sent again on the next channel.
#[derive(Debug)]
pub(crate) struct Restore {
    config: RestoreConfig,
    channel: Channel,
    items: Vec<Item>,
    todo: BTreeSet<usize>,
    unanswered: VecDeque<usize>,
    /// Those that wait until another is decided.
    parked: BTreeMap<usize, Vec<usize>>,
    /// Those that were refused with 405, until they are tried again.
    locked: Deadlines<usize>,
    /// Channels that ended for no named cause since the last answer.
    unexplained: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    None,
    Opening,
    Open,
}

#[derive(Debug)]
struct Item {
    entity: Entity,
    /// The places of what a binding needs, where it is in the plan.
    source: Option<usize>,
    destination: Option<usize>,
    /// A queue that the server named may have outlived the connection: it is looked for under its old name first.
    looked_for: bool,
    is_sent: bool,
    lock: Option<Lock>,
    result: Option<Result<(), Refused>>,
}

#[derive(Debug)]
struct Lock {
    last_attempt: Instant,
    delay: Duration,
}

/// Whether an item can be sent.
enum Readiness {
    Ready,
    Waits(usize),
    Lacks(Box<Entity>),
}

impl Restore {
    pub(crate) fn new(plan: Vec<Entity>, config: RestoreConfig) -> Self {
        let items = link(plan);
        Self {
            config,
            channel: Channel::None,
            todo: (0..items.len()).collect(),
            items,
            unanswered: VecDeque::new(),
            parked: BTreeMap::new(),
            locked: Deadlines::new(),
            unexplained: 0,
        }
    }

    /// The next step. After all but the waits there is another at once.
    pub(crate) fn next(&mut self, now: Instant) -> Step {
        while let Some(at) = self.locked.pop_due(now) {
            self.todo.insert(at);
        }
        match (self.channel, self.first_ready(), self.locked.next()) {
            (Channel::Opening, ..) => Step::Wait,
            (Channel::None, Some(_), _) => {
                self.channel = Channel::Opening;
                Step::OpenChannel
            }
            (Channel::Open, Some(at), _) if self.unanswered.len() < self.config.window.max(1) => {
                self.send(at)
            }
            _ if !self.unanswered.is_empty() => Step::Wait,
            (_, _, Some(until)) => Step::WaitUntil(until),
            (Channel::Open, ..) => {
                self.channel = Channel::None;
                Step::CloseChannel
            }
            (Channel::None, None, None) => Step::Done(outcomes(core::mem::take(&mut self.items))),
        }
    }

    /// When [`next`](Restore::next) has something new to say even if nothing comes.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.locked.next()
    }

    /// What is decided so far: to be remembered when the connection is lost on the way.
    pub(crate) fn take_outcomes(&mut self) -> Vec<EntityOutcome> {
        outcomes(core::mem::take(&mut self.items))
    }

    fn send(&mut self, at: usize) -> Step {
        self.todo.remove(&at);
        self.unanswered.push_back(at);
        let queue =
            self.items.get(at).and_then(|item| self.items.get(item.destination?)).and_then(Item::queue);
        let queue = queue.cloned();
        let Some(item) = self.items.get_mut(at) else { return Step::Wait };
        item.is_sent = true;
        Step::Send(item.method(queue))
    }

    /// The first that can be sent. Those before it that cannot be are put where they belong.
    fn first_ready(&mut self) -> Option<usize> {
        loop {
            let at = *self.todo.first()?;
            match self.readiness(at) {
                Readiness::Ready => return Some(at),
                Readiness::Waits(on) => {
                    self.todo.remove(&at);
                    self.parked.entry(on).or_default().push(at);
                }
                Readiness::Lacks(entity) => self.decide(at, Err(Refused::Needs(entity))),
            }
        }
    }

    fn readiness(&self, at: usize) -> Readiness {
        let needs = self.items.get(at).map_or([None, None], |item| [item.source, item.destination]);
        let mut waits = None;
        for (place, needed) in needs.into_iter().flatten().filter_map(|at| Some((at, self.items.get(at)?))) {
            match &needed.result {
                Some(Ok(())) => {}
                Some(Err(_)) => return Readiness::Lacks(Box::new(needed.entity.clone())),
                None if needed.is_sent && !needed.is_named_by_server() => {}
                None => waits = Some(place),
            }
        }
        waits.map_or(Readiness::Ready, Readiness::Waits)
    }

    fn decide(&mut self, at: usize, result: Result<(), Refused>) {
        self.todo.remove(&at);
        if let Some(item) = self.items.get_mut(at) {
            item.result = Some(result);
        }
        self.todo.extend(self.parked.remove(&at).unwrap_or_default());
    }

    /// The channel is open.
    pub(crate) fn on_channel_opened(&mut self) {
        self.channel = Channel::Open;
    }

    /// The server has answered the oldest method that waits for it.
    pub(crate) fn on_reply(&mut self, reply: &Method) -> Option<Renamed> {
        self.unexplained = 0;
        let at = self.unanswered.pop_front()?;
        let item = self.items.get_mut(at)?;
        item.is_sent = false;
        let renamed = match reply {
            Method::QueueDeclareOk(ok) => item.rename(&ok.queue),
            _ => None,
        };
        self.decide(at, Ok(()));
        renamed
    }

    /// The method that was given last cannot be sent.
    pub(crate) fn on_not_sent(&mut self, error: CommandError) {
        if let Some(at) = self.unanswered.pop_back() {
            self.decide(at, Err(Refused::NotSent(error)));
        }
    }

    /// The channel has ended: because of the oldest method without an answer, if that is what the server names.
    pub(crate) fn on_channel_closed(&mut self, reason: &Arc<CloseReason>, now: Instant) {
        self.channel = Channel::None;
        let culprit = self.unanswered.front().copied();
        for at in core::mem::take(&mut self.unanswered) {
            self.todo.insert(at);
            if let Some(item) = self.items.get_mut(at) {
                item.is_sent = false;
            }
        }
        let named = culprit.filter(|at| {
            let item = self.items.get(*at);
            matches!((&**reason, item), (CloseReason::Server(close), Some(item))
                if (close.class_id, close.method_id) == item.id())
        });
        if let Some(at) = named {
            self.unexplained = 0;
            self.on_refused(at, reason, now);
            return;
        }
        self.unexplained += 1;
        if self.unexplained >= MAX_UNEXPLAINED
            && let Some(at) = culprit.or_else(|| self.todo.first().copied())
        {
            self.decide(at, Err(Refused::Server(reason.clone())));
        }
    }

    fn on_refused(&mut self, at: usize, reason: &Arc<CloseReason>, now: Instant) {
        let Some(item) = self.items.get_mut(at) else { return };
        if core::mem::take(&mut item.looked_for) {
            return; // it is declared next
        }
        let is_locked =
            matches!(&**reason, CloseReason::Server(close) if close.code == ReplyCode::RESOURCE_LOCKED);
        match is_locked.then(|| item.next_attempt(&self.config, now)).flatten() {
            Some(due) => {
                self.todo.remove(&at);
                self.locked.set(at, due);
            }
            None => self.decide(at, Err(Refused::Server(reason.clone()))),
        }
    }

    /// What the server is asked for, and has not answered.
    pub(crate) fn unanswered(&self) -> Option<&Entity> {
        Some(&self.items.get(*self.unanswered.front()?)?.entity)
    }

    /// It is not asked for any more.
    pub(crate) fn leave_out_unanswered(&mut self) {
        if let Some(at) = self.unanswered.front().copied() {
            self.decide(at, Err(Refused::Unanswered));
            self.decide_dependants(at);
        }
    }

    /// What needs an entity that is not restored is not restored either.
    fn decide_dependants(&mut self, at: usize) {
        let Some(needed) = self.items.get(at).map(|item| item.entity.clone()) else { return };
        let needs =
            |item: &Item| item.result.is_none() && [item.source, item.destination].contains(&Some(at));
        let dependants: Vec<usize> =
            self.items.iter().enumerate().filter(|(_, item)| needs(item)).map(|(at, _)| at).collect();
        for dependant in dependants {
            self.decide(dependant, Err(Refused::Needs(Box::new(needed.clone()))));
        }
    }

    /// The connection has ended. When the server closed it because of an entity, that is refused, and returned: if it
    /// were sent again it would end the next connection too.
    pub(crate) fn on_connection_closed(&mut self, reason: &Arc<CloseReason>) -> Option<Entity> {
        let at = *self.unanswered.front()?;
        let item = self.items.get(at)?;
        if !may_blame(reason, item.id()) {
            return None;
        }
        let entity = item.entity.clone();
        self.decide(at, Err(Refused::Server(reason.clone())));
        self.decide_dependants(at);
        Some(entity)
    }
}

/// Whether the server has closed the connection because of a method with this id, as far as its close says so: one that
/// has failed, or that did not understand, may name none.
pub(crate) fn may_blame(reason: &CloseReason, id: (u16, u16)) -> bool {
    let CloseReason::Server(close) = reason else { return false };
    let is_hard = matches!(
        close.code,
        ReplyCode::FRAME_ERROR
            | ReplyCode::SYNTAX_ERROR
            | ReplyCode::COMMAND_INVALID
            | ReplyCode::CHANNEL_ERROR
            | ReplyCode::UNEXPECTED_FRAME
            | ReplyCode::NOT_ALLOWED
            | ReplyCode::NOT_IMPLEMENTED
            | ReplyCode::INTERNAL_ERROR
    );
    let named = (close.class_id, close.method_id);
    is_hard && (named == id || named == (0, 0))
}

impl Item {
    /// The method that restores it. `queue` is the name that a binding's queue has today.
    fn method(&mut self, queue: Option<ShortStr>) -> Method {
        match (&mut self.entity, queue) {
            (Entity::Queue { name, .. }, _) if self.looked_for => {
                queue::Declare { queue: name.clone(), passive: true, ..queue::Declare::default() }.into()
            }
            (Entity::Binding(bind), Some(queue)) => {
                bind.queue = queue;
                bind.clone().into()
            }
            (entity, _) => entity.method(),
        }
    }

    const fn id(&self) -> (u16, u16) {
        match self.entity {
            Entity::Exchange(_) => exchange::Declare::ID,
            Entity::ExchangeBinding(_) => exchange::Bind::ID,
            Entity::Queue { .. } => queue::Declare::ID,
            Entity::Binding(_) => queue::Bind::ID,
            Entity::Consumer(_) => basic::Consume::ID,
        }
    }

    const fn queue(&self) -> Option<&ShortStr> {
        match &self.entity {
            Entity::Queue { name, .. } => Some(name),
            _ => None,
        }
    }

    fn is_named_by_server(&self) -> bool {
        matches!(&self.entity, Entity::Queue { declare, .. } if declare.queue.is_empty())
    }

    /// `declare-ok` has come with this name.
    fn rename(&mut self, new: &ShortStr) -> Option<Renamed> {
        let is_new = self.is_named_by_server();
        let Entity::Queue { name, .. } = &mut self.entity else { return None };
        if !is_new || name == new {
            return None;
        }
        let old = core::mem::replace(name, new.clone());
        Some(Renamed { old, new: new.clone() })
    }

    /// When to try again what another connection holds; `None` when that was the last attempt.
    fn next_attempt(&mut self, config: &RestoreConfig, now: Instant) -> Option<Instant> {
        let lock = self
            .lock
            .get_or_insert(Lock { last_attempt: now + config.locked_for, delay: config.locked_initial });
        if now >= lock.last_attempt {
            return None;
        }
        let due = (now + lock.delay).min(lock.last_attempt);
        lock.delay = lock.delay.saturating_mul(2).min(config.locked_max);
        Some(due)
    }
}

/// Finds for each binding the places of what it needs.
fn link(plan: Vec<Entity>) -> Vec<Item> {
    let mut exchanges: BTreeMap<ShortStr, usize> = BTreeMap::new();
    let mut queues: BTreeMap<ShortStr, usize> = BTreeMap::new();
    for (at, entity) in plan.iter().enumerate() {
        match entity {
            Entity::Exchange(declare) => _ = exchanges.insert(declare.exchange.clone(), at),
            Entity::Queue { name, .. } => _ = queues.insert(name.clone(), at),
            _ => {}
        }
    }
    let items = plan.into_iter().map(|entity| {
        let (source, destination) = match &entity {
            Entity::ExchangeBinding(bind) => (exchanges.get(&bind.source), exchanges.get(&bind.destination)),
            Entity::Binding(bind) => (exchanges.get(&bind.exchange), queues.get(&bind.queue)),
            _ => (None, None),
        };
        let looked_for = matches!(&entity, Entity::Queue { declare, .. }
            if declare.queue.is_empty() && !declare.exclusive);
        let (source, destination) = (source.copied(), destination.copied());
        Item { entity, source, destination, looked_for, is_sent: false, lock: None, result: None }
    });
    items.collect()
}

fn outcomes(items: Vec<Item>) -> Vec<EntityOutcome> {
    let decided = items.into_iter().filter_map(|item| Some((item.entity, item.result?)));
    decided.map(|(entity, result)| EntityOutcome { entity, result }).collect()
}
