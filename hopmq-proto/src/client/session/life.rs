use alloc::boxed::Box;

use super::Restore;
use super::dialing::Attempt;
use crate::Instant;
use crate::client::ChannelId;
use crate::fsm::{ENTRY, FINAL, Lifecycle, Outcome, Overdue, Step, Table};

/// The states of a session.
#[derive(Debug)]
pub(super) enum Life {
    /// A transport is being opened.
    Dialing(Attempt),
    /// The transport is open, the connection not yet.
    Handshaking(Attempt),
    /// The connection is open, and exchanges, queues and bindings are being brought back.
    Restoring { restore: Box<Restore>, channel: Option<ChannelId>, deadline: Instant },
    /// Channels are being brought back, with their consumers.
    Resuming { deadline: Instant },
    /// Work is done. `stable_at`: then it counts as sound.
    Open { stable_at: Option<Instant> },
    /// This life is over, and its transport still there.
    Parting(Next),
    /// Nothing is to be done until then.
    Waiting { until: Instant },
    /// It has ended for good.
    Ended,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Dial,
    Wait { until: Instant },
}

/// What changes a session's state.
#[derive(Debug)]
pub(super) enum Change {
    /// An endpoint is to be dialled.
    Dial(Attempt),
    /// The next round is for later.
    Wait { until: Instant },
    /// The transport is open.
    Connected,
    /// The first handshake is done.
    Opened,
    /// A later handshake is done.
    Reopened { restore: Box<Restore>, deadline: Instant },
    /// Exchanges, queues and bindings are back.
    Restored { deadline: Instant },
    /// Channels are back, too.
    Resumed { stable_at: Instant },
    /// The connection is lost, or was not opened.
    Lost(Next),
    /// There will be no other connection.
    Over,
}

impl Lifecycle for Life {
    type Event = Change;
    type Error = Overdue;
    type Context<'c> = ();

    const TABLE: Table = Table {
        initial: "Waiting",
        rows: &[
            ("Waiting", "dial", "Dialing"),
            ("Waiting", "wait", "Waiting"),
            ("Waiting", "over", "Ended"),
            ("Dialing", "connected", "Handshaking"),
            ("Dialing", "dial", "Dialing"),
            ("Dialing", "wait", "Waiting"),
            ("Dialing", "over", "Ended"),
            ("Handshaking", "opened", "Open"),
            ("Handshaking", "reopened", "Restoring"),
            ("Handshaking", "lost", "Parting"),
            ("Handshaking", "over", "Ended"),
            ("Restoring", "restored", "Resuming"),
            ("Restoring", "lost", "Parting"),
            ("Restoring", "over", "Ended"),
            ("Resuming", "resumed", "Open"),
            ("Resuming", "lost", "Parting"),
            ("Resuming", "over", "Ended"),
            ("Open", "lost", "Parting"),
            ("Open", "over", "Ended"),
            ("Parting", "dial", "Dialing"),
            ("Parting", "wait", "Waiting"),
            ("Parting", "over", "Ended"),
            ("Ended", ENTRY, FINAL),
        ],
    };

    fn name(&self) -> &'static str {
        match self {
            Self::Dialing(_) => "Dialing",
            Self::Handshaking(_) => "Handshaking",
            Self::Restoring { .. } => "Restoring",
            Self::Resuming { .. } => "Resuming",
            Self::Open { .. } => "Open",
            Self::Parting(_) => "Parting",
            Self::Waiting { .. } => "Waiting",
            Self::Ended => "Ended",
        }
    }

    fn event_name(change: &Change) -> &'static str {
        match change {
            Change::Dial(_) => "dial",
            Change::Wait { .. } => "wait",
            Change::Connected => "connected",
            Change::Opened => "opened",
            Change::Reopened { .. } => "reopened",
            Change::Restored { .. } => "restored",
            Change::Resumed { .. } => "resumed",
            Change::Lost(_) => "lost",
            Change::Over => "over",
        }
    }

    fn enter(&mut self, _attempt: u32, (): &mut (), _now: Instant) -> Step<Self> {
        Ok(if let Self::Ended = self { Outcome::Finalize } else { Outcome::Done })
    }

    fn handle(&mut self, change: Change, (): &mut (), _now: Instant) -> Step<Self> {
        let reset = |next| Outcome::Reset { next, reprocess: None };
        Ok(match (self, change) {
            (Self::Waiting { .. } | Self::Dialing(_) | Self::Parting(_), Change::Dial(attempt)) => {
                Outcome::Complete(Self::Dialing(attempt))
            }
            (Self::Waiting { .. } | Self::Dialing(_) | Self::Parting(_), Change::Wait { until }) => {
                Outcome::Complete(Self::Waiting { until })
            }
            (Self::Dialing(attempt), Change::Connected) => Outcome::Complete(Self::Handshaking(*attempt)),
            (Self::Handshaking(_), Change::Opened) => Outcome::Complete(Self::Open { stable_at: None }),
            (Self::Handshaking(_), Change::Reopened { restore, deadline }) => {
                Outcome::Complete(Self::Restoring { restore, channel: None, deadline })
            }
            (Self::Restoring { .. }, Change::Restored { deadline }) => {
                Outcome::Complete(Self::Resuming { deadline })
            }
            (Self::Resuming { .. }, Change::Resumed { stable_at }) => {
                Outcome::Complete(Self::Open { stable_at: Some(stable_at) })
            }
            (
                Self::Handshaking(_) | Self::Restoring { .. } | Self::Resuming { .. } | Self::Open { .. },
                Change::Lost(next),
            ) => reset(Self::Parting(next)),
            (_, Change::Over) => reset(Self::Ended),
            (_, change) => Outcome::Unexpected(change),
        })
    }
}
