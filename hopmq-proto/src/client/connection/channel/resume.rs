use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Change, Channel, State};
use crate::Instant;
use crate::amqp::{Method, ReplyCode, ShortStr, WireError, basic, channel, confirm};
use crate::client::connection::assembler::Assembler;
use crate::client::connection::calls::{Call, Expects, Unsent, asks_for_no_answer};
use crate::client::connection::consumers::Revival;
use crate::client::connection::core::{Core, Timer};
use crate::client::connection::settled::Settled;
use crate::client::connection::work::Flow;
use crate::client::session::{Entity, EntityOutcome, Refused};
use crate::client::{
    CallError, ChannelId, CloseReason, CommandError, Event, PeerMisbehaved, Reply, ServerClose, Token,
};

/// `basic.consume`, as a close names its cause.
const CONSUME: (u16, u16) = (60, 20);

/// How a channel is on its way back.
#[derive(Debug)]
pub(super) struct Resuming {
    /// A consumer was refused: they are started one by one, to see which it is.
    one_by_one: bool,
    to_start: VecDeque<Token>,
    /// The limits as the server knows them.
    qos: Qos,
    /// How many methods of the channel's own are not answered.
    pending: usize,
}

/// What limits the deliveries of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Qos {
    /// For each consumer that is started from now on.
    pub(super) consumer: u16,
    /// For all of the channel, if that was asked for since.
    channel: Option<u16>,
}

impl Qos {
    pub(super) fn on_sent(&mut self, qos: &basic::Qos) {
        match qos.global {
            true => self.channel = Some(qos.prefetch_count),
            false => *self = Self { consumer: qos.prefetch_count, channel: None },
        }
    }
}

fn qos(prefetch_count: u16, global: bool) -> basic::Qos {
    basic::Qos { prefetch_size: 0, prefetch_count, global }
}

/// The way from one life of the connection to the next.
impl Channel {
    // The session's own channel.

    pub(in crate::client::connection) fn open_private(core: &mut Core, id: ChannelId, now: Instant) -> Self {
        let mut channel = Self { private: true, ..Self::new(id) };
        core.answer(id.number, channel::Open {}, now);
        let due = now + core.config.call_timeout;
        channel.push_call(core, None, Expects::ChannelOpen, None, due);
        channel
    }

    pub(in crate::client::connection) fn send_private(
        &mut self,
        core: &mut Core,
        method: &Method,
        now: Instant,
    ) -> Result<(), CommandError> {
        let token = core.token();
        let expects = Expects::of(method, token).ok_or(CommandError::NotACall(method.name()))?;
        self.send(core, method, now)?;
        self.push_call(core, None, expects, None, now + core.config.call_timeout);
        Ok(())
    }

    /// Closes the channel, and nobody is told.
    pub(in crate::client::connection) fn close_quietly(&mut self, core: &mut Core, now: Instant) {
        self.close(core, ReplyCode::SUCCESS, CloseReason::Requested, None, now);
    }

    // Loss.

    /// The connection was lost. False when the channel cannot come back: then it has ended.
    pub(in crate::client::connection) fn on_lost(
        &mut self,
        core: &mut Core,
        reason: &Arc<CloseReason>,
        repeat: bool,
        now: Instant,
    ) -> bool {
        let comes_back = match self.life.state() {
            State::Closing { .. } => false,
            State::Opening => repeat && self.calls.has_callers(),
            _ => !self.transactional,
        };
        self.locked_out = None;
        if !comes_back {
            self.end(core, reason, now);
            return false;
        }
        self.lose(core, reason, repeat, now);
        true
    }

    /// What was on its way is resolved, or kept to be sent again.
    fn lose(&mut self, core: &mut Core, reason: &Arc<CloseReason>, repeat: bool, now: Instant) {
        core.deadlines.clear(Timer::Confirm(self.id.number));
        for call in self.calls.on_lost(repeat) {
            self.on_call_lost(core, call, reason);
        }
        self.publishing.on_lost(core, self.id, reason, repeat);
        self.consumers.on_lost();
        self.assembler = Assembler::default();
        self.settled = Settled::default();
        self.held.clear();
        self.epoch = self.epoch.wrapping_add(1);
        self.change(core, Change::Lost, now);
    }

    fn on_call_lost(&mut self, core: &mut Core, call: Call, reason: &Arc<CloseReason>) {
        let result = match call.expects {
            // What was asked for is so.
            Expects::Cancel(tag) => {
                self.on_consumer_ended(core, tag.as_bytes());
                if let Some(consumer) = self.consumers.orphan(tag.as_bytes()) {
                    core.emit(Event::ConsumerCancelled { consumer });
                }
                Ok(Reply::Method(Box::new(basic::CancelOk { consumer_tag: tag }.into())))
            }
            _ => Err(CallError::Closed(reason.clone())),
        };
        if let Some(token) = call.token {
            core.emit(Event::Reply { token, result });
        }
    }

    // Return.

    /// Opens a lost channel anew, and puts on it what was there: confirms, limits, consumers. One whose number the server
    /// does not take any more ends.
    pub(in crate::client::connection) fn resume(&mut self, core: &mut Core, one_by_one: bool, now: Instant) {
        if let State::Lost = self.life.state() {
            self.reopen(core, one_by_one, now);
        }
    }

    fn reopen(&mut self, core: &mut Core, one_by_one: bool, now: Instant) {
        let locked = self.locked_out.take();
        let to_start = self.to_start(core, locked);
        let one_by_one = one_by_one || locked.is_some();
        let resuming = Resuming { one_by_one, to_start, qos: Qos::default(), pending: 0 };
        self.change(core, Change::Returned(resuming), now);
        self.send_own_small(core, channel::Open {}, Expects::ChannelOpen, now);
        if self.publishing.has_confirms() {
            let select = confirm::Select { no_wait: false };
            self.send_own_small(core, select, Expects::Method((85, 11)), now);
        }
        self.restore(core, now);
    }

    /// The consumers that are to be started, those first that are likelier to be refused: a refusal closes the channel, and nothing
    /// behind it has been started. What was locked comes before the others, so that they are not given messages each time it is refused
    /// again; and a queue that would go with its consumer when the channel is closed comes last.
    fn to_start(&self, core: &Core, locked: Option<Token>) -> VecDeque<Token> {
        let mut revivals: Vec<_> = self.consumers.revivals().collect();
        revivals.sort_by_key(|(consumer, Revival { consume, .. })| {
            let may_go = core.gone.may_go(&core.topology.queue_name(&consume.queue));
            (locked != Some(*consumer), may_go, !self.suspects.contains(consumer), !consume.exclusive)
        });
        revivals.into_iter().map(|(consumer, _)| consumer).collect()
    }

    /// Sends a method of the channel's own. Only one with arguments of the user's may be too long for this server.
    fn send_own(
        &mut self,
        core: &mut Core,
        method: &Method,
        expects: Expects,
        now: Instant,
    ) -> Result<(), WireError> {
        if let State::Resuming(resuming) = self.life.state_mut() {
            core.send(self.id.number, method, now)?;
            resuming.pending += 1;
            self.calls.push_own(expects, now + core.config.call_timeout);
        }
        Ok(())
    }

    fn send_own_small(&mut self, core: &mut Core, method: impl Into<Method>, expects: Expects, now: Instant) {
        let sent = self.send_own(core, &method.into(), expects, now);
        debug_assert!(sent.is_ok(), "a method of fixed arguments fits a frame");
    }

    /// Starts the consumers that are to be started, and then makes the limits be what was asked for last.
    fn restore(&mut self, core: &mut Core, now: Instant) {
        while let State::Resuming(resuming) = self.life.state_mut()
            && let Some(consumer) = resuming.to_start.pop_front()
        {
            let one_by_one = resuming.one_by_one;
            let Some(revival) = self.consumers.revival_mut(consumer) else { continue };
            revival.consume.queue = core.topology.queue_name(&revival.consume.queue);
            let Revival { consume, prefetch } = revival.clone();
            self.send_limits(core, Qos { consumer: prefetch, ..self.qos }, now);
            let (tag, no_ack) = (consume.consumer_tag.clone(), consume.no_ack);
            match self.send_own(
                core,
                &consume.into(),
                Expects::Consume { consumer, no_ack, tag, prefetch },
                now,
            ) {
                Err(error) => self.leave_out(core, consumer, Refused::NotSent(error.into())),
                Ok(()) if one_by_one => return,
                Ok(()) => {}
            }
        }
        self.send_limits(core, self.qos, now);
    }

    /// Makes the limits be `wanted`.
    fn send_limits(&mut self, core: &mut Core, wanted: Qos, now: Instant) {
        let State::Resuming(resuming) = self.life.state_mut() else { return };
        let was = core::mem::replace(&mut resuming.qos, wanted);
        let lifts = was.channel.is_some() && wanted.channel.is_none();
        let sets = was.consumer != wanted.consumer || lifts;
        if sets {
            self.send_own_small(core, qos(wanted.consumer, false), Expects::Method((60, 11)), now);
        }
        if let Some(count) = wanted.channel.filter(|_| sets || was.channel != wanted.channel) {
            self.send_own_small(core, qos(count, true), Expects::Method((60, 11)), now);
        }
    }

    /// A method of the channel's own has been answered.
    pub(super) fn on_own_reply(&mut self, core: &mut Core) {
        if let State::Resuming(resuming) = self.life.state_mut() {
            core.resuming_goes_on = true;
            resuming.pending = resuming.pending.saturating_sub(1);
        }
    }

    /// Takes a method while the channel is on its way back.
    pub(super) fn on_resuming_method(
        &mut self,
        core: &mut Core,
        method: Method,
        now: Instant,
    ) -> Result<Flow, PeerMisbehaved> {
        if let Method::ChannelClose(close) = method {
            core.answer(self.id.number, channel::CloseOk {}, now);
            return Ok(self.on_refused(core, close.into(), now));
        }
        self.on_open_method(core, method, now)?;
        let before = core.outbox.len();
        let flow = self.go_on(core, now);
        core.on_released(before); // it is no answer, however much it is
        Ok(flow)
    }

    fn go_on(&mut self, core: &mut Core, now: Instant) -> Flow {
        if self.has_unanswered() {
            return Flow::Continue;
        }
        self.restore(core, now);
        if self.has_unanswered() {
            return Flow::Continue;
        }
        self.on_resumed(core, now);
        Flow::Resumed
    }

    fn has_unanswered(&self) -> bool {
        match self.life.state() {
            State::Resuming(resuming) => resuming.pending > 0,
            _ => true, // it has been closed
        }
    }

    /// The server refused something that was on the channel. A consumer is left out; without anything else it cannot
    /// come back.
    fn on_refused(&mut self, core: &mut Core, close: ServerClose, now: Instant) -> Flow {
        let is_consume = (close.class_id, close.method_id) == CONSUME;
        let reason = Arc::new(CloseReason::Server(close));
        let suspects: Vec<_> = self.starting().collect();
        let waits = match suspects[..] {
            [found] if is_consume => self.on_consumer_refused(core, found, &reason, now),
            [_, ..] if is_consume => {
                self.suspects = suspects;
                false
            }
            _ => {
                self.end(core, &reason, now);
                return Flow::Ended(reason);
            }
        };
        self.lose(core, &reason, true, now);
        if !waits {
            self.reopen(core, true, now);
        }
        Flow::Continue
    }

    /// The server refused this consumer. Whether the channel waits: for a lock, or for another life. Else it is left out.
    fn on_consumer_refused(
        &mut self,
        core: &mut Core,
        consumer: Token,
        reason: &Arc<CloseReason>,
        now: Instant,
    ) -> bool {
        if self.may_be_locked(consumer, reason) && core.locked.on_locked(now) {
            self.locked_out = Some(consumer);
            return true;
        }
        let queue = self.consumers.revival(consumer).map(|revival| &revival.consume.queue);
        if is_missing(reason) && queue.is_some_and(|queue| core.gone.on_gone(queue, now)) {
            return true;
        }
        self.leave_out(core, consumer, Refused::Server(reason.clone()));
        false
    }

    /// Whether it may be the connection before that keeps an exclusive consumer out.
    fn may_be_locked(&self, consumer: Token, reason: &CloseReason) -> bool {
        let is_refused =
            matches!(reason, CloseReason::Server(close) if close.code == ReplyCode::ACCESS_REFUSED);
        is_refused && self.consumers.revival(consumer).is_some_and(|revival| revival.consume.exclusive)
    }

    /// The consumers that the server was asked to start again, and has not answered, oldest first.
    pub(in crate::client::connection) fn starting(&self) -> impl Iterator<Item = Token> {
        self.calls.own_consumers()
    }

    /// Those of a queue, by its name today.
    pub(in crate::client::connection) fn consumers_of(&self, core: &Core, queue: &ShortStr) -> Vec<Token> {
        let name = |revival: &Revival| core.topology.queue_name(&revival.consume.queue);
        let revivals = self.consumers.revivals().filter(|(_, revival)| name(revival) == *queue);
        revivals.map(|(consumer, _)| consumer).collect()
    }

    /// The one that keeps the server from answering the channel, if it is one.
    pub(in crate::client::connection) fn unanswered_consumer(&self) -> Option<Token> {
        self.calls.first_own_consumer()
    }

    /// The first of them cannot be started again.
    pub(in crate::client::connection) fn leave_out_first(
        &mut self,
        core: &mut Core,
        reason: &Arc<CloseReason>,
    ) {
        let first = self.starting().next();
        first
            .into_iter()
            .for_each(|consumer| self.leave_out(core, consumer, Refused::Server(reason.clone())));
    }

    /// A consumer cannot be started again.
    pub(in crate::client::connection) fn leave_out(
        &mut self,
        core: &mut Core,
        consumer: Token,
        reason: Refused,
    ) {
        match &reason {
            // Its queue would be declared again after the next loss, and with nobody there never go.
            Refused::Server(reason) if is_missing(reason) => core.topology.on_consumer_cancelled(consumer),
            _ => {
                core.topology.on_consumer_refused(consumer);
                core.gone.on_left_out();
            }
        }
        if let Some(revival) = self.consumers.forget(consumer) {
            let entity = Box::new(Entity::Consumer(revival.consume));
            core.left_out.push(EntityOutcome { entity: (*entity).clone(), result: Err(reason.clone()) });
            core.emit(Event::Degraded { entity, reason: reason.clone() });
            core.emit(Event::ConsumerNotRestored { consumer, reason });
        }
    }

    /// Everything that was on the channel is back: what has waited for it is sent.
    fn on_resumed(&mut self, core: &mut Core, now: Instant) {
        self.change(core, Change::Resumed, now);
        self.suspects.clear();
        while let State::Open = self.life.state()
            && let Some(Unsent { token, method, due }) = self.calls.pop_unsent()
        {
            let sent = self.send_unsent(core, token, method, due, now);
            if let (Err(error), Some(token)) = (sent, token) {
                let reason = Arc::new(CloseReason::Unsendable(error));
                core.emit(Event::Reply { token, result: Err(CallError::Closed(reason)) });
            }
        }
        if let State::Open = self.life.state() {
            self.publishing.make_writable(core);
        }
    }

    fn send_unsent(
        &mut self,
        core: &mut Core,
        token: Option<Token>,
        method: Method,
        due: Instant,
        now: Instant,
    ) -> Result<(), WireError> {
        match (method, token) {
            (Method::ChannelOpen(_), Some(token)) => {
                self.told = true;
                core.emit(Event::Reply { token, result: Ok(Reply::Channel(self.id)) });
            }
            (Method::ChannelOpen(_), None) => self.close_quietly(core, now),
            // Nobody is there to take what would be granted.
            (Method::BasicConsume(_) | Method::BasicGet(_), None) => {}
            (method, token) if asks_for_no_answer(&method) => {
                debug_assert!(token.is_none());
                return self.do_send_no_wait(core, method, now);
            }
            (method, token) => {
                let numbered = token.unwrap_or_else(|| core.token());
                if let Some(expects) = Expects::of(&method, numbered) {
                    return self.send_call(core, token, expects, method, due, now);
                }
            }
        }
        Ok(())
    }

    /// Sends publishes that were held. True when none is left, for now.
    pub(in crate::client::connection) fn send_held(&mut self, core: &mut Core, now: Instant) -> bool {
        match self.life.state() {
            State::Open => self.publishing.send_held(core, self.id, now),
            _ => true, // it will say so when it is back
        }
    }

    // What is remembered for the next life.

    /// The server has done what was asked.
    pub(super) fn record(core: &mut Core, asked: Option<&Method>, reply: &Method) {
        let Some(asked) = asked else { return };
        let declared = match reply {
            Method::QueueDeclareOk(ok) => Some(&ok.queue),
            _ => None,
        };
        Self::remember(core, asked, declared);
    }

    fn remember(core: &mut Core, done: &Method, declared: Option<&ShortStr>) {
        if let Err(unrecorded) = core.topology.on_done(done, declared)
            && let Some(entity) = Entity::of(done, declared)
        {
            let (entity, reason) = (Box::new(entity), Refused::Unrecorded(unrecorded));
            core.emit(Event::Degraded { entity, reason });
        }
    }

    /// What asked for no answer is done when all before it is: the server has carried it out, or is about to.
    pub(super) fn record_no_wait(&mut self, core: &mut Core) {
        while let Some(method) = self.calls.pop_done() {
            Self::remember(core, &method, None);
        }
    }

    /// A consumer runs.
    pub(super) fn keep_consumer(
        &mut self,
        core: &mut Core,
        consumer: Token,
        asked: Option<&Method>,
        tag: &ShortStr,
        prefetch: u16,
    ) {
        let Some(Method::BasicConsume(consume)) = asked else { return };
        core.topology.on_consumer_started(consumer, &consume.queue);
        let consume = basic::Consume { consumer_tag: tag.clone(), ..consume.clone() };
        self.consumers.keep(consumer, Revival { consume, prefetch });
    }

    /// A consumer runs again.
    pub(super) fn on_consumer_resumed(
        &mut self,
        core: &mut Core,
        consumer: Token,
        no_ack: bool,
        tag: ShortStr,
        now: Instant,
    ) {
        let is_wanted = self.consumers.revival(consumer).is_some();
        self.consumers.insert(tag.clone(), is_wanted.then_some(consumer), no_ack);
        if is_wanted {
            core.emit(Event::ConsumerResumed { consumer });
        } else {
            self.drop_consumer(core, tag, now);
        }
    }

    /// A consumer is cancelled.
    pub(super) fn on_consumer_ended(&mut self, core: &mut Core, tag: &[u8]) {
        if let Some(consumer) = self.consumers.token_of(tag) {
            core.topology.on_consumer_ended(consumer);
        }
    }

    /// The channel has ended, and its consumers with it.
    pub(super) fn forget_consumers(&mut self, core: &mut Core) {
        while let Some(consumer) = self.consumers.pop_revival() {
            core.topology.on_consumer_ended(consumer);
        }
    }
}

/// Whether there is no such queue.
fn is_missing(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Server(close) if close.code == ReplyCode::NOT_FOUND)
}
