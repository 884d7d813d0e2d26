use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, Config, Confirmation, Connection as Engine, Delivery, Event, Reply,
    ServerInfo, Token,
};
use hopmq_proto::{Engine as _, Instant, Outbox, Want};

use super::answers::{Answers, Slot};
use super::events::{ConnectionEvent, EventLog};
use super::journal::{Journal, Scope, Telling};
use super::meter::{Counts, Meter};
use super::replies::Replies;
use super::waits::{Ticket, Waits};
use crate::driver::{Host, Input, Pass, run_engine};
use crate::io::Clock;

/// What a delivery costs on top of its bytes, so that empty messages count too.
pub(super) const DELIVERY_COST: usize = 128;
/// How many times `max_event_bytes` may be buffered while somebody waits for the server: the answer may be behind the
/// deliveries, and who waits for it may be the consumer that should take them.
const AWAITED_FACTOR: usize = 16;

/// One connection, as its handles and its driver share it: the engine, and who waits for which of its events.
///
/// The lock is held for a command or for a pass of the driver, never across a syscall or an await.
pub(crate) struct Shared {
    state: Mutex<State>,
    clock: Box<dyn Clock>,
    meter: Meter,
    scope: Scope,
}

/// The locked state. What is stale in it is dropped after the lock is released: fields are dropped in their order.
struct Locked<'a> {
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
    pub(crate) engine: Engine,
    /// Wakes the driver; taken by whoever wakes it first.
    driver: Option<Waker>,
    /// Wakers that are not needed any more. Dropping one may drop a task with handles in it, which take the lock.
    pub(crate) stale: Vec<Waker>,
    opening: Slot<Result<Box<ServerInfo>, Arc<CloseReason>>>,
    calls: Answers<Result<Reply, CallError>>,
    confirms: Answers<Result<Confirmation, CallError>>,
    pub(super) consumers: BTreeMap<Token, Incoming>,
    /// How many replies RPC clients wait for.
    pub(super) responses_owed: usize,
    /// Publishers that were refused and wait for room.
    room: Waits,
    /// RPC clients that wait for a reply.
    pub(super) deadlines: Waits,
    publish_timeout: Duration,
    pub(super) call_timeout: Duration,
    /// Bytes of deliveries that no consumer has taken yet.
    pub(super) buffered: usize,
    max_buffered: usize,
    /// What happened to the connection as a whole.
    pub(crate) log: EventLog,
    pub(super) counts: Counts,
    pub(super) journal: Journal,
}

/// What has come for one consumer.
pub(crate) struct Incoming {
    channel: ChannelId,
    deliveries: VecDeque<Delivery>,
    pub(super) bytes: usize,
    waker: Option<Waker>,
    pub(super) end: Option<ConsumerEnd>,
    /// When it is an RPC client's: deliveries are handed out by correlation id.
    pub(super) replies: Option<Replies>,
}

/// Why a consumer gets no more deliveries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerEnd {
    /// The server has ended it, most often because its queue is gone; or [`Channel::cancel_consumer`] has. The
    /// channel lives on.
    ///
    /// [`Channel::cancel_consumer`]: super::Channel::cancel_consumer
    #[error("the consumer was cancelled")]
    Cancelled,
    /// Its channel or connection has ended. Where the server did it, the reason has its code and its text: 406
    /// when a delivery was not settled in time, for example.
    #[error(transparent)]
    Closed(Arc<CloseReason>),
}

impl Shared {
    pub(crate) fn new(config: Config, scope: Scope, clock: impl Clock) -> Arc<Self> {
        let meter = Meter::new(&config);
        let (publish_timeout, call_timeout) = (config.publish_timeout, config.call_timeout);
        let state = State {
            max_buffered: config.max_event_bytes,
            engine: Engine::new(config, clock.now()),
            driver: None,
            stale: Vec::new(),
            opening: Slot::Empty,
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
        };
        Arc::new(Self { state: Mutex::new(state), clock: Box::new(clock), meter, scope })
    }

    fn lock(&self) -> Locked<'_> {
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

    /// Moves what has come for a consumer into `taken`, and wakes the driver when that makes room.
    pub(crate) fn take_deliveries(
        &self,
        cx: &Context<'_>,
        consumer: Token,
        taken: &mut VecDeque<Delivery>,
    ) -> Poll<()> {
        self.take(|state| state.poll_deliveries(cx, consumer, taken))
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
        self.look(|state| {
            state.journal.on_announced(&event);
            state.log.push(event, &mut woken);
        });
        woken.into_iter().for_each(Waker::wake);
    }

    /// Looks at the state without giving the driver anything to do.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.lock())
    }
}

impl State {
    pub(crate) fn poll_opened(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Result<Box<ServerInfo>, Arc<CloseReason>>> {
        self.opening.poll(cx, &mut self.stale)
    }

    /// Whether the server is not to be read for now, because consumers lag behind.
    fn is_paused(&self) -> bool {
        let answers = self.calls.owed + self.confirms.owed + self.responses_owed;
        let awaited = answers > 0 || !self.room.is_empty();
        let factor = if awaited { AWAITED_FACTOR } else { 1 };
        self.buffered > self.max_buffered.saturating_mul(factor)
    }

    fn update_pause(&mut self, now: Instant) {
        self.engine.set_paused(self.is_paused(), now);
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

    pub(crate) fn forget_confirm(&mut self, token: Token) {
        self.confirms.forget(token, &mut self.stale);
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

    // Consumers.

    /// Moves what has come for a consumer into `taken`, which is empty.
    fn poll_deliveries(
        &mut self,
        cx: &Context<'_>,
        consumer: Token,
        taken: &mut VecDeque<Delivery>,
    ) -> Poll<()> {
        let Some(incoming) = self.consumers.get_mut(&consumer) else { return Poll::Ready(()) };
        if incoming.deliveries.is_empty() {
            if incoming.end.is_some() {
                return Poll::Ready(());
            }
            self.stale.extend(incoming.waker.replace(cx.waker().clone()));
            return Poll::Pending;
        }
        std::mem::swap(&mut incoming.deliveries, taken);
        self.buffered -= std::mem::take(&mut incoming.bytes);
        Poll::Ready(())
    }

    /// Why the consumer has ended, if it has.
    pub(crate) fn consumer_end(&self, consumer: Token) -> Option<ConsumerEnd> {
        self.consumers.get(&consumer)?.end.clone()
    }

    /// How many messages, and bytes of them, have come for a consumer.
    pub(crate) fn consumer_buffered(&self, consumer: Token) -> (usize, usize) {
        self.consumers.get(&consumer).map_or((0, 0), |incoming| {
            let messages = incoming.deliveries.len();
            (messages, incoming.bytes - messages * DELIVERY_COST)
        })
    }

    /// The consumer has no owner any more: what has come for it goes back into the queue.
    pub(crate) fn drop_consumer(&mut self, consumer: Token, now: Instant) {
        let Some(incoming) = self.consumers.remove(&consumer) else { return };
        self.buffered -= incoming.bytes;
        self.stale.extend(incoming.waker);
        debug_assert!(incoming.replies.is_none_or(|replies| replies.is_empty()), "a call keeps its client");
        for delivery in incoming.deliveries {
            self.engine.requeue(delivery, now);
        }
        self.update_pause(now);
    }

    // Events.

    fn on_event(&mut self, event: Event, woken: &mut Vec<Waker>, now: Instant) {
        self.counts.on_event(&event);
        self.journal.on_event(&event);
        self.hand_out(event, woken, now);
        self.update_pause(now);
    }

    fn hand_out(&mut self, event: Event, woken: &mut Vec<Waker>, now: Instant) {
        match event {
            Event::Delivery { consumer, delivery } => self.on_delivery(consumer, delivery, woken, now),
            Event::Confirmed { token, result } => {
                woken.extend(self.confirms.fill(token, result).ok().flatten());
            }
            Event::Reply { token, result } => self.on_reply(token, result, woken, now),
            Event::Writable => self.room.wake_all(woken),
            Event::Opened(info) => woken.extend(self.opening.fill(Ok(info))),
            Event::ConsumerCancelled { consumer } => {
                if let Some(incoming) = self.consumers.get_mut(&consumer) {
                    self.journal.on_cancelled(incoming.channel);
                    incoming.finish(ConsumerEnd::Cancelled, woken);
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

    fn on_delivery(&mut self, consumer: Token, delivery: Delivery, woken: &mut Vec<Waker>, now: Instant) {
        let Some(incoming) = self.consumers.get_mut(&consumer) else {
            self.engine.requeue(delivery, now);
            return;
        };
        if let Some(replies) = &mut incoming.replies {
            if let Some((bytes, waker)) = replies.fill(delivery.message) {
                incoming.bytes += bytes;
                self.buffered += bytes;
                self.responses_owed -= 1;
                woken.extend(waker);
            }
            return;
        }
        let bytes = delivery.message.size() + DELIVERY_COST;
        incoming.bytes += bytes;
        incoming.deliveries.push_back(delivery);
        woken.extend(incoming.waker.take());
        self.buffered += bytes;
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

impl Incoming {
    fn new(channel: ChannelId) -> Self {
        Self { channel, deliveries: VecDeque::new(), bytes: 0, waker: None, end: None, replies: None }
    }

    fn finish(&mut self, end: ConsumerEnd, woken: &mut Vec<Waker>) {
        self.end.get_or_insert(end);
        woken.extend(self.waker.take());
        if let Some(replies) = &mut self.replies {
            replies.wake_all(woken);
        }
    }
}

/// The driver's end of [`Shared`].
pub(crate) struct ClientHost {
    shared: Arc<Shared>,
    /// Woken after the lock is released; kept for its capacity.
    woken: Vec<Waker>,
}

impl ClientHost {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, woken: Vec::new() }
    }

    fn wake_all(&mut self) {
        self.woken.drain(..).for_each(Waker::wake);
    }
}

impl Host for ClientHost {
    fn pass(&mut self, waker: &Waker, input: Input<'_>, wire: &mut Outbox, now: Instant) -> Pass {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        match input {
            Input::Bytes(input) => {
                let len = input.len();
                state.engine.handle_input(input, now);
                state.counts.on_input(len - input.len());
            }
            Input::Eof => state.engine.handle_eof(now),
            Input::Failed(error) => state.engine.handle_transport_error(error.to_string(), now),
        }
        let unwritten = wire.len();
        let mut pass = run_engine(
            state,
            |state| &mut state.engine,
            wire,
            now,
            |state, event| state.on_event(event, &mut self.woken, now),
        );
        let waiting = wire.len() + state.engine.outbox().len();
        state.counts.on_output(wire.len() - unwritten, waiting);
        state.room.wake_due(now, &mut self.woken);
        state.deadlines.wake_due(now, &mut self.woken);
        if pass.want != Want::Shutdown {
            let waiting = state.room.next_due().into_iter().chain(state.deadlines.next_due());
            pass.deadline = pass.deadline.into_iter().chain(waiting).min();
        }
        state.stale.extend(state.driver.replace(waker.clone()));
        let counts = state.counts.take();
        drop(guard);
        self.shared.meter.flush(&counts);
        self.wake_all();
        pass
    }

    fn ended(&mut self, now: Instant) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        state.engine.handle_transport_error("its task was dropped".to_owned(), now);
        while let Some(event) = state.engine.poll_event() {
            state.on_event(event, &mut self.woken, now);
        }
        let driver = state.driver.take(); // or it would hold on to a task that is no more
        state.counts.on_output(0, 0);
        let counts = state.counts.take();
        drop(guard);
        drop(driver);
        self.shared.meter.flush(&counts);
        self.wake_all();
    }
}
