use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use super::core::{Core, Timer};
use super::handshake::Handshake;
use super::lives::{Lives, News};
use super::work::Work;
use crate::Instant;
use crate::amqp::{ReplyCode, ShortStr, connection};
use crate::client::{CallError, CloseReason, Event, Lost, Reply, ServerInfo, Token};
use crate::fsm::{ENTRY, FINAL, Lifecycle, Outcome, Overdue, Step, TIMEOUT, Table};

/// How long the last bytes of a life that is over may take.
const PARTING: Duration = Duration::from_secs(1);

/// The states of a connection.
#[derive(Debug)]
pub(super) enum Phase {
    /// There is no transport: not yet, or not any more.
    Down,
    /// Greeting, login, tuning.
    Handshake(Handshake),
    /// Work is done.
    Open,
    /// This life is over, and another can follow. The outbox may hold the last bytes.
    Parting,
    /// `connection.close` is sent; everything but `close` and `close-ok` is dropped.
    Closing { token: Token },
    /// The terminal event has been emitted; the outbox may hold the last bytes.
    Ending(Arc<CloseReason>),
    /// There is nothing more to do.
    Closed(Arc<CloseReason>),
}

/// What changes a connection's state.
#[derive(Debug)]
pub(super) enum Change {
    /// There is a transport. The handshake may take so long.
    Start(Duration),
    /// `connection.open-ok` has come.
    Opened(Box<ServerInfo>),
    /// The owner closes it.
    Close(Token),
    /// `connection.close-ok` has come.
    CloseOk,
    /// It cannot go on. What is in the outbox is for the server still.
    Over(CloseReason),
    /// The stream is gone: nothing can be written any more.
    Lost(CloseReason),
    /// The owner ends it, and waits for nothing.
    Abort,
    /// The session ends it.
    GivenUp(Arc<CloseReason>),
}

/// What the states of a connection are lent.
pub(super) struct Parts<'c> {
    pub(super) core: &'c mut Core,
    pub(super) work: &'c mut Work,
    pub(super) lives: &'c mut Lives,
}

impl Parts<'_> {
    fn on_opened(&mut self, info: Box<ServerInfo>) {
        self.work.on_opened(self.core, &info);
        self.core.live = self.lives.opened == 0;
        self.lives.opened += 1;
        if self.lives.outlives {
            self.lives.tell(News::Opened);
        }
        self.core.emit(Event::Opened(info));
    }

    /// Resolves what waits, and emits the terminal event.
    fn end(&mut self, reason: &Arc<CloseReason>, now: Instant) {
        self.core.deadlines.clear_all();
        self.work.end(self.core, reason, now);
        self.core.emit(Event::Closed { reason: reason.clone() });
    }

    /// The close was asked for by `token`: that is why the connection ends, whatever came in between.
    fn end_closing(
        &mut self,
        token: Token,
        result: Result<Reply, CallError>,
        now: Instant,
    ) -> Arc<CloseReason> {
        let reason = Arc::new(CloseReason::Requested);
        self.core.emit(Event::Reply { token, result });
        self.end(&reason, now);
        reason
    }
}

impl Phase {
    /// This life is over, and where to go when nothing more can be written.
    fn end(&mut self, reason: CloseReason, parts: &mut Parts<'_>, now: Instant) -> Self {
        if parts.lives.outlives(&reason) {
            let was_open = matches!(self, Self::Open);
            for timer in [Timer::HeartbeatSend, Timer::HeartbeatReceive] {
                parts.core.deadlines.clear(timer);
            }
            parts.core.live = false;
            parts.lives.tell(News::Lost { reason, was_open });
            return Self::Down;
        }
        let reason = Arc::new(reason);
        parts.end(&reason, now);
        Self::Closed(reason)
    }

    /// The same, while what is in the outbox can still be written.
    fn part(&mut self, reason: CloseReason, parts: &mut Parts<'_>, now: Instant) -> Self {
        let says = match &reason {
            CloseReason::PeerMisbehaved(fault) => Some(close(fault.reply_code(), "protocol violation")),
            CloseReason::Lost(Lost::QueueGone) => Some(close(ReplyCode::SUCCESS, "begins anew")),
            _ => None,
        };
        if let (Self::Open, Some(close)) = (&self, says) {
            parts.core.answer_last(0, close, now);
        }
        match self.end(reason, parts, now) {
            Self::Closed(reason) => Self::Ending(reason),
            _ => Self::Parting,
        }
    }

    fn on_close(&mut self, token: Token, parts: &mut Parts<'_>, now: Instant) -> Self {
        if let Self::Open = self {
            parts.work.end(parts.core, &Arc::new(CloseReason::Requested), now);
            parts.core.answer(0, close(ReplyCode::SUCCESS, "bye"), now);
            return Self::Closing { token };
        }
        parts.core.outbox.clear();
        Self::Ending(parts.end_closing(token, Ok(Reply::Closed), now))
    }
}

fn close(code: ReplyCode, text: &'static str) -> connection::Close {
    connection::Close {
        reply_code: code.0,
        reply_text: ShortStr::from_static(text),
        class_id: 0,
        method_id: 0,
    }
}

impl Lifecycle for Phase {
    type Event = Change;
    type Error = Overdue;
    type Context<'c> = Parts<'c>;

    const TABLE: Table = Table {
        initial: "Down",
        rows: &[
            ("Down", "connected", "Handshake"),
            ("Down", "close", "Ending"),
            ("Down", "lost", "Closed"),
            ("Down", "abort", "Closed"),
            ("Down", "given up", "Closed"),
            ("Handshake", "open-ok", "Open"),
            ("Handshake", TIMEOUT, "Down"),
            ("Handshake", "over", "Parting"),
            ("Handshake", "lost", "Down"),
            ("Handshake", TIMEOUT, "Ending"),
            ("Handshake", "over", "Ending"),
            ("Handshake", "close", "Ending"),
            ("Handshake", "lost", "Closed"),
            ("Handshake", "abort", "Closed"),
            ("Handshake", "given up", "Closed"),
            ("Open", "over", "Parting"),
            ("Open", "lost", "Down"),
            ("Open", "close", "Closing"),
            ("Open", "over", "Ending"),
            ("Open", "lost", "Closed"),
            ("Open", "abort", "Closed"),
            ("Open", "given up", "Closed"),
            ("Parting", "lost", "Down"),
            ("Parting", TIMEOUT, "Down"),
            ("Parting", "close", "Ending"),
            ("Parting", "abort", "Closed"),
            ("Parting", "given up", "Ending"),
            ("Closing", "close-ok", "Ending"),
            ("Closing", "over", "Ending"),
            ("Closing", TIMEOUT, "Closed"),
            ("Closing", "lost", "Closed"),
            ("Closing", "abort", "Closed"),
            ("Ending", TIMEOUT, "Closed"),
            ("Ending", "lost", "Closed"),
            ("Ending", "abort", "Closed"),
            ("Closed", ENTRY, FINAL),
        ],
    };

    fn name(&self) -> &'static str {
        match self {
            Self::Down => "Down",
            Self::Handshake(_) => "Handshake",
            Self::Open => "Open",
            Self::Parting => "Parting",
            Self::Closing { .. } => "Closing",
            Self::Ending(_) => "Ending",
            Self::Closed(_) => "Closed",
        }
    }

    fn event_name(change: &Change) -> &'static str {
        match change {
            Change::Start(_) => "connected",
            Change::Opened(_) => "open-ok",
            Change::Close(_) => "close",
            Change::CloseOk => "close-ok",
            Change::Over(_) => "over",
            Change::Lost(_) => "lost",
            Change::Abort => "abort",
            Change::GivenUp(_) => "given up",
        }
    }

    fn enter(&mut self, _attempt: u32, parts: &mut Parts<'_>, _now: Instant) -> Step<Self> {
        match self {
            Self::Down => parts.core.outbox.clear(),
            Self::Closed(_) => {
                parts.core.outbox.clear();
                return Ok(Outcome::Finalize);
            }
            _ => {}
        }
        Ok(Outcome::Pending)
    }

    fn handle(&mut self, change: Change, parts: &mut Parts<'_>, now: Instant) -> Step<Self> {
        let reset = |next| Outcome::Reset { next, reprocess: None };
        Ok(match (self, change) {
            (Self::Down, Change::Start(timeout)) => {
                parts.core.start_life(now);
                Outcome::Complete(Self::Handshake(Handshake::start(parts.core, timeout)))
            }
            (Self::Handshake(_), Change::Opened(info)) => {
                parts.on_opened(info);
                Outcome::Complete(Self::Open)
            }
            (Self::Closing { token }, Change::CloseOk | Change::Over(_)) => {
                Outcome::Complete(Self::Ending(parts.end_closing(*token, Ok(Reply::Closed), now)))
            }
            (Self::Closing { token }, Change::Lost(_)) => {
                reset(Self::Closed(parts.end_closing(*token, Ok(Reply::Closed), now)))
            }
            (Self::Closing { token }, Change::Abort) => {
                let aborted = CallError::Closed(Arc::new(CloseReason::Aborted));
                reset(Self::Closed(parts.end_closing(*token, Err(aborted), now)))
            }
            (Self::Ending(reason), Change::Lost(_) | Change::Abort) => reset(Self::Closed(reason.clone())),
            (Self::Parting, Change::Lost(_)) => Outcome::Complete(Self::Down),
            // It has been told already.
            (Self::Down, Change::Lost(reason)) if parts.lives.outlives(&reason) => Outcome::Done,
            (state @ (Self::Handshake(_) | Self::Open), Change::Over(reason)) => {
                reset(state.part(reason, parts, now))
            }
            (state @ (Self::Down | Self::Handshake(_) | Self::Open), Change::Lost(reason)) => {
                reset(state.end(reason, parts, now))
            }
            (state @ (Self::Down | Self::Handshake(_) | Self::Open | Self::Parting), change) => {
                match change {
                    Change::Close(token) => reset(state.on_close(token, parts, now)),
                    Change::Abort => reset(state.end(CloseReason::Aborted, parts, now)),
                    Change::GivenUp(reason) => {
                        parts.end(&reason, now);
                        let is_parting = matches!(state, Self::Parting);
                        reset(if is_parting { Self::Ending(reason) } else { Self::Closed(reason) })
                    }
                    change => Outcome::Unexpected(change),
                }
            }
            (_, change) => Outcome::Unexpected(change),
        })
    }

    fn deadline(&self, parts: &Parts<'_>) -> Option<Duration> {
        match self {
            Self::Handshake(handshake) => Some(handshake.limit()),
            Self::Parting => Some(PARTING),
            Self::Closing { .. } | Self::Ending(_) => Some(parts.core.config.close_timeout),
            Self::Down | Self::Open | Self::Closed(_) => None,
        }
    }

    fn fallback(&mut self, overdue: Overdue, parts: &mut Parts<'_>, now: Instant) -> Result<Self, Overdue> {
        match self {
            Self::Handshake(handshake) => {
                let reason = handshake.timeout();
                parts.core.outbox.clear();
                // A server that says nothing is not waited for.
                Ok(match self.end(reason, parts, now) {
                    Self::Closed(reason) => Self::Ending(reason),
                    down => down,
                })
            }
            Self::Parting => Ok(Self::Down),
            Self::Closing { token } => {
                Ok(Self::Closed(parts.end_closing(*token, Err(CallError::TimedOut), now)))
            }
            Self::Ending(reason) => Ok(Self::Closed(reason.clone())),
            Self::Down | Self::Open | Self::Closed(_) => Err(overdue),
        }
    }
}
