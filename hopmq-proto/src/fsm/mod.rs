//! Lifecycles as explicit machines: states that own what they know, a table of every transition, and one place where
//! transitions are taken.
//!
//! A [`Lifecycle`] is an enum of states. Its [`Machine`] gives it one event at a time, from one queue, and carries out
//! what the state answers, an [`Outcome`]: stay, wait for an answer, go on to the successor, start over somewhere else,
//! end. A state can fail: it is [retried](Lifecycle::retry), or [falls back](Lifecycle::fallback) to another state, or
//! the machine halts with its error. A state that waits can have a [deadline](Lifecycle::deadline); a deadline that
//! passes is a failure.
//!
//! Every transition is in the lifecycle's [`Table`], which is checked at each step and can be
//! [drawn](Table::mermaid). An [`Observer`] sees each transition before and after it is taken. An event that the state
//! does not expect comes back in an [`Error`]: it is never dropped.
//!
//! Like everything in this crate a machine is a value: it knows no clock, and tells with
//! [`poll_timeout`](Machine::poll_timeout) when it must be looked at again. It is for what happens now and then. What
//! happens per message looks at [`Machine::state`], and goes by.
//!
//! ```
//! use core::time::Duration;
//! use hopmq_proto::Instant;
//! use hopmq_proto::fsm::{ENTRY, FINAL, Lifecycle, Machine, Outcome, Overdue, RETRY, Retry, Step, TIMEOUT, Table};
//!
//! /// A line that is dialled, used, and hung up.
//! enum Line {
//!     Idle,
//!     Dialling { number: u32 },
//!     Up { dialled: u32 },
//!     Ended,
//! }
//!
//! #[derive(Debug)]
//! enum Event {
//!     Dial(u32),
//!     Answered,
//!     HangUp,
//! }
//!
//! impl Lifecycle for Line {
//!     type Event = Event;
//!     type Error = Overdue;
//!     /// The commands for the modem: what states share.
//!     type Context<'c> = Vec<String>;
//!
//!     const TABLE: Table = Table {
//!         initial: "Idle",
//!         rows: &[
//!             ("Idle", "dial", "Dialling"),
//!             ("Dialling", "answered", "Up"),
//!             ("Dialling", RETRY, "Dialling"),
//!             ("Dialling", TIMEOUT, "Idle"),
//!             ("Dialling", "hang up", "Ended"),
//!             ("Up", "hang up", "Ended"),
//!             ("Ended", ENTRY, FINAL),
//!         ],
//!     };
//!
//!     fn name(&self) -> &'static str {
//!         match self {
//!             Self::Idle => "Idle",
//!             Self::Dialling { .. } => "Dialling",
//!             Self::Up { .. } => "Up",
//!             Self::Ended => "Ended",
//!         }
//!     }
//!
//!     fn event_name(event: &Event) -> &'static str {
//!         match event {
//!             Event::Dial(_) => "dial",
//!             Event::Answered => "answered",
//!             Event::HangUp => "hang up",
//!         }
//!     }
//!
//!     fn enter(&mut self, _attempt: u32, modem: &mut Vec<String>, _now: Instant) -> Step<Self> {
//!         match self {
//!             Self::Dialling { number } => modem.push(format!("ATDT{number}")),
//!             Self::Ended => return Ok(Outcome::Finalize),
//!             Self::Idle | Self::Up { .. } => {}
//!         }
//!         Ok(Outcome::Pending)
//!     }
//!
//!     fn handle(&mut self, event: Event, modem: &mut Vec<String>, _now: Instant) -> Step<Self> {
//!         Ok(match (self, event) {
//!             (Self::Idle, Event::Dial(number)) => Outcome::Complete(Self::Dialling { number }),
//!             (Self::Dialling { number }, Event::Answered) => Outcome::Complete(Self::Up { dialled: *number }),
//!             (Self::Dialling { .. } | Self::Up { .. }, Event::HangUp) => {
//!                 modem.push("ATH".into());
//!                 Outcome::Complete(Self::Ended)
//!             }
//!             (_, event) => Outcome::Unexpected(event),
//!         })
//!     }
//!
//!     fn deadline(&self, _modem: &Vec<String>) -> Option<Duration> {
//!         matches!(self, Self::Dialling { .. }).then_some(Duration::from_secs(30))
//!     }
//!
//!     fn retry(&self, _error: &Overdue, attempt: u32, _modem: &Vec<String>) -> Option<Duration> {
//!         let policy = Retry { attempts: 2, initial: Duration::from_secs(1), factor: 2, max: Duration::from_secs(60) };
//!         policy.pause(attempt)
//!     }
//!
//!     fn fallback(&mut self, _error: Overdue, _modem: &mut Vec<String>, _now: Instant) -> Result<Self, Overdue> {
//!         Ok(Self::Idle)
//!     }
//! }
//!
//! let start = Instant::ZERO;
//! let after = |seconds| start + Duration::from_secs(seconds);
//! let mut modem = Vec::new();
//! let mut line = Machine::new(Line::Idle);
//!
//! line.handle(Event::Dial(5550123), &mut modem, start)?;
//! assert_eq!(line.poll_timeout(), Some(after(30))); // nobody answers
//! line.handle_timeout(&mut modem, after(30))?;
//! assert_eq!(line.poll_timeout(), Some(after(31))); // so it is dialled again, a second later
//! line.handle_timeout(&mut modem, after(31))?;
//! line.handle(Event::Answered, &mut modem, after(40))?;
//! assert!(matches!(line.state(), Line::Up { dialled: 5550123 }));
//!
//! let refused = line.handle(Event::Dial(1), &mut modem, after(41)).unwrap_err();
//! assert_eq!(refused.to_string(), "Up does not expect dial");
//! assert!(matches!(refused.into_event(), Some(Event::Dial(1))));
//!
//! line.handle(Event::HangUp, &mut modem, after(50))?;
//! assert!(line.has_ended());
//! assert_eq!(modem, ["ATDT5550123", "ATDT5550123", "ATH"]);
//! # Ok::<(), hopmq_proto::fsm::Error<Event, Overdue>>(())
//! ```

#![deny(missing_docs)]

mod error;
mod machine;
mod observer;
mod retry;
mod table;

use core::time::Duration;

use crate::Instant;

pub use error::{Error, Overdue};
pub use machine::{MAX_QUEUED, MAX_STEPS, Machine};
pub use observer::{Kind, Observer, Transition};
pub use retry::Retry;
pub use table::{ENTRY, FINAL, RETRY, Row, TIMEOUT, Table};

/// The states of something that lives and ends: an enum, each variant with what exactly that state knows.
///
/// The [module's documentation](self) has a whole one.
pub trait Lifecycle: Sized {
    /// What states are told.
    type Event;
    /// Why a state can fail. A deadline that passes is [`Overdue`], which is a sufficient error by itself.
    type Error: From<Overdue>;
    /// What the states share, lent to them for one event.
    type Context<'c>;

    /// Every transition there is.
    const TABLE: Table;

    /// This state's name in the table.
    fn name(&self) -> &'static str;

    /// An event's name in the table.
    fn event_name(event: &Self::Event) -> &'static str;

    /// The state has been entered; for the `attempt`th time without having been left, counted from 1.
    ///
    /// # Errors
    ///
    /// When the state fails.
    fn enter(&mut self, attempt: u32, context: &mut Self::Context<'_>, now: Instant) -> Step<Self> {
        let _ = (attempt, context, now);
        Ok(Outcome::Pending)
    }

    /// Takes one event.
    ///
    /// # Errors
    ///
    /// When the state fails.
    fn handle(&mut self, event: Self::Event, context: &mut Self::Context<'_>, now: Instant) -> Step<Self>;

    /// How long this state may wait, from when it is first [pending](Outcome::Pending). `None` is for ever.
    fn deadline(&self, context: &Self::Context<'_>) -> Option<Duration> {
        let _ = context;
        None
    }

    /// The state has failed, `attempt` times without having been left: after which pause it is entered again, or `None`
    /// when it is to be no more. Events are handled during the pause too. [`Retry`] is a usual policy.
    fn retry(&self, error: &Self::Error, attempt: u32, context: &Self::Context<'_>) -> Option<Duration> {
        let _ = (error, attempt, context);
        None
    }

    /// The state has failed and is not retried: where to go instead.
    ///
    /// # Errors
    ///
    /// The error, when there is no such state: the machine halts with it.
    fn fallback(
        &mut self,
        error: Self::Error,
        context: &mut Self::Context<'_>,
        now: Instant,
    ) -> Result<Self, Self::Error> {
        let _ = (context, now);
        Err(error)
    }
}

/// What a state answers: what is to happen, or why it has failed.
pub type Step<L> = Result<Outcome<L>, <L as Lifecycle>::Error>;

/// What is to happen after a state was entered or has taken an event.
#[derive(Debug)]
pub enum Outcome<L: Lifecycle> {
    /// Stay. Nothing is waited for, so no deadline runs.
    Done,
    /// Stay: an answer will come. The deadline runs from the first time that this is said.
    Pending,
    /// The state has done its work: go to its successor.
    Complete(L),
    /// The state gives way to another before its work is done.
    Reset {
        /// Where to go.
        next: L,
        /// The event, when the next state is to handle it again.
        reprocess: Option<L::Event>,
    },
    /// The lifecycle is over, in this state: there are no further events.
    Finalize,
    /// The state does not expect this event, and has not changed. The machine gives it back as
    /// [`Error::Unexpected`].
    Unexpected(L::Event),
}
