use crate::Instant;

/// One transition of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state that is left.
    pub from: &'static str,
    /// The event, [`ENTRY`](super::ENTRY), [`TIMEOUT`](super::TIMEOUT) or [`RETRY`](super::RETRY).
    pub event: &'static str,
    /// The state that is entered, or [`FINAL`](super::FINAL).
    pub to: &'static str,
    /// What it is taken for.
    pub kind: Kind,
    /// When.
    pub at: Instant,
}

/// What a transition is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A state has done its work.
    Complete,
    /// A state has given way.
    Reset,
    /// A state has failed, and is entered again.
    Retry,
    /// A state has failed, and another takes over.
    Fallback,
    /// The lifecycle is over.
    Finalize,
}

/// Is shown every transition of a machine, for logs and metrics. It cannot change them.
///
/// `()` looks away, and a pair of observers is one.
pub trait Observer<L> {
    /// The state `from` is about to be left.
    fn before(&mut self, transition: &Transition, from: &L) {
        let _ = (transition, from);
    }

    /// The state `to` is the machine's now, and has not been entered yet.
    fn after(&mut self, transition: &Transition, to: &L) {
        let _ = (transition, to);
    }
}

impl<L> Observer<L> for () {}

impl<L, A: Observer<L>, B: Observer<L>> Observer<L> for (A, B) {
    fn before(&mut self, transition: &Transition, from: &L) {
        self.0.before(transition, from);
        self.1.before(transition, from);
    }

    fn after(&mut self, transition: &Transition, to: &L) {
        self.0.after(transition, to);
        self.1.after(transition, to);
    }
}
