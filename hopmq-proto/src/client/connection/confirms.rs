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
    /// The mandatory ones among them, oldest first: what a return can be of.
    mandatory: VecDeque<Mandatory>,
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
///
/// Only two messages that are alike in everything but their properties, or alike in everything, have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of(exchange: &[u8], routing_key: &[u8], body: &[u8]) -> Self {
        Self([exchange, routing_key, body].into_iter().fold(0, digest))
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
        Self { first: 1, window: VecDeque::new(), mandatory: VecDeque::new() }
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
    pub(super) fn on_return(&mut self, returned: Box<Returned>) -> Option<Box<Returned>> {
        let message = &returned.message;
        let fingerprint =
            Fingerprint::of(message.exchange_bytes(), message.routing_key_bytes(), message.body());
        let found = self.mandatory.iter_mut().find(|m| m.returned.is_none() && m.fingerprint == fingerprint);
        match found {
            Some(mandatory) => {
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
        let Some(token) = self.window.get_mut(at).and_then(|unconfirmed| unconfirmed.token.take()) else {
            return;
        };
        let confirmation = match self.take_return(tag) {
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
        let due = self.window.iter_mut().take_while(|unconfirmed| unconfirmed.sent_at + timeout <= now);
        due.into_iter().find_map(|unconfirmed| unconfirmed.token.take())
    }

    /// When the oldest publish that somebody waits for was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.window
            .iter()
            .find(|unconfirmed| unconfirmed.token.is_some())
            .map(|unconfirmed| unconfirmed.sent_at)
    }

    /// Forgets all publishes, and gives the tokens to resolve.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Token> {
        self.mandatory.clear();
        core::mem::take(&mut self.window).into_iter().filter_map(|unconfirmed| unconfirmed.token)
    }
}
