use alloc::collections::BTreeMap;

use crate::amqp::{ShortStr, basic};
use crate::client::Token;
use crate::lookup::Lookup;

/// The consumers of one channel, by their tags.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    by_tag: Lookup<ShortStr, Consumer>,
    /// The one found last: most often the next delivery is for it too.
    last: Option<(ShortStr, Consumer)>,
    /// How to start them again after a loss, in the order in which they were started.
    revivals: BTreeMap<Token, Revival>,
}

/// What a consumer was started with.
#[derive(Debug, Clone)]
pub(super) struct Revival {
    /// With the name that it got.
    pub(super) consume: basic::Consume,
    pub(super) prefetch: u16,
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
        let token = self.token_of(tag)?;
        if let Some(consumer) = self.by_tag.get_mut(tag) {
            consumer.token = None;
        }
        self.revivals.remove(&token);
        Some(token)
    }

    /// Forgets a consumer; gives the call that started it, if somebody waits for it.
    pub(super) fn remove(&mut self, tag: &[u8]) -> Option<Token> {
        self.last = None;
        let token = self.by_tag.remove(tag)?.token?;
        self.revivals.remove(&token);
        Some(token)
    }

    // Another life.

    /// Remembers how to start a consumer again.
    pub(super) fn keep(&mut self, consumer: Token, revival: Revival) {
        self.revivals.insert(consumer, revival);
    }

    /// How to start this consumer again, if it is to be.
    pub(super) fn revival(&self, consumer: Token) -> Option<&Revival> {
        self.revivals.get(&consumer)
    }

    /// The same, to be changed.
    pub(super) fn revival_mut(&mut self, consumer: Token) -> Option<&mut Revival> {
        self.revivals.get_mut(&consumer)
    }

    /// Those that are to be started again, in the order in which they were started first.
    pub(super) fn revivals(&self) -> impl Iterator<Item = (Token, &Revival)> {
        self.revivals.iter().map(|(token, revival)| (*token, revival))
    }

    /// A consumer is not to be started again.
    pub(super) fn forget(&mut self, consumer: Token) -> Option<Revival> {
        self.revivals.remove(&consumer)
    }

    /// The connection was lost: none of them runs.
    pub(super) fn on_lost(&mut self) {
        self.last = None;
        self.by_tag.clear();
    }

    /// The call that started the consumer with this name, if somebody waits for it: it runs, or is to be started again.
    pub(super) fn token_of(&self, tag: &[u8]) -> Option<Token> {
        match self.by_tag.get(tag) {
            Some(consumer) => consumer.token,
            None => {
                let mut revivals = self.revivals.iter();
                revivals
                    .find(|(_, revival)| revival.consume.consumer_tag.as_bytes() == tag)
                    .map(|(token, _)| *token)
            }
        }
    }

    /// Forgets one that was to be started again.
    pub(super) fn pop_revival(&mut self) -> Option<Token> {
        Some(self.revivals.pop_first()?.0)
    }
}
