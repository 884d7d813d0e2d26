use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use hopmq_proto::client::Token;

/// Answers that are to come, or have come and were not taken.
pub(super) struct Answers<T> {
    slots: HashMap<Token, Slot<T>>,
    /// How many are to come.
    pub(super) owed: usize,
}

/// A place for one answer, and for whoever waits for it.
pub(super) enum Slot<T> {
    Empty,
    Waiting(Waker),
    Ready(T),
}

impl<T> Answers<T> {
    pub(super) fn new() -> Self {
        Self { slots: HashMap::new(), owed: 0 }
    }

    pub(super) fn expect(&mut self, token: Token) {
        self.owed += 1;
        self.slots.insert(token, Slot::Empty);
    }

    pub(super) fn is_expected(&self, token: Token) -> bool {
        self.slots.contains_key(&token)
    }

    /// Puts the answer in, and gives who waits for it; gives it back when nobody expects it.
    pub(super) fn fill(&mut self, token: Token, answer: T) -> Result<Option<Waker>, T> {
        match self.slots.get_mut(&token) {
            Some(slot) => {
                debug_assert!(!slot.is_ready(), "{token:?} is answered twice");
                self.owed -= usize::from(!slot.is_ready());
                Ok(slot.fill(answer))
            }
            None => Err(answer),
        }
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>, token: Token, stale: &mut Vec<Waker>) -> Poll<T> {
        let Some(slot) = self.slots.get_mut(&token) else { return Poll::Pending };
        let answer = slot.poll(cx, stale);
        if answer.is_ready() {
            self.slots.remove(&token);
        }
        answer
    }

    /// Nobody waits for it any more. Gives the slot, unless it was taken already.
    pub(super) fn forget(&mut self, token: Token, stale: &mut Vec<Waker>) -> Option<Slot<T>> {
        let slot = self.slots.remove(&token)?;
        self.owed -= usize::from(!slot.is_ready());
        match slot {
            Slot::Waiting(waker) => {
                stale.push(waker);
                Some(Slot::Empty)
            }
            slot => Some(slot),
        }
    }
}

impl<T> Slot<T> {
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Puts the answer in; gives who waits for it.
    pub(super) fn fill(&mut self, answer: T) -> Option<Waker> {
        match std::mem::replace(self, Self::Ready(answer)) {
            Self::Waiting(waker) => Some(waker),
            _ => None,
        }
    }

    /// Takes who waits for it.
    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        match std::mem::replace(self, Self::Empty) {
            Self::Waiting(waker) => Some(waker),
            slot => {
                *self = slot;
                None
            }
        }
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>, stale: &mut Vec<Waker>) -> Poll<T> {
        let waker = match std::mem::replace(self, Self::Empty) {
            Self::Ready(answer) => return Poll::Ready(answer),
            Self::Waiting(waker) if waker.will_wake(cx.waker()) => waker,
            Self::Waiting(waker) => {
                stale.push(waker);
                cx.waker().clone()
            }
            Self::Empty => cx.waker().clone(),
        };
        *self = Self::Waiting(waker);
        Poll::Pending
    }
}
