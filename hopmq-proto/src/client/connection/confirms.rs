use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::kept::Kept;
use super::returns::{Fingerprint, Returns};
use crate::Instant;
use crate::client::{ConfirmFailures, Confirmation, Returned, Token, WhenLost};

/// The publishes of one channel that are not confirmed yet, in the order of their tags.
///
/// A publish that has been resolved out of order leaves a hole until everything before it is resolved too.
#[derive(Debug)]
pub(super) struct Confirms {
    /// The server has answered `confirm.select`: what comes back before that was published before it.
    selected: bool,
    /// The tag of the front of `window`.
    first: u64,
    window: VecDeque<Unconfirmed>,
    /// How many in `window` are not resolved.
    unresolved: usize,
    /// No publish below this tag can still become due.
    due_from: u64,
    /// The tag of the first publish that is not sent yet in this life; the end of `window` when all are.
    unsent_from: u64,
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
    /// The message, when it is to outlive a loss of the connection.
    kept: Option<Kept>,
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
            selected: false,
            first: 1,
            window: VecDeque::new(),
            unresolved: 0,
            due_from: 1,
            unsent_from: 1,
            returns: Returns::default(),
            waits: VecDeque::new(),
            failures: ConfirmFailures::default(),
        }
    }

    pub(super) const fn on_selected(&mut self) {
        self.selected = true;
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
    pub(super) fn push(
        &mut self,
        token: Token,
        fingerprint: Option<Fingerprint>,
        kept: Option<Kept>,
        now: Instant,
    ) {
        if let Some(fingerprint) = fingerprint {
            self.returns.push(self.end(), fingerprint);
        }
        self.window.push_back(Unconfirmed { token: Some(token), sent_at: now, kept });
        self.unresolved += 1;
        self.unsent_from = self.end();
    }

    /// Counts a publish that is to be sent once everything before it is.
    pub(super) fn push_unsent(&mut self, token: Token, kept: Kept, now: Instant) {
        self.window.push_back(Unconfirmed { token: Some(token), sent_at: now, kept: Some(kept) });
        self.unresolved += 1;
    }

    /// Whether a publish must wait, because others before it do.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent_from < self.end()
    }

    /// Attributes a return to its publish; gives it back when it is nobody's.
    pub(super) fn on_return(&mut self, returned: Box<Returned>) -> Option<Box<Returned>> {
        if self.selected { self.returns.on_return(returned) } else { Some(returned) }
    }

    /// Resolves what an ack or nack covers.
    pub(super) fn on_confirm(
        &mut self,
        tag: u64,
        multiple: bool,
        acked: bool,
        mut resolve: impl FnMut(Token, Confirmation, Option<Kept>),
    ) -> Result<(), UnknownTag> {
        let end = self.unsent_from;
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

    fn resolve_at(
        &mut self,
        at: usize,
        acked: bool,
        resolve: &mut impl FnMut(Token, Confirmation, Option<Kept>),
    ) {
        let tag = self.first + at as u64;
        let returned = self.returns.take(tag); // also when nobody waits: another publish must not get it
        let Some(unconfirmed) = self.window.get_mut(at) else { return };
        let Some(token) = unconfirmed.token.take() else { return };
        let kept = unconfirmed.kept.take();
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
        resolve(token, confirmation, kept);
    }

    fn close_holes(&mut self) {
        while self.window.front().is_some_and(|unconfirmed| unconfirmed.token.is_none()) {
            self.window.pop_front();
            self.first += 1;
        }
    }

    /// The token of a publish that has waited for `timeout`. A late confirm of it is understood, and not told.
    pub(super) fn pop_due(&mut self, timeout: Duration, now: Instant) -> Option<(Token, Option<Kept>)> {
        if self.next_sent_at()? + timeout > now {
            return None;
        }
        let due = self.next_due()?;
        let resolved = (due.token.take()?, due.kept.take());
        self.unresolved -= 1;
        self.failures.lost += 1;
        self.close_holes();
        Some(resolved)
    }

    /// When the oldest publish that somebody waits for was sent; those that are not sent yet have no deadline.
    pub(super) fn next_sent_at(&mut self) -> Option<Instant> {
        loop {
            if self.due_from.max(self.first) >= self.unsent_from {
                return None;
            }
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
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Token, Option<Kept>)> {
        self.unresolved = 0;
        self.returns = Returns::default();
        core::mem::take(&mut self.window)
            .into_iter()
            .filter_map(|unconfirmed| unconfirmed.token.map(|token| (token, unconfirmed.kept)))
    }

    /// Forgets who waits for everything, and gives the tokens to resolve.
    pub(super) fn drain_waits(&mut self) -> impl Iterator<Item = Token> {
        core::mem::take(&mut self.waits).into_iter().filter_map(|wait| wait.token)
    }

    // Another life.

    /// The connection was lost: the tags of the next life begin at 1. Gives those that are not to be sent in it, in
    /// their order: what was sent is sent again only when `repeat` says so, and its own policy.
    pub(super) fn on_lost(&mut self, repeat: bool) -> Vec<(Token, Option<Kept>)> {
        let mut failed = Vec::new();
        let mut waits = core::mem::take(&mut self.waits);
        let mut ends = waits.iter_mut().peekable();
        for (tag, unconfirmed) in (self.first..).zip(core::mem::take(&mut self.window)) {
            while let Some(wait) = ends.next_if(|wait| wait.end <= tag) {
                wait.end = self.end_of_next_life();
            }
            let survives = |kept: &Kept| !kept.sent || (repeat && kept.when_lost == WhenLost::Resend);
            match unconfirmed {
                Unconfirmed { token: None, .. } => {}
                Unconfirmed { kept: Some(ref kept), .. } if survives(kept) => {
                    self.window.push_back(unconfirmed);
                }
                Unconfirmed { token: Some(token), kept, .. } => failed.push((token, kept)),
            }
        }
        for wait in ends {
            wait.end = self.end_of_next_life();
        }
        self.waits = waits;
        self.failures.lost += failed.len() as u64;
        self.unresolved = self.window.len();
        self.returns = Returns::default();
        (self.first, self.due_from, self.unsent_from) = (1, 1, 1);
        failed
    }

    fn end_of_next_life(&self) -> u64 {
        1 + self.window.len() as u64
    }

    /// The next publish to be sent, with its token.
    pub(super) fn next_unsent(&mut self) -> Option<(Token, &mut Kept)> {
        let at = usize::try_from(self.unsent_from.checked_sub(self.first)?).ok()?;
        let unconfirmed = self.window.get_mut(at)?;
        Some((unconfirmed.token?, unconfirmed.kept.as_mut()?))
    }

    /// The publish that [`next_unsent`](Self::next_unsent) gave has been sent.
    pub(super) fn on_sent(&mut self, fingerprint: Option<Fingerprint>, now: Instant) {
        let tag = self.unsent_from;
        if let Some(fingerprint) = fingerprint {
            self.returns.push(tag, fingerprint);
        }
        let at = usize::try_from(tag - self.first).unwrap_or(usize::MAX);
        if let Some(unconfirmed) = self.window.get_mut(at) {
            unconfirmed.sent_at = now;
            if let Some(kept) = &mut unconfirmed.kept {
                kept.sent = true;
            }
        }
        self.unsent_from += 1;
    }

    /// The publish that [`next_unsent`](Self::next_unsent) gave can never be sent: it is taken out, before it got a tag.
    pub(super) fn take_unsent(&mut self) -> Option<(Token, Option<Kept>)> {
        let at = usize::try_from(self.unsent_from.checked_sub(self.first)?).ok()?;
        let unconfirmed = self.window.remove(at)?;
        self.unresolved -= 1;
        self.failures.lost += 1;
        for wait in self.waits.iter_mut().filter(|wait| wait.end > self.unsent_from) {
            wait.end -= 1;
        }
        Some((unconfirmed.token?, unconfirmed.kept))
    }
}
