use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::amqp::{FieldTable, ShortStr};
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, Config, Confirmation, Event, Reply, ServerInfo, Session, Token,
};
use hopmq_proto::{Engine as _, Instant};

use super::Endpoint;
use super::answers::{Answers, Slot};
use super::attempts::Attempts;
use super::events::{ConnectionEvent, EventLog};
use super::incoming::{ConsumerEnd, Incoming};
use super::journal::{Journal, Scope, Telling};
use super::meter::{Counts, Meter};
use super::waits::{Ticket, Waits};
use crate::io::Clock;

/// How many times `max_event_bytes` may be buffered while somebody waits for the server: the answer may be behind the
/// deliveries, and who waits for it may be the consumer that should take them.
const AWAITED_FACTOR: usize = 16;

/// One connection, as its handles and its driver share it: the engine, and who waits for which of its events.
///
/// The lock is held for a command or for a pass of the driver, never across a syscall or an await.
pub(crate) struct Shared {
    state: Mutex<State>,
    clock: Box<dyn Clock>,
    losses: Arc<AtomicU64>,
    pub(super) meter: Meter,
    pub(super) scope: Scope,
}

/// The locked state. What is stale in it is dropped after the lock is released: fields are dropped in their order.
pub(super) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    /// A subscriber may use the connection.
    telling: Telling<'a>,
    stale: Vec<Waker>,
    /// Bodies that are never written. Who owns them may have handles, too.
    unwritten: Vec<Bytes>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.telling.take(&mut self.state.journal);
        self.stale = std::mem::take(&mut self.state.stale);
        self.unwritten = self.state.engine.outbox().take_dropped();
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

pub(crate) struct State {
    pub(crate) engine: Session,
    /// Wakes the driver; taken by whoever wakes it first.
    pub(super) driver: Option<Waker>,
    /// Wakers that are not needed any more. Dropping one may drop a task with handles in it, which take the lock.
    pub(crate) stale: Vec<Waker>,
    opening: Slot<Result<(), Arc<CloseReason>>>,
    pub(super) attempts: Attempts,
    /// The server of the latest handshake.
    pub(super) server: Arc<ServerInfo>,
    calls: Answers<Result<Reply, CallError>>,
    confirms: Answers<Result<Confirmation, CallError>>,
    pub(super) consumers: BTreeMap<Token, Incoming>,
    /// How many replies RPC clients wait for.
    pub(super) responses_owed: usize,
    /// Publishers that were refused and wait for room.
    pub(super) room: Waits,
    /// RPC clients that wait for a reply.
    pub(super) deadlines: Waits,
    publish_timeout: Duration,
    pub(super) call_timeout: Duration,
    /// Bytes of deliveries that no consumer has taken yet.
    pub(super) buffered: usize,
    pub(super) max_buffered: usize,
    /// What happened to the connection as a whole.
    pub(crate) log: EventLog,
    pub(super) counts: Counts,
    pub(super) journal: Journal,
    /// How often the connection was lost. It changes under the lock, and is read without.
    losses: Arc<AtomicU64>,
}

impl Shared {
    /// `connect` makes the session, at the time that it is given.
    pub(crate) fn new(
        config: Config,
        endpoints: Vec<Endpoint>,
        scope: Scope,
        clock: impl Clock,
        connect: impl FnOnce(Config, Instant) -> Session,
    ) -> Arc<Self> {
        let (publish_timeout, call_timeout) = (config.publish_timeout, config.call_timeout);
        let losses = Arc::new(AtomicU64::new(0));
        let meter = Meter::new(&config);
        let nobody = ServerInfo { properties: FieldTable::new(), channel_max: 0, frame_max: 0, heartbeat: 0 };
        let state = State {
            max_buffered: config.max_event_bytes,
            engine: connect(config, clock.now()),
            driver: None,
            stale: Vec::new(),
            opening: Slot::Empty,
            attempts: Attempts::new(endpoints),
            server: Arc::new(nobody),
            calls: Answers::new(),
            confirms: Answers::new(),
            consumers: BTreeMap::new(),
            responses_owed: 0,
            room: Waits::new(),
            deadlines: Waits::new(),
            publish_timeout,
            call_timeout,
            buffered: 0,
            log: EventLog::default(),
            counts: Counts::default(),
            journal: Journal::default(),
            losses: losses.clone(),
        };
        Arc::new(Self { state: Mutex::new(state), clock: Box::new(clock), losses, meter, scope })
    }

    /// How often the connection was lost. What came before the latest loss can no longer be settled.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { state, telling: self.scope.telling(), stale: Vec::new(), unwritten: Vec::new() }
    }

    /// Gives a command to the engine, then wakes the driver.
    pub(crate) fn command<R>(&self, command: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = self.clock.now();
        let mut state = self.lock();
        let result = command(&mut state, now);
        state.update_pause(now);
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// Takes something that has come, and wakes the driver when that makes room.
    pub(crate) fn take<R>(&self, take: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let was_paused = state.is_paused();
        let taken = take(&mut state);
        if was_paused && !state.is_paused() {
            state.update_pause(self.clock.now());
            let driver = state.driver.take();
            drop(state);
            driver.into_iter().for_each(Waker::wake);
        }
        taken
    }

    /// Looks at the state and the clock without giving the driver anything to do.
    pub(crate) fn look_now<R>(&self, look: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = self.clock.now();
        look(&mut self.lock(), now)
    }

    /// Tells whoever listens.
    pub(crate) fn announce(&self, event: ConnectionEvent) {
        let mut woken = Vec::new();
        self.look(|state| state.tell(event, &mut woken));
        woken.into_iter().for_each(Waker::wake);
    }

    /// Looks at the state without giving the driver anything to do.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.lock())
    }
}

impl State {
    pub(crate) fn poll_opened(&mut self, cx: &Context<'_>) -> Poll<Result<(), Arc<CloseReason>>> {
        self.opening.poll(cx, &mut self.stale)
    }

    /// Whether the server is not to be read for now, because consumers lag behind.
    fn is_paused(&self) -> bool {
        let answers = self.calls.owed + self.confirms.owed + self.responses_owed;
        let awaited = answers > 0 || !self.room.is_empty();
        let factor = if awaited { AWAITED_FACTOR } else { 1 };
        self.buffered > self.max_buffered.saturating_mul(factor)
    }

    pub(super) fn update_pause(&mut self, now: Instant) {
        let paused = self.is_paused();
        self.engine.set_paused(paused, now);
    }

    // Calls.

    pub(crate) fn expect_reply(&mut self, token: Token) {
        self.calls.expect(token);
    }

    pub(crate) fn poll_reply(&mut self, cx: &Context<'_>, token: Token) -> Poll<Result<Reply, CallError>> {
        self.calls.poll(cx, token, &mut self.stale)
    }

    /// The caller has gone. What it was or would be granted is given back.
    pub(crate) fn forget_call(&mut self, channel: Option<ChannelId>, token: Token, now: Instant) {
        match self.calls.forget(token, &mut self.stale) {
            Some(Slot::Ready(Ok(reply))) => {
                if let Reply::Consumer { .. } = reply {
                    self.drop_consumer(token, now);
                }
                self.engine.give_back(reply, now);
            }
            Some(Slot::Ready(Err(_))) | None => {}
            Some(Slot::Empty | Slot::Waiting(_)) => {
                if let Some(channel) = channel {
                    self.engine.abandon(channel, token);
                }
            }
        }
    }

    // Confirms.

    pub(crate) fn expect_confirm(&mut self, token: Token) {
        self.confirms.expect(token);
    }

    pub(crate) fn poll_confirm(
        &mut self,
        cx: &Context<'_>,
        token: Token,
    ) -> Poll<Result<Confirmation, CallError>> {
        self.confirms.poll(cx, token, &mut self.stale)
    }

    /// Gives what has come, to be dropped without the lock: who owns a body may have handles.
    pub(super) fn forget_confirm(&mut self, token: Token) -> Option<Slot<Result<Confirmation, CallError>>> {
        self.confirms.forget(token, &mut self.stale)
    }

    /// Asks to be woken when there is room for a publish again. Whoever asks for the first time gets a ticket, and
    /// [leaves](State::leave_room) with it; it is taken away when the time is over.
    pub(crate) fn wait_for_room(&mut self, cx: &Context<'_>, ticket: &mut Option<Ticket>, now: Instant) {
        let place = *ticket.get_or_insert_with(|| self.room.join(now + self.publish_timeout));
        if place.is_due(now) {
            *ticket = None;
            self.leave_room(place);
        } else {
            self.stale.extend(self.room.wait(cx, place));
        }
    }

    /// Waits for room no more.
    pub(crate) fn leave_room(&mut self, ticket: Ticket) {
        self.stale.extend(self.room.leave(ticket));
    }

    // Events.

    pub(super) fn on_event(&mut self, event: Event, woken: &mut Vec<Waker>, now: Instant) {
        self.counts.on_event(&event);
        self.journal.on_event(&event);
        self.hand_out(event, woken, now);
        self.update_pause(now);
    }

    fn hand_out(&mut self, event: Event, woken: &mut Vec<Waker>, now: Instant) {
        match event {
            Event::Delivery { consumer, delivery } => self.on_delivery(consumer, delivery, woken, now),
            Event::Confirmed { token, result } => match self.confirms.fill(token, result) {
                Ok(waker) => woken.extend(waker),
                // Who owns the body may have handles.
                Err(Ok(Confirmation::Unsent(unsent))) => self.engine.outbox().drop_later(unsent.body),
                Err(_) => {}
            },
            Event::Reply { token, result } => self.on_reply(token, result, woken, now),
            Event::Writable => self.room.wake_all(woken),
            Event::Opened(info) => {
                self.server = Arc::from(info);
                self.attempts.on_opened();
                woken.extend(self.opening.fill(Ok(())));
            }
            Event::Lost { reason } => self.on_lost(reason, woken),
            Event::AttemptFailed { endpoint, reason, retry_at } => {
                self.attempts.on_failed(endpoint, &reason);
                if let Some(endpoint) = self.attempts.endpoint(endpoint).cloned() {
                    let retry_in = retry_at.map(|at| at - now);
                    self.tell(ConnectionEvent::AttemptFailed { endpoint, reason, retry_in }, woken);
                }
            }
            Event::QueueRenamed { old, new } => {
                let name = |name: ShortStr| name.to_string_lossy().into_owned();
                self.tell(ConnectionEvent::QueueRenamed { old: name(old), new: name(new) }, woken);
            }
            Event::Degraded { entity, reason } => {
                let entity = Arc::from(entity);
                self.tell(ConnectionEvent::Degraded { entity, reason }, woken);
            }
            Event::Recovered { took, outcomes } => {
                self.tell(ConnectionEvent::Recovered { took, outcomes: outcomes.into() }, woken);
            }
            Event::ConsumerCancelled { consumer } => {
                if let Some(incoming) = self.consumers.get_mut(&consumer) {
                    self.journal.on_cancelled(incoming.channel);
                    incoming.finish(ConsumerEnd::Cancelled, woken);
                }
            }
            Event::ConsumerResumed { consumer } => self.on_consumer_resumed(consumer),
            Event::ConsumerNotRestored { consumer, reason } => {
                if let Some(incoming) = self.consumers.get_mut(&consumer) {
                    incoming.finish(ConsumerEnd::NotRestored(reason), woken); // told by `Degraded` already
                }
            }
            Event::ChannelClosed { channel, reason } => {
                for incoming in self.consumers.values_mut().filter(|incoming| incoming.channel == channel) {
                    incoming.finish(ConsumerEnd::Closed(reason.clone()), woken);
                }
                self.room.wake_all(woken);
            }
            Event::Blocked { reason } => {
                let reason = reason.to_string_lossy().into_owned();
                self.log.push(ConnectionEvent::Blocked { reason }, woken);
            }
            Event::Unblocked => self.log.push(ConnectionEvent::Unblocked, woken),
            Event::Closed { reason } => {
                self.log.push(ConnectionEvent::Closed(reason.clone()), woken);
                woken.extend(self.opening.fill(Err(reason)));
                self.room.wake_all(woken);
            }
            // No handle publishes mandatory messages without confirms, so a return always has its publish.
            _ => {}
        }
    }

    /// What came before can no longer be settled, and what was asked is not answered any more.
    fn on_lost(&mut self, reason: Arc<CloseReason>, woken: &mut Vec<Waker>) {
        self.losses.fetch_add(1, Ordering::AcqRel);
        self.forget_unsettled(&reason, woken);
        self.room.wake_all(woken); // to be told, if they do not want to wait
        self.tell(ConnectionEvent::Lost { reason }, woken);
    }

    fn tell(&mut self, event: ConnectionEvent, woken: &mut Vec<Waker>) {
        self.journal.on_announced(&event);
        self.log.push(event, woken);
    }

    fn on_reply(
        &mut self,
        token: Token,
        result: Result<Reply, CallError>,
        woken: &mut Vec<Waker>,
        now: Instant,
    ) {
        if let Ok(Reply::Consumer { channel, .. }) = &result
            && self.calls.is_expected(token)
        {
            self.consumers.insert(token, Incoming::new(*channel)); // deliveries may follow at once
        }
        match self.calls.fill(token, result) {
            Ok(waker) => woken.extend(waker),
            Err(Ok(reply)) => self.engine.give_back(reply, now),
            Err(Err(_)) => {}
        }
    }
}
