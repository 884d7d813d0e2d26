use alloc::sync::Arc;
use core::time::Duration;

use super::Channel;
use super::resume::Resuming;
use crate::Instant;
use crate::amqp::{ReplyCode, ShortStr, channel};
use crate::client::connection::core::{Core, Timer};
use crate::client::connection::lives::Private;
use crate::client::{CallError, ChannelId, CloseReason, Event, Reply, Token};
use crate::fsm::{ENTRY, FINAL, Lifecycle, Outcome, Overdue, Step, TIMEOUT, Table};

/// The states of a channel.
#[derive(Debug)]
pub(super) enum State {
    /// `channel.open` is sent.
    Opening,
    /// `channel.open-ok` has come.
    Open,
    /// The connection was lost. What is asked for is done when it is back.
    Lost,
    /// The connection is back, and so is the channel, but not yet all that was on it.
    Resuming(Resuming),
    /// `channel.close` is sent; everything but `close` and `close-ok` is dropped.
    Closing { token: Option<Token>, reason: Arc<CloseReason> },
    /// Both sides are done with it.
    Closed(Arc<CloseReason>),
}

/// What changes a channel's state.
#[derive(Debug)]
pub(super) enum Change {
    /// `channel.open-ok` has come.
    Opened,
    /// The connection is lost, or what was to be resumed was refused and is begun anew.
    Lost,
    /// The connection is back.
    Returned(Resuming),
    /// Everything that was on the channel is back.
    Resumed,
    /// `channel.close` is sent.
    Close { token: Option<Token>, reason: Arc<CloseReason> },
    /// `channel.close-ok` has come.
    CloseOk,
    /// The server has closed it, or the connection has ended.
    Ended(Arc<CloseReason>),
}

/// What the states of a channel are lent.
pub(super) struct Scope<'c> {
    core: &'c mut Core,
    id: ChannelId,
    /// Somebody is to be told of its end.
    told: bool,
    /// It is the session's own.
    private: bool,
}

impl State {
    /// Tells of the channel's end.
    fn announce(&mut self, scope: &mut Scope<'_>, reason: &Arc<CloseReason>) {
        match self {
            _ if scope.private => scope.core.private.push_back(Private::Closed(reason.clone())),
            Self::Open | Self::Lost | Self::Resuming(_) if scope.told => {
                scope.core.emit(Event::ChannelClosed { channel: scope.id, reason: reason.clone() });
            }
            Self::Closing { token, .. } => resolve(token, scope, Ok(Reply::Closed)),
            _ => {}
        }
    }
}

/// Tells whoever has closed the channel.
fn resolve(token: &mut Option<Token>, scope: &mut Scope<'_>, result: Result<Reply, CallError>) {
    if let Some(token) = token.take() {
        scope.core.emit(Event::Reply { token, result });
    }
}

impl Lifecycle for State {
    type Event = Change;
    type Error = Overdue;
    type Context<'c> = Scope<'c>;

    const TABLE: Table = Table {
        initial: "Opening",
        rows: &[
            ("Opening", "open-ok", "Open"),
            ("Opening", "close", "Closing"),
            ("Opening", "lost", "Lost"),
            ("Opening", "ended", "Closed"),
            ("Open", "close", "Closing"),
            ("Open", "lost", "Lost"),
            ("Open", "ended", "Closed"),
            ("Lost", "returned", "Resuming"),
            ("Lost", "ended", "Closed"),
            ("Resuming", "resumed", "Open"),
            ("Resuming", "close", "Closing"),
            ("Resuming", "lost", "Lost"),
            ("Resuming", "ended", "Closed"),
            ("Closing", TIMEOUT, "Closing"),
            ("Closing", "close-ok", "Closed"),
            ("Closing", "ended", "Closed"),
            ("Closed", ENTRY, FINAL),
        ],
    };

    fn name(&self) -> &'static str {
        match self {
            Self::Opening => "Opening",
            Self::Open => "Open",
            Self::Lost => "Lost",
            Self::Resuming(_) => "Resuming",
            Self::Closing { .. } => "Closing",
            Self::Closed(_) => "Closed",
        }
    }

    fn event_name(change: &Change) -> &'static str {
        match change {
            Change::Opened => "open-ok",
            Change::Lost => "lost",
            Change::Returned(_) => "returned",
            Change::Resumed => "resumed",
            Change::Close { .. } => "close",
            Change::CloseOk => "close-ok",
            Change::Ended(_) => "ended",
        }
    }

    fn enter(&mut self, _attempt: u32, scope: &mut Scope<'_>, _now: Instant) -> Step<Self> {
        match self {
            Self::Resuming(_) => scope.core.resuming += 1,
            Self::Closed(_) => return Ok(Outcome::Finalize),
            _ => {}
        }
        Ok(Outcome::Pending)
    }

    fn handle(&mut self, change: Change, scope: &mut Scope<'_>, _now: Instant) -> Step<Self> {
        let was_resuming = matches!(self, Self::Resuming(_));
        let outcome = match (self, change) {
            (Self::Opening, Change::Opened) | (Self::Resuming(_), Change::Resumed) => {
                Outcome::Complete(Self::Open)
            }
            (Self::Lost, Change::Returned(resuming)) => Outcome::Complete(Self::Resuming(resuming)),
            (Self::Opening | Self::Open | Self::Resuming(_), Change::Lost) => {
                Outcome::Reset { next: Self::Lost, reprocess: None }
            }
            (Self::Lost, Change::Lost) => Outcome::Done, // the next life was lost before the channel was resumed
            (state @ (Self::Opening | Self::Open | Self::Resuming(_)), Change::Close { token, reason }) => {
                state.announce(scope, &reason);
                Outcome::Complete(Self::Closing { token, reason })
            }
            (Self::Closing { token, reason }, Change::CloseOk) => {
                resolve(token, scope, Ok(Reply::Closed));
                Outcome::Complete(Self::Closed(reason.clone()))
            }
            (state, Change::Ended(reason)) => {
                state.announce(scope, &reason);
                Outcome::Reset { next: Self::Closed(reason), reprocess: None }
            }
            (_, change) => Outcome::Unexpected(change),
        };
        if was_resuming && !matches!(outcome, Outcome::Unexpected(_)) {
            scope.core.resuming = scope.core.resuming.saturating_sub(1);
        }
        Ok(outcome)
    }

    /// Somebody waits for the close.
    fn deadline(&self, scope: &Scope<'_>) -> Option<Duration> {
        matches!(self, Self::Closing { token: Some(_), .. }).then_some(scope.core.config.call_timeout)
    }

    /// The server does not answer a close: it is not waited for, but the channel's number is not free either.
    fn fallback(&mut self, overdue: Overdue, scope: &mut Scope<'_>, _now: Instant) -> Result<Self, Overdue> {
        let Self::Closing { token, reason } = self else { return Err(overdue) };
        resolve(token, scope, Err(CallError::TimedOut));
        Ok(Self::Closing { token: None, reason: reason.clone() })
    }
}

impl Channel {
    /// Closes the channel from our side. Whatever waits on it is resolved at once.
    pub(in crate::client::connection) fn close(
        &mut self,
        core: &mut Core,
        code: ReplyCode,
        reason: CloseReason,
        token: Option<Token>,
        now: Instant,
    ) {
        let reason = Arc::new(reason);
        core.answer(
            self.id.number,
            channel::Close {
                reply_code: code.0,
                reply_text: ShortStr::truncated(code.name().unwrap_or("closed")),
                class_id: 0,
                method_id: 0,
            },
            now,
        );
        self.release(core, &reason);
        self.change(core, Change::Close { token, reason }, now);
    }

    /// Resolves everything that waits on the channel, for the channel has ended.
    pub(in crate::client::connection) fn end(
        &mut self,
        core: &mut Core,
        reason: &Arc<CloseReason>,
        now: Instant,
    ) {
        self.release(core, reason);
        self.change(core, Change::Ended(reason.clone()), now);
    }

    /// Resolves everything that waits on the channel.
    fn release(&mut self, core: &mut Core, reason: &Arc<CloseReason>) {
        let number = self.id.number;
        self.held.clear();
        core.deadlines.clear(Timer::Call(number));
        core.deadlines.clear(Timer::Confirm(number));
        for token in self.calls.drain() {
            core.emit(Event::Reply { token, result: Err(CallError::Closed(reason.clone())) });
        }
        self.publishing.end(core, reason);
        self.forget_consumers(core);
    }

    /// Goes to another state. When it waits for something there, the connection's timer is set.
    pub(super) fn change(&mut self, core: &mut Core, change: Change, now: Instant) {
        let mut scope = Scope { core, id: self.id, told: self.told, private: self.private };
        let changed = self.life.handle(change, &mut scope, now);
        debug_assert!(changed.is_ok(), "channel {}: {changed:?}", self.id.number);
        if let Some(due) = self.life.poll_timeout() {
            core.deadlines.set(Timer::Call(self.id.number), due);
        }
    }

    /// The state's deadline may have passed.
    pub(super) fn on_life_due(&mut self, core: &mut Core, now: Instant) {
        let mut scope = Scope { core, id: self.id, told: self.told, private: self.private };
        let changed = self.life.handle_timeout(&mut scope, now);
        debug_assert!(changed.is_ok(), "channel {}: {changed:?}", self.id.number);
    }
}
