use std::task::Waker;

/// What is to be done with wakers once the lock is released: they are others' code.
#[derive(Debug, Default)]
#[must_use = "release() wakes"]
pub(crate) struct Wakers {
    woken: Vec<Waker>,
    stale: Vec<Waker>,
}

impl Wakers {
    pub(crate) fn wake(&mut self, waker: impl IntoIterator<Item = Waker>) {
        self.woken.extend(waker);
    }

    pub(crate) fn forget(&mut self, waker: impl IntoIterator<Item = Waker>) {
        self.stale.extend(waker);
    }

    /// Wakes them. Without the lock.
    pub(crate) fn release(self) {
        self.woken.into_iter().for_each(Waker::wake);
        drop(self.stale);
    }
}

/// Keeps `waker` in `slot`. True when another one was there, or none.
pub(crate) fn keep(slot: &mut Option<Waker>, waker: &Waker, wakers: &mut Wakers) -> bool {
    if slot.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        return false;
    }
    wakers.forget(slot.replace(waker.clone()));
    true
}
