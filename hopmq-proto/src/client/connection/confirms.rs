use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::returns::{Fingerprint, Returns};
use crate::Instant;
use crate::client::{ConfirmFailures, Confirmation, Returned, Token};

/// The publishes of one channel that are not confirmed yet, in the order of their tags.
///
/// A publish that has been resolved out of order leaves a hole until everything before it is resolved too.
#[derive(Debug)]
pub(super) struct Confirms {
    /// The tag of the front of `window`.
    first: u64,
    window: VecDeque<Unconfirmed>,
    /// How many in `window` are not resolved.
    unresolved: usize,
    /// No publish below this tag can still become due.
    due_from: u64,
    returns: Returns,
    /// Those who wait for everything, oldest first.
    waits: VecDeque<Wait>,
    /// What has failed since the last of them was told.
    failures: ConfirmFailures,
}

#[derive(Debug)]
struct Unconfirmed {
    /// `None` once resolved.
    token: Option<Token>,
    sent_at: Instant,
}

/// Waits until every publish before `end` is resolved.
#[derive(Debug)]
struct Wait {
    end: u64,
    /// `None` once nobody waits any more.
    token: Option<Token>,
}

/// A confirm for a tag that has not been used yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownTag;

impl Confirms {
    pub(super) fn new() -> Self {
        Self {
            first: 1,
            window: VecDeque::new(),
            unresolved: 0,
            due_from: 1,
            returns: Returns::default(),
            waits: VecDeque::new(),
            failures: ConfirmFailures::default(),
        }
    }

    /// What is remembered: from the oldest unconfirmed publish to the newest, holes included; or, when these are more,
    /// the mandatory ones that may still come back.
    pub(super) fn len(&self) -> usize {
        self.window.len().max(self.returns.len())
    }

    /// How many publishes wait for their confirm.
    pub(super) fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// The tag of the next publish.
    fn end(&self) -> u64 {
        self.first + self.window.len() as u64
    }

    /// Counts a publish that has been queued.
    pub(super) fn push(&mut self, token: Token, fingerprint: Option<Fingerprint>, now: Instant) {
        if let Some(fingerprint) = fingerprint {
            self.returns.push(self.end(), fingerprint);
        }
        self.window.push_back(Unconfirmed { token: Some(token), sent_at: now });
        self.unresolved += 1;
    }

    /// Attributes a return to its publish; gives it back when it is nobody's.
    pub(super) fn on_return(&mut self, returned: Box<Returned>) -> Option<Box<Returned>> {
        self.returns.on_return(returned)
    }

    /// Resolves what an ack or nack covers.
    pub(super) fn on_confirm(
        &mut self,
        tag: u64,
        multiple: bool,
        acked: bool,
        mut resolve: impl FnMut(Token, Confirmation),
    ) -> Result<(), UnknownTag> {
        let end = self.end();
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
            self.returns.forget_up_to(last); // of what had timed out
        } else if let Some(at) = tag.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) {
            self.resolve_at(at, acked, &mut resolve);
        } else {
            self.returns.take(tag); // it had timed out; another publish must not get what came back of it
        }
        self.close_holes();
        Ok(())
    }

    fn resolve_at(&mut self, at: usize, acked: bool, resolve: &mut impl FnMut(Token, Confirmation)) {
        let tag = self.first + at as u64;
        let returned = self.returns.take(tag); // also when nobody waits: another publish must not get it
        let Some(token) = self.window.get_mut(at).and_then(|unconfirmed| unconfirmed.token.take()) else {
            return;
        };
        self.unresolved -= 1;
        let confirmation = match returned {
            _ if !acked => {
                self.failures.nacked += 1;
                Confirmation::Nacked
            }
            Some(returned) => {
                self.failures.returned += 1;
                Confirmation::Returned(returned)
            }
            None => Confirmation::Acked,
        };
        resolve(token, confirmation);
    }

    fn close_holes(&mut self) {
        while self.window.front().is_some_and(|unconfirmed| unconfirmed.token.is_none()) {
            self.window.pop_front();
            self.first += 1;
        }
    }

    /// The token of a publish that has waited for `timeout`. A late confirm of it is understood, and not told.
    pub(super) fn pop_due(&mut self, timeout: Duration, now: Instant) -> Option<Token> {
        if self.next_sent_at()? + timeout > now {
            return None;
        }
        let token = self.next_due()?.token.take()?;
        self.unresolved -= 1;
        self.failures.lost += 1;
        self.close_holes();
        Some(token)
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

    // Those who wait for everything.

    /// How many wait until everything is resolved, or have and left.
    pub(super) fn waits(&self) -> usize {
        self.waits.len()
    }

    /// Waits until every publish so far is resolved.
    pub(super) fn wait(&mut self, token: Token) {
        self.waits.push_back(Wait { end: self.end(), token: Some(token) });
    }

    /// Nobody waits under this token any more.
    pub(super) fn abandon(&mut self, token: Token) {
        if let Some(wait) = self.waits.iter_mut().find(|wait| wait.token == Some(token)) {
            wait.token = None;
        }
    }

    /// Who has waited, and may be told what has failed.
    pub(super) fn pop_wait(&mut self) -> Option<(Token, ConfirmFailures)> {
        while self.waits.front()?.end <= self.first {
            if let Some(token) = self.waits.pop_front()?.token {
                return Some((token, core::mem::take(&mut self.failures)));
            }
        }
        None
    }

    /// Whoever was told of these failures has not heard it.
    pub(super) fn untell(&mut self, untold: ConfirmFailures) {
        self.failures.nacked += untold.nacked;
        self.failures.returned += untold.returned;
        self.failures.lost += untold.lost;
    }

    /// Forgets all publishes, and gives the tokens to resolve.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Token> {
        self.unresolved = 0;
        self.returns = Returns::default();
        core::mem::take(&mut self.window).into_iter().filter_map(|unconfirmed| unconfirmed.token)
    }

    /// Forgets who waits for everything, and gives the tokens to resolve.
    pub(super) fn drain_waits(&mut self) -> impl Iterator<Item = Token> {
        core::mem::take(&mut self.waits).into_iter().filter_map(|wait| wait.token)
    }
}
