use hashbrown::HashMap;

use crate::amqp::ShortStr;
use crate::client::Token;

/// The consumers of one channel, by their tags.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    by_tag: HashMap<ShortStr, Consumer>,
    /// The one found last: most often the next delivery is for it too.
    last: Option<(ShortStr, Consumer)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Consumer {
    /// The call that started it; `None` when nobody waits for it any more.
    pub(super) token: Option<Token>,
    pub(super) no_ack: bool,
}

impl Consumers {
    pub(super) fn insert(&mut self, tag: ShortStr, token: Option<Token>, no_ack: bool) {
        self.last = None;
        self.by_tag.insert(tag, Consumer { token, no_ack });
    }

    pub(super) fn contains(&self, tag: &[u8]) -> bool {
        self.by_tag.contains_key(tag)
    }

    pub(super) fn find(&mut self, tag: &[u8]) -> Option<Consumer> {
        match &self.last {
            Some((last, consumer)) if last.as_bytes() == tag => Some(*consumer),
            _ => {
                let (tag, consumer) = self.by_tag.get_key_value(tag)?;
                self.last = Some((tag.clone(), *consumer));
                Some(*consumer)
            }
        }
    }

    /// Nobody waits for this consumer's deliveries any more; gives the call that started it, if somebody did.
    pub(super) fn orphan(&mut self, tag: &[u8]) -> Option<Token> {
        self.last = None;
        self.by_tag.get_mut(tag)?.token.take()
    }

    /// Forgets a consumer; gives the call that started it, if somebody waits for it.
    pub(super) fn remove(&mut self, tag: &[u8]) -> Option<Token> {
        self.last = None;
        self.by_tag.remove(tag)?.token
    }
}
