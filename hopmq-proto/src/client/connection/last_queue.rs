use crate::amqp::{Method, ShortStr, queue};
use crate::client::Token;

/// The queue that an empty name stands for: the last one that was declared on the channel.
///
/// The server resolves the empty name too, in the order of the calls. So where the name is not known yet, because the
/// server is still to choose it, the empty name says the same.
#[derive(Debug, Default)]
pub(super) struct LastQueue {
    name: Option<ShortStr>,
    /// The last declare, when it has an answer that is still to come.
    awaited: Option<Token>,
}

impl LastQueue {
    /// Its name, once it is known.
    pub(super) const fn name(&self) -> Option<&ShortStr> {
        self.name.as_ref()
    }

    /// A declare is sent, with this token when it will be answered.
    pub(super) fn on_declare(&mut self, declare: &queue::Declare, token: Option<Token>) {
        // RabbitMQ takes line breaks out of names: only its answer has the name that it made of this.
        let is_plain = !declare.queue.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n'));
        self.name = (is_plain && !declare.queue.is_empty()).then(|| declare.queue.clone());
        self.awaited = token;
    }

    /// A declare is answered.
    pub(super) fn on_declared(&mut self, token: Token, name: &ShortStr) {
        if self.awaited == Some(token) {
            self.name = Some(name.clone());
        }
    }

    /// Puts the name where `method` means it. With a queue's name an empty routing key of a binding goes, too.
    pub(super) fn resolve(&self, method: &mut Method) {
        if let Some(name) = &self.name {
            put_name(method, name);
        }
    }
}

/// Puts the name of the queue where `method` means it by the empty name.
pub(super) fn put_name(method: &mut Method, name: &ShortStr) {
    let (queue, routing_key) = match method {
        Method::QueueBind(bind) => (&mut bind.queue, Some(&mut bind.routing_key)),
        Method::QueueUnbind(unbind) => (&mut unbind.queue, Some(&mut unbind.routing_key)),
        Method::QueuePurge(purge) => (&mut purge.queue, None),
        Method::QueueDelete(delete) => (&mut delete.queue, None),
        Method::BasicConsume(consume) => (&mut consume.queue, None),
        Method::BasicGet(get) => (&mut get.queue, None),
        _ => return,
    };
    if queue.is_empty() {
        *queue = name.clone();
        if let Some(routing_key) = routing_key.filter(|key| key.is_empty()) {
            *routing_key = name.clone();
        }
    }
}
