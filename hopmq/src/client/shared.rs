use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, Config, Confirmation, Connection as Engine, Delivery, Event, Reply,
    ServerInfo, Token,
};
use hopmq_proto::{Instant, Outbox};

use crate::driver::{Host, Input, Pass, run_engine};
use crate::io::Clock;

/// What a delivery costs on top of its bytes, so that empty messages count too.
const DELIVERY_COST: usize = 128;

/// One connection, as its handles and its driver share it: the engine, and who waits for which of its events.
///
/// The lock is held for a command or for a pass of the driver, never across a syscall or an await.
pub(crate) struct Shared {
    state: Mutex<State>,
    clock: Box<dyn Clock>,
}

pub(crate) struct State {
    pub(crate) engine: Engine,
    /// Wakes the driver; taken by whoever wakes it first.
    driver: Option<Waker>,
    opening: Slot<Result<Box<ServerInfo>, Arc<CloseReason>>>,
    calls: HashMap<Token, Slot<Result<Reply, CallError>>>,
    confirms: HashMap<Token, Slot<Result<Confirmation, CallError>>>,
    consumers: BTreeMap<Token, Incoming>,
    /// Publishers that were refused and wait for room.
    writable: Vec<Waker>,
    /// Bytes of deliveries that no consumer has taken yet.
    buffered: usize,
    max_buffered: usize,
    blocked: bool,
}

/// A place for one answer, and for whoever waits for it.
enum Slot<T> {
    Empty,
    Waiting(Waker),
    Ready(T),
}

/// What has come for one consumer.
pub(crate) struct Incoming {
    channel: ChannelId,
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    waker: Option<Waker>,
    end: Option<ConsumerEnd>,
}

/// Why a consumer gets no more deliveries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerEnd {
    /// The server has ended it, most often because its queue is gone.
    #[error("the server has cancelled the consumer")]
    Cancelled,
    /// Its channel or connection has ended.
    #[error(transparent)]
    Closed(Arc<CloseReason>),
}

impl<T> Slot<T> {
    /// Puts the answer in; gives who waits for it.
    fn fill(&mut self, answer: T) -> Option<Waker> {
        match std::mem::replace(self, Self::Ready(answer)) {
            Self::Waiting(waker) => Some(waker),
            _ => None,
        }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<T> {
        match std::mem::replace(self, Self::Empty) {
            Self::Ready(answer) => Poll::Ready(answer),
            Self::Waiting(waker) if waker.will_wake(cx.waker()) => {
                *self = Self::Waiting(waker);
                Poll::Pending
            }
            _ => {
                *self = Self::Waiting(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Shared {
    pub(crate) fn new(config: Config, clock: impl Clock) -> Arc<Self> {
        let state = State {
            max_buffered: config.max_event_bytes,
            engine: Engine::new(config, clock.now()),
            driver: None,
            opening: Slot::Empty,
            calls: HashMap::new(),
            confirms: HashMap::new(),
            consumers: BTreeMap::new(),
            writable: Vec::new(),
            buffered: 0,
            blocked: false,
        };
        Arc::new(Self { state: Mutex::new(state), clock: Box::new(clock) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a command to the engine, then wakes the driver.
    pub(crate) fn command<R>(&self, command: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = self.clock.now();
        let mut state = self.lock();
        let result = command(&mut state, now);
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
        let mut state = self.lock();
        let was_paused = state.buffered > state.max_buffered;
        let polled = state.poll_deliveries(cx, consumer, taken);
        if was_paused && state.buffered <= state.max_buffered {
            state.engine.set_paused(false, self.clock.now());
            let driver = state.driver.take();
            drop(state);
            driver.into_iter().for_each(Waker::wake);
        }
        polled
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
        self.opening.poll(cx)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    // Calls.

    pub(crate) fn expect_reply(&mut self, token: Token) {
        self.calls.insert(token, Slot::Empty);
    }

    pub(crate) fn poll_reply(&mut self, cx: &Context<'_>, token: Token) -> Poll<Result<Reply, CallError>> {
        let Some(slot) = self.calls.get_mut(&token) else { return Poll::Pending };
        let answer = slot.poll(cx);
        if answer.is_ready() {
            self.calls.remove(&token);
        }
        answer
    }

    /// The caller has gone. What it was or would be granted is given back.
    pub(crate) fn forget_call(&mut self, channel: Option<ChannelId>, token: Token, now: Instant) {
        match self.calls.remove(&token) {
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
        self.confirms.insert(token, Slot::Empty);
    }

    pub(crate) fn poll_confirm(
        &mut self,
        cx: &Context<'_>,
        token: Token,
    ) -> Poll<Result<Confirmation, CallError>> {
        let Some(slot) = self.confirms.get_mut(&token) else { return Poll::Pending };
        let answer = slot.poll(cx);
        if answer.is_ready() {
            self.confirms.remove(&token);
        }
        answer
    }

    pub(crate) fn forget_confirm(&mut self, token: Token) {
        self.confirms.remove(&token);
    }

    /// Asks to be woken when there is room for a publish again.
    pub(crate) fn wait_writable(&mut self, cx: &Context<'_>) {
        if !self.writable.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.writable.push(cx.waker().clone());
        }
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
            incoming.waker = Some(cx.waker().clone());
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

    /// The consumer has no owner any more: what has come for it goes back into the queue.
    pub(crate) fn drop_consumer(&mut self, consumer: Token, now: Instant) {
        let Some(incoming) = self.consumers.remove(&consumer) else { return };
        self.buffered -= incoming.bytes;
        for delivery in incoming.deliveries {
            self.engine.requeue(delivery, now);
        }
        self.engine.set_paused(self.buffered > self.max_buffered, now);
    }

    // Events.

    fn on_event(&mut self, event: Event, woken: &mut Vec<Waker>, now: Instant) {
        match event {
            Event::Delivery { consumer, delivery } => self.on_delivery(consumer, delivery, woken, now),
            Event::Confirmed { token, result } => {
                woken.extend(self.confirms.get_mut(&token).and_then(|slot| slot.fill(result)));
            }
            Event::Reply { token, result } => self.on_reply(token, result, woken, now),
            Event::Writable => woken.append(&mut self.writable),
            Event::Opened(info) => woken.extend(self.opening.fill(Ok(info))),
            Event::ConsumerCancelled { consumer } => {
                if let Some(incoming) = self.consumers.get_mut(&consumer) {
                    woken.extend(incoming.finish(ConsumerEnd::Cancelled));
                }
            }
            Event::ChannelClosed { channel, reason } => {
                for incoming in self.consumers.values_mut().filter(|incoming| incoming.channel == channel) {
                    woken.extend(incoming.finish(ConsumerEnd::Closed(reason.clone())));
                }
                woken.append(&mut self.writable);
            }
            Event::Blocked { .. } => self.blocked = true,
            Event::Unblocked => self.blocked = false,
            Event::Closed { reason } => {
                woken.extend(self.opening.fill(Err(reason)));
                woken.append(&mut self.writable);
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
        let bytes = delivery.message.size() + DELIVERY_COST;
        incoming.bytes += bytes;
        incoming.deliveries.push_back(delivery);
        woken.extend(incoming.waker.take());
        self.buffered += bytes;
        if self.buffered > self.max_buffered {
            self.engine.set_paused(true, now);
        }
    }

    fn on_reply(
        &mut self,
        token: Token,
        result: Result<Reply, CallError>,
        woken: &mut Vec<Waker>,
        now: Instant,
    ) {
        match (self.calls.get_mut(&token), result) {
            (Some(slot), result) => {
                if let Ok(Reply::Consumer { channel, .. }) = &result {
                    // Deliveries may follow at once.
                    self.consumers.insert(token, Incoming::new(*channel));
                }
                woken.extend(slot.fill(result));
            }
            (None, Ok(reply)) => self.engine.give_back(reply, now),
            (None, Err(_)) => {}
        }
    }
}

impl Incoming {
    fn new(channel: ChannelId) -> Self {
        Self { channel, deliveries: VecDeque::new(), bytes: 0, waker: None, end: None }
    }

    fn finish(&mut self, end: ConsumerEnd) -> Option<Waker> {
        self.end.get_or_insert(end);
        self.waker.take()
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
        use hopmq_proto::Engine as _;

        let mut guard = self.shared.lock();
        let state = &mut *guard;
        match input {
            Input::Bytes(input) => state.engine.handle_input(input, now),
            Input::Eof => state.engine.handle_eof(now),
            Input::Failed(error) => state.engine.handle_transport_error(error.to_string(), now),
        }
        let pass = run_engine(
            state,
            |state| &mut state.engine,
            wire,
            now,
            |state, event| state.on_event(event, &mut self.woken, now),
        );
        state.driver = Some(waker.clone());
        drop(guard);
        self.wake_all();
        pass
    }

    fn ended(&mut self, now: Instant) {
        use hopmq_proto::Engine as _;

        let mut guard = self.shared.lock();
        let state = &mut *guard;
        state.engine.handle_transport_error("its task was dropped".to_owned(), now);
        while let Some(event) = state.engine.poll_event() {
            state.on_event(event, &mut self.woken, now);
        }
        drop(guard);
        self.wake_all();
    }
}
