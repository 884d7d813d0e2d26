use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use crate::Instant;
use crate::client::{Confirmation, Returned, Token};

/// The publishes of one channel that are not confirmed yet, in the order of their tags.
///
/// A publish that has been resolved out of order leaves a hole until everything before it is resolved too.
#[derive(Debug)]
pub(super) struct Confirms {
    /// The tag of the front of `window`.
    first: u64,
    window: VecDeque<Unconfirmed>,
    /// No publish below this tag can still become due.
    due_from: u64,
    /// The mandatory ones among them, oldest first: what a return can be of.
    mandatory: VecDeque<Mandatory>,
    /// The tag that the last return was attributed to.
    last_returned: u64,
}

#[derive(Debug)]
struct Unconfirmed {
    /// `None` once resolved.
    token: Option<Token>,
    sent_at: Instant,
}

#[derive(Debug)]
struct Mandatory {
    tag: u64,
    fingerprint: Fingerprint,
    returned: Option<Box<Returned>>,
}

/// What identifies a message that comes back: `basic.return` carries no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Exchange, routing key and body.
    message: u64,
    /// The encoded properties, which a server may write in another way than we did.
    properties: u64,
}

impl Fingerprint {
    pub(super) fn of(exchange: &[u8], routing_key: &[u8], properties: &[u8], body: &[u8]) -> Self {
        Self {
            message: [exchange, routing_key, body].into_iter().fold(0, digest),
            properties: digest(0, properties),
        }
    }
}

/// A fast hash of no cryptographic worth, eight bytes at a time.
fn digest(seed: u64, bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash =
        words.iter().fold(mix(seed, bytes.len() as u64), |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, octet| mix(hash, u64::from(*octet)))
}

/// A confirm for a tag that has not been used yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownTag;

impl Confirms {
    pub(super) fn new() -> Self {
        Self { first: 1, window: VecDeque::new(), due_from: 1, mandatory: VecDeque::new(), last_returned: 0 }
    }

    /// From the oldest unconfirmed publish to the newest, holes included.
    pub(super) fn len(&self) -> usize {
        self.window.len()
    }

    /// Counts a publish that has been queued.
    pub(super) fn push(&mut self, token: Token, fingerprint: Option<Fingerprint>, now: Instant) {
        let tag = self.first + self.window.len() as u64;
        self.window.push_back(Unconfirmed { token: Some(token), sent_at: now });
        if let Some(fingerprint) = fingerprint {
            self.mandatory.push_back(Mandatory { tag, fingerprint, returned: None });
        }
    }

    /// Attributes a return to the oldest publish that it can be of; gives it back when there is none.
    ///
    /// Returns come in the order of the publishes, so those behind the last returned one come first. A publish with
    /// the same properties is preferred, but a server may have written them anew.
    pub(super) fn on_return(&mut self, returned: Box<Returned>) -> Option<Box<Returned>> {
        let m = &returned.message;
        let wanted =
            Fingerprint::of(m.exchange_bytes(), m.routing_key_bytes(), m.properties_bytes(), m.body());
        let behind = self.mandatory.partition_point(|m| m.tag <= self.last_returned);
        let mut order = (behind..self.mandatory.len()).chain(0..behind);
        let waiting = |at: usize| self.mandatory.get(at).filter(|m| m.returned.is_none());
        let same = |at: &usize| waiting(*at).is_some_and(|m| m.fingerprint == wanted);
        let alike = |at: &usize| waiting(*at).is_some_and(|m| m.fingerprint.message == wanted.message);
        let found = order.clone().find(same).or_else(|| order.find(alike));
        match found.and_then(|at| self.mandatory.get_mut(at)) {
            Some(mandatory) => {
                self.last_returned = mandatory.tag;
                mandatory.returned = Some(returned);
                None
            }
            None => Some(returned),
        }
    }

    /// Resolves what an ack or nack covers.
    pub(super) fn on_confirm(
        &mut self,
        tag: u64,
        multiple: bool,
        acked: bool,
        mut resolve: impl FnMut(Token, Confirmation),
    ) -> Result<(), UnknownTag> {
        let end = self.first + self.window.len() as u64;
        if tag >= end || (tag == 0 && !multiple) {
            return Err(UnknownTag);
        }
        if multiple {
            let last = if tag == 0 { end - 1 } else { tag };
            while self.first <= last {
                self.resolve_at(0, acked, &mut resolve);
                self.window.pop_front();
                self.first += 1;
            }
        } else if let Some(at) = tag.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) {
            self.resolve_at(at, acked, &mut resolve);
        }
        self.close_holes();
        Ok(())
    }

    fn resolve_at(&mut self, at: usize, acked: bool, resolve: &mut impl FnMut(Token, Confirmation)) {
        let tag = self.first + at as u64;
        let returned = self.take_return(tag); // also when nobody waits: another publish must not get it
        let Some(token) = self.window.get_mut(at).and_then(|unconfirmed| unconfirmed.token.take()) else {
            return;
        };
        let confirmation = match returned {
            Some(returned) if acked => Confirmation::Returned(returned),
            _ if acked => Confirmation::Acked,
            _ => Confirmation::Nacked,
        };
        resolve(token, confirmation);
    }

    fn take_return(&mut self, tag: u64) -> Option<Box<Returned>> {
        let at = self.mandatory.binary_search_by_key(&tag, |mandatory| mandatory.tag).ok()?;
        self.mandatory.remove(at)?.returned
    }

    fn close_holes(&mut self) {
        while self.window.front().is_some_and(|unconfirmed| unconfirmed.token.is_none()) {
            self.window.pop_front();
            self.first += 1;
        }
    }

    /// The token of a publish that has waited for `timeout`. Its place stays, for a late confirm.
    pub(super) fn pop_due(&mut self, timeout: Duration, now: Instant) -> Option<Token> {
        let due = self.next_sent_at()? + timeout <= now;
        due.then(|| self.next_due().and_then(|unconfirmed| unconfirmed.token.take()))?
    }

    /// When the oldest publish that somebody waits for was sent.
    pub(super) fn next_sent_at(&mut self) -> Option<Instant> {
        loop {
            let next = self.next_due()?;
            if next.token.is_some() {
                return Some(next.sent_at);
            }
            self.due_from += 1;
        }
    }

    fn next_due(&mut self) -> Option<&mut Unconfirmed> {
        self.due_from = self.due_from.max(self.first);
        let at = usize::try_from(self.due_from - self.first).ok()?;
        self.window.get_mut(at)
    }

    /// Forgets all publishes, and gives the tokens to resolve.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Token> {
        self.mandatory.clear();
        core::mem::take(&mut self.window).into_iter().filter_map(|unconfirmed| unconfirmed.token)
    }
}
