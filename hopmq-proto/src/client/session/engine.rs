use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::BytesMut;

use super::dialing::{Attempt, Dialing};
use super::life::{Change, Life, Next};
use super::suspects::Suspects;
use super::{
    Entity, EntityFilter, EntityOutcome, Recovery, RecoveryMode, Refused, Renamed, Restore, RestoreConfig,
    Step, may_blame,
};
use crate::amqp::{Arguments, Credentials, Method, ReplyCode, basic};
use crate::client::connection::{News, Private};
use crate::client::{CloseReason, CommandError, Config, Connection, Event, Lost};
use crate::fsm::{Lifecycle, Machine, Table};
use crate::{Engine, Instant, Outbox, Want};

/// A connection that comes back: it dials, and after a loss dials again and brings back what was there.
///
/// It takes the commands of a [`Connection`], and what they gave stays good through every loss: a channel keeps its id, a
/// consumer its token, and a publish that waits for its confirm is told by the same event. While the connection is away,
/// calls and publishes wait for it; deliveries of before can be settled no more.
///
/// Its owner opens transports where [`Want::Dial`] says, and tells how that went: see [`handle_connected`],
/// [`handle_dial_error`] and [`handle_disconnected`]. The rest is the [`Engine`] contract.
///
/// [`handle_connected`]: Session::handle_connected
/// [`handle_dial_error`]: Session::handle_dial_error
/// [`handle_disconnected`]: Session::handle_disconnected
#[derive(Debug)]
pub struct Session {
    pub(super) connection: Connection,
    pub(super) recovery: Recovery,
    dialing: Dialing,
    pub(super) life: Machine<Life>,
    /// Since when, and why, it has been away; from the creation to the first success without a cause.
    away: Option<Away>,
    pub(super) suspects: Suspects,
    /// How many handshakes have succeeded.
    lives: u32,
    /// What numbers of messages begin with.
    pub(super) message_prefix: u64,
    pub(super) messages: u64,
}

#[derive(Debug)]
struct Away {
    since: Instant,
    reason: Option<Arc<CloseReason>>,
    outcomes: Vec<EntityOutcome>,
}

impl Session {
    /// The states of a session, and how it goes from one to another.
    pub const LIFECYCLE: Table = Life::TABLE;

    /// A session with so many `endpoints`, which [`Want::Dial`] names by their numbers from 0. The first is dialled at
    /// once. `seed` is for what is left to chance: the jitter of waits, the order of endpoints, and the message ids.
    ///
    /// [`Config::connect_timeout`] is for a round over all endpoints: each gets its share of what is left.
    #[must_use]
    pub fn new(config: Config, recovery: Recovery, endpoints: usize, seed: u64, now: Instant) -> Self {
        let mut session = Self::down(config, recovery, endpoints, seed, now);
        session.connection.set_outlives(true);
        if session.recovery.mode != RecoveryMode::Off {
            session.connection.keep(session.recovery.max_unconfirmed_bytes);
        }
        session.start_round(now);
        session
    }

    /// A session over a transport that is open already. Nobody can open another: it ends with it.
    #[must_use]
    pub fn over_transport(config: Config, now: Instant) -> Self {
        let timeout = config.connect_timeout;
        let mut session = Self::down(config, Recovery::off(), 0, 0, now);
        session.connection.start(timeout, now);
        session.life = Machine::new(Life::Open { stable_at: None }); // the connection ends by itself
        session
    }

    fn down(config: Config, recovery: Recovery, endpoints: usize, seed: u64, now: Instant) -> Self {
        let mut dialing = Dialing::new(endpoints, seed);
        Self {
            connection: Connection::down(config, now),
            recovery,
            message_prefix: dialing.random(),
            messages: 0,
            dialing,
            life: Machine::new(Life::Waiting { until: now }),
            away: Some(Away { since: now, reason: None, outcomes: Vec::new() }),
            suspects: Suspects::default(),
            lives: 0,
        }
    }

    /// The transport that [`Want::Dial`] asked for is open. Anything else has made it superfluous: it is to be closed.
    pub fn handle_connected(&mut self, now: Instant) {
        if let Life::Dialing(attempt) = self.life.state()
            && !self.has_ended()
        {
            self.connection.start(attempt.deadline - now, now);
            self.change(Change::Connected, now);
        }
    }

    /// The transport that [`Want::Dial`] asked for could not be opened, for the reason that `why` gives.
    pub fn handle_dial_error(&mut self, why: String, now: Instant) {
        self.fail_dial(why, now);
        self.look(now);
    }

    /// The transport is gone: it was closed as [`Want::Shutdown`] asked, or has ended by itself.
    pub fn handle_disconnected(&mut self, now: Instant) {
        if !matches!(self.life.state(), Life::Parting(_) | Life::Dialing(_) | Life::Waiting { .. }) {
            self.connection.handle_eof(now);
            self.look(now);
        }
        if let Life::Parting(next) = *self.life.state() {
            self.connection.forget_transport(now);
            self.go_on(next, now);
        }
    }

    /// The transport has failed, for the reason that `why` gives.
    pub fn handle_transport_error(&mut self, why: String, now: Instant) {
        self.connection.handle_transport_error(why, now);
        self.look(now);
    }

    /// Nobody will open a transport any more: the session ends, with the first cause that there was, or else with the reason
    /// that `why` gives.
    pub fn handle_abandoned(&mut self, why: String, now: Instant) {
        self.handle_transport_error(why.clone(), now);
        if !self.has_ended() {
            self.connection.forget_transport(now);
            self.give_up(Arc::new(CloseReason::Lost(Lost::Transport(why))), now);
            self.change(Change::Over, now);
        }
    }

    /// Who logs in from the next handshake on.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.connection.set_credentials(credentials);
    }

    /// How many handshakes have succeeded.
    #[must_use]
    pub const fn lives(&self) -> u32 {
        self.lives
    }

    /// How many bytes of publishes are kept, to be sent again, until they are confirmed.
    #[must_use]
    pub const fn unconfirmed_bytes(&self) -> usize {
        self.connection.kept_bytes()
    }

    /// Whether everything is there: the connection is open, and what was to be brought back is.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.life.state(), Life::Open { .. }) && self.lives > 0
    }

    fn has_ended(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    // Dialling.

    fn start_round(&mut self, now: Instant) {
        let timeout = self.connection.config().connect_timeout;
        self.dialing.start_round(self.recovery.shuffle, timeout, now);
        self.go_on(Next::Dial, now);
    }

    fn go_on(&mut self, next: Next, now: Instant) {
        let change = match (next, self.has_ended()) {
            (_, true) => Change::Over,
            (Next::Wait { until }, _) => Change::Wait { until },
            (Next::Dial, _) => match self.dialing.next(now) {
                Some(attempt) => Change::Dial(attempt),
                None => Change::Wait { until: now },
            },
        };
        self.change(change, now);
    }

    /// Goes to another state.
    fn change(&mut self, change: Change, now: Instant) {
        let changed = self.life.handle(change, &mut (), now);
        debug_assert!(changed.is_ok(), "{changed:?}");
    }

    fn fail_dial(&mut self, why: String, now: Instant) {
        if let Life::Dialing(attempt) = *self.life.state()
            && !self.has_ended()
        {
            match self.fail(attempt, CloseReason::Unreachable(why), now) {
                Some(next) => self.go_on(next, now),
                None => self.change(Change::Over, now),
            }
        }
    }

    /// An attempt has failed. Gives what to do next, or ends the session.
    fn fail(&mut self, attempt: Attempt, reason: CloseReason, now: Instant) -> Option<Next> {
        let reason = Arc::new(reason);
        let wait = self.dialing.wait(&self.recovery);
        let next = match self.dialing.has_next() {
            _ if self.is_over(now) => None,
            true => Some(Next::Dial),
            false => self.may_go_on(now + wait).then_some(Next::Wait { until: now + wait }),
        };
        let retry_at = match next {
            Some(Next::Wait { until }) => Some(until),
            _ => None,
        };
        let endpoint = attempt.endpoint;
        self.connection.emit(Event::AttemptFailed { endpoint, reason: reason.clone(), retry_at });
        if next.is_none() {
            self.give_up(reason, now);
        }
        next
    }

    /// Whether there may be another round at `at`.
    fn may_go_on(&self, at: Instant) -> bool {
        self.may_come_back()
            && self.recovery.max_rounds.is_none_or(|max| self.dialing.rounds() < max)
            && !self.is_over(at)
    }

    /// Whether it has been away for too long.
    fn is_over(&self, at: Instant) -> bool {
        self.over_at().is_some_and(|over| over <= at)
    }

    fn over_at(&self) -> Option<Instant> {
        Some(self.away.as_ref()?.since + self.recovery.max_elapsed.filter(|_| self.may_come_back())?)
    }

    /// Until when a connection that is coming back may be given up for another, if it may: with a round to spare, and the time for one.
    fn may_begin_anew_until(&self) -> Option<Instant> {
        let has_round = self.recovery.max_rounds.is_none_or(|max| self.dialing.rounds() + 1 < max);
        let round = self.connection.config().connect_timeout;
        let most = self.recovery.max_elapsed.map_or(Duration::MAX, |most| most.saturating_sub(round));
        let since = self.away.as_ref()?.since;
        (has_round && self.may_come_back()).then_some(since + most)
    }

    fn may_come_back(&self) -> bool {
        match self.recovery.mode {
            RecoveryMode::Off => false,
            RecoveryMode::AfterFirstSuccess => self.lives > 0,
            RecoveryMode::Always => true,
        }
    }

    /// Ends the session, for the first cause.
    fn give_up(&mut self, reason: Arc<CloseReason>, now: Instant) {
        let first = self.away.as_ref().and_then(|away| away.reason.clone());
        self.connection.give_up(&first.unwrap_or(reason), now);
    }

    // What happens to the connection.

    /// Looks at what has come of the last input.
    pub(super) fn look(&mut self, now: Instant) {
        if let Life::Resuming { .. } = self.life.state() {
            self.connection.begin_anew(now);
        }
        while let Some(news) = self.connection.poll_news() {
            match news {
                News::Opened => self.on_opened(now),
                News::Lost { reason, was_open } => self.on_lost(reason, was_open, now),
            }
        }
        if self.has_ended() && !self.life.has_ended() {
            self.change(Change::Over, now);
        }
        match self.life.state() {
            _ if !self.connection.is_open() => {} // it is being closed
            Life::Restoring { .. } => self.restore(now),
            Life::Resuming { .. } => {
                if self.connection.take_progress() {
                    self.wait_anew(now);
                }
                self.resume(now);
            }
            _ => {}
        }
    }

    fn on_opened(&mut self, now: Instant) {
        self.lives += 1;
        self.connection.set_outlives(self.recovery.mode != RecoveryMode::Off);
        if self.lives == 1 {
            self.away = None;
            self.change(Change::Opened, now);
            self.dialing.on_stable();
            return;
        }
        let config = RestoreConfig { locked_for: self.recovery.locked_for, ..RestoreConfig::default() };
        let restore = Box::new(Restore::new(self.plan(), config));
        self.change(Change::Reopened { restore, deadline: self.answer_due(now) }, now);
    }

    /// When a server that has begun to answer must have gone on.
    fn answer_due(&self, now: Instant) -> Instant {
        now + self.connection.config().call_timeout
    }

    fn on_lost(&mut self, reason: CloseReason, was_open: bool, now: Instant) {
        if !was_open {
            let Life::Handshaking(attempt) = *self.life.state() else { return };
            let change = self.fail(attempt, reason, now).map_or(Change::Over, Change::Lost);
            return self.change(change, now);
        }
        let reason = Arc::new(reason);
        self.suspects.on_lost();
        self.hear(now); // what was answered before is not to blame
        match self.life.state_mut() {
            Life::Restoring { restore, .. } => {
                restore.on_connection_closed(&reason);
                let decided = restore.take_outcomes().into_iter();
                decided
                    .filter(|outcome| outcome.result.is_err())
                    .for_each(|outcome| self.on_outcome(outcome));
            }
            Life::Resuming { .. } if may_blame(&reason, basic::Consume::ID) => {
                self.connection.leave_out_culprit(&reason);
            }
            _ => {}
        }
        let away = self.away.get_or_insert_with(|| Away { since: now, reason: None, outcomes: Vec::new() });
        away.reason.get_or_insert_with(|| reason.clone());
        self.connection.emit(Event::Lost { reason: reason.clone() });
        self.connection.lose_channels(&reason, may_be_repeated(&reason), now);
        let wait = self.dialing.wait(&self.recovery);
        if self.may_go_on(now) {
            self.change(Change::Lost(Next::Wait { until: now + wait }), now);
        } else {
            self.give_up(reason, now);
            self.change(Change::Over, now);
        }
    }

    // Bringing back what was there.

    /// Takes the answers to what was declared.
    fn hear(&mut self, now: Instant) {
        let due = self.answer_due(now);
        let Self { connection, life, .. } = self;
        let Life::Restoring { restore, channel, deadline } = life.state_mut() else { return };
        while let Some(private) = connection.poll_private() {
            *deadline = due;
            match private {
                Private::Reply(method) if matches!(*method, Method::ChannelOpenOk(_)) => {
                    restore.on_channel_opened();
                }
                Private::Reply(method) => {
                    if let Some(Renamed { old, new }) = restore.on_reply(&method) {
                        connection.topology().rename(&old, &new);
                        connection.emit(Event::QueueRenamed { old, new });
                    }
                }
                Private::Closed(reason) => {
                    *channel = None;
                    restore.on_channel_closed(&reason, now);
                }
            }
        }
    }

    /// Goes on with what is to be declared.
    fn restore(&mut self, now: Instant) {
        self.hear(now);
        let due = self.answer_due(now);
        let Self { connection, life, .. } = self;
        let Life::Restoring { restore, channel, deadline } = life.state_mut() else { return };
        loop {
            match restore.next(now) {
                Step::OpenChannel => match connection.open_private(now) {
                    Some(opened) => *channel = Some(opened),
                    None => return self.restore_nothing(now),
                },
                Step::Send(method) => {
                    if let Some(channel) = *channel
                        && let Err(error) = connection.send_private(channel, &method, now)
                    {
                        restore.on_not_sent(error);
                    }
                }
                Step::CloseChannel => {
                    if let Some(open) = channel.take() {
                        connection.close_private(open, now);
                    }
                }
                Step::WaitUntil(until) => {
                    *deadline = (until + connection.config().call_timeout).max(due);
                    return;
                }
                Step::Wait => return,
                Step::Done(outcomes) => return self.on_restored(outcomes, now),
            }
        }
    }

    /// The server allows one channel only, and that is the user's.
    fn restore_nothing(&mut self, now: Instant) {
        let refused = Refused::NotSent(CommandError::TooManyChannels(1));
        let plan = self.plan().into_iter();
        let outcomes = plan.map(|entity| EntityOutcome { entity, result: Err(refused.clone()) }).collect();
        self.on_restored(outcomes, now);
    }

    fn plan(&mut self) -> Vec<Entity> {
        let filter = self.recovery.filter.clone();
        self.connection.topology().plan(filter.as_ref().map(EntityFilter::as_fn))
    }

    fn on_restored(&mut self, outcomes: Vec<EntityOutcome>, now: Instant) {
        self.suspects.on_restored();
        if let Some(away) = &mut self.away {
            away.outcomes.retain(|outcome| outcome.result.is_err()); // the others are told of anew
        }
        let restored = outcomes.iter().filter_map(EntityOutcome::auto_delete_queue).cloned().collect();
        self.connection.watch_queues(restored, self.may_begin_anew_until());
        outcomes.into_iter().for_each(|outcome| self.on_outcome(outcome));
        self.connection.resume_channels(now + self.recovery.locked_for, now);
        self.change(Change::Restored { deadline: self.answer_due(now) }, now);
        self.resume(now);
    }

    fn on_outcome(&mut self, outcome: EntityOutcome) {
        if let Err(reason) = &outcome.result {
            self.connection.topology().on_refused(&outcome.entity);
            if let (Refused::Unanswered, Entity::Queue { name, .. }) = (reason, &outcome.entity) {
                self.connection.leave_out_consumers_of(name, &outcome.entity); // nor would they be answered
            }
            let (entity, reason) = (Box::new(outcome.entity.clone()), reason.clone());
            self.connection.emit(Event::Degraded { entity, reason });
        }
        if let Some(away) = &mut self.away {
            away.outcomes.push(outcome);
        }
    }

    fn resume(&mut self, now: Instant) {
        if self.connection.is_resuming() {
            return;
        }
        if self.connection.resume_rest(now) {
            return self.wait_anew(now);
        }
        let Some(mut away) = self.away.take() else { return };
        away.outcomes.append(&mut self.connection.take_left_out());
        self.suspects = Suspects::default();
        self.connection.on_back();
        self.change(Change::Resumed { stable_at: now + self.recovery.stable_after }, now);
        self.connection.emit(Event::Recovered { took: now - away.since, outcomes: away.outcomes });
    }

    // Time.

    /// The server gets its time anew: it may have answered what was not read.
    pub(super) fn wait_anew(&mut self, now: Instant) {
        let due = self.answer_due(now);
        if let Life::Restoring { deadline, .. } | Life::Resuming { deadline } = self.life.state_mut() {
            *deadline = due.max(*deadline);
        }
    }

    fn on_due(&mut self, now: Instant) {
        match *self.life.state() {
            Life::Dialing(attempt) if attempt.deadline <= now => {
                self.fail_dial(String::from("no answer in time"), now);
            }
            Life::Waiting { until } if until <= now && !self.has_ended() => self.start_round(now),
            Life::Resuming { .. } if self.connection.locked_at().is_some_and(|at| at <= now) => {
                self.connection.resume_locked(now);
                self.wait_anew(now);
            }
            Life::Restoring { deadline, .. } | Life::Resuming { deadline }
                if deadline <= now && self.connection.is_open() && self.connection.locked_at().is_none() =>
            {
                if !self.connection.is_read() {
                    return self.wait_anew(now);
                }
                self.on_unanswered(now);
            }
            Life::Open { stable_at: Some(at) } if at <= now => {
                self.dialing.on_stable();
                if let Life::Open { stable_at } = self.life.state_mut() {
                    *stable_at = None;
                }
            }
            _ => {}
        }
    }

    fn next_due(&self) -> Option<Instant> {
        match self.life.state() {
            Life::Restoring { .. } | Life::Resuming { .. } if !self.connection.is_open() => None,
            Life::Dialing(attempt) => Some(attempt.deadline),
            Life::Restoring { restore, deadline, .. } => {
                Some(restore.poll_timeout().map_or(*deadline, |at| at.min(*deadline)))
            }
            Life::Resuming { deadline } => {
                Some(self.connection.locked_at().unwrap_or(*deadline)) // till then the server has nothing to answer
            }
            Life::Open { stable_at } => *stable_at,
            Life::Waiting { until } => Some(*until),
            Life::Handshaking(_) | Life::Parting(_) | Life::Ended => None,
        }
    }
}

/// Whether what was on its way when the connection was lost may be sent again. A server that closed the connection over
/// something that it was sent would do so again, and again.
fn may_be_repeated(reason: &CloseReason) -> bool {
    match reason {
        CloseReason::Lost(_) => true,
        CloseReason::Server(close) => close.code == ReplyCode::CONNECTION_FORCED,
        _ => false,
    }
}

impl Engine for Session {
    type Event = Event;

    fn handle_input(&mut self, input: &mut BytesMut, now: Instant) {
        self.connection.handle_input(input, now);
        self.look(now);
    }

    fn handle_eof(&mut self, now: Instant) {
        self.connection.handle_eof(now);
        self.look(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
        self.on_due(now);
        self.look(now);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.connection.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if let (Life::Parting(_), true) = (self.life.state(), self.connection.is_down()) {
            return None; // its transport is of no use, and calls that wait for another life do not keep it
        }
        let due = if self.has_ended() { None } else { self.next_due() };
        due.into_iter().chain(self.connection.poll_timeout()).min()
    }

    fn outbox(&mut self) -> &mut Outbox {
        self.connection.outbox()
    }

    fn want(&self) -> Want {
        match *self.life.state() {
            _ if self.has_ended() => Want::Shutdown,
            Life::Dialing(Attempt { endpoint, number, .. }) => Want::Dial { endpoint, attempt: number },
            Life::Waiting { .. } => Want::Wait,
            Life::Parting(_) | Life::Ended => Want::Shutdown,
            _ => self.connection.want(),
        }
    }
}
