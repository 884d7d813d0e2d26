mod content;
mod life;
mod resume;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::assembler::{Assembler, Origin};
use super::calls::{Call, Calls, Expects, asks_for_no_answer};
use super::consumers::Consumers;
use super::core::{Core, Timer};
use super::held::Held;
use super::last_queue::LastQueue;
use super::lives::Private;
use super::publishing::{Outgoing, Publishing};
use super::settled::Settled;
use super::work::Flow;
use super::{CommandError, PublishError, Settle, SettleError};
use crate::Instant;
use crate::amqp::{
    Arguments, Deliver, Method, Reader, ReplyCode, ShortStr, WireError, basic, channel, write_ack,
    write_method,
};
use crate::client::{
    CallError, ChannelId, CloseReason, ConfirmFailures, DeliveryId, Event, PeerMisbehaved, Reply, Token,
};
use crate::fsm::{Lifecycle, Machine, Table};

use life::{Change, State};
use resume::Qos;

/// The states of a channel.
pub(super) const LIFECYCLE: Table = State::TABLE;

/// One channel, from `channel.open` to the last `close-ok`.
#[derive(Debug)]
pub(super) struct Channel {
    id: ChannelId,
    life: Machine<State>,
    calls: Calls,
    publishing: Publishing,
    consumers: Consumers,
    last_queue: LastQueue,
    assembler: Assembler,
    settled: Settled,
    held: Held,
    qos: Qos,
    /// `tx.select` was sent: what is not committed cannot be brought back.
    transactional: bool,
    /// Whoever opened it has been told that it is open, and is to be told of its end.
    told: bool,
    /// It is the session's own.
    private: bool,
    /// How often it has been brought back.
    epoch: u32,
    /// The consumer that another's keeps out, until it is tried again.
    locked_out: Option<Token>,
    /// Those of which one was refused as the channel came back.
    suspects: Vec<Token>,
}

impl Channel {
    pub(super) fn open(core: &mut Core, id: ChannelId, now: Instant) -> (Self, Token) {
        let mut channel = Self::new(id);
        let token = core.token();
        if core.live {
            core.answer(id.number, channel::Open {}, now);
            let method = core.keeps.then(|| Box::new(channel::Open {}.into()));
            let due = now + core.config.call_timeout;
            channel.push_call(core, Some(token), Expects::ChannelOpen, method, due);
        } else {
            channel.change(core, Change::Lost, now);
            channel.push_unsent(core, Some(token), channel::Open {}.into(), now);
        }
        (channel, token)
    }

    fn new(id: ChannelId) -> Self {
        Self {
            id,
            life: Machine::new(State::Opening),
            calls: Calls::default(),
            publishing: Publishing::default(),
            consumers: Consumers::default(),
            last_queue: LastQueue::default(),
            assembler: Assembler::default(),
            settled: Settled::default(),
            held: Held::default(),
            qos: Qos::default(),
            transactional: false,
            told: false,
            private: false,
            epoch: 0,
            locked_out: None,
            suspects: Vec::new(),
        }
    }

    pub(super) const fn id(&self) -> ChannelId {
        self.id
    }

    pub(super) const fn number(&self) -> u16 {
        self.id.number
    }

    /// Whether commands are taken. Those that come while the connection is away are done when it is back.
    pub(super) fn check_open(&self) -> Result<(), CommandError> {
        match self.life.state() {
            State::Open | State::Lost | State::Resuming(_) => Ok(()),
            State::Opening => Err(CommandError::NotOpen),
            State::Closing { reason, .. } | State::Closed(reason) => {
                Err(CommandError::Closed(reason.clone()))
            }
        }
    }

    // Commands.

    pub(super) fn publish(
        &mut self,
        core: &mut Core,
        outgoing: Outgoing<'_>,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        if let State::Open = self.life.state() {
            let number = self.id.number;
            return self.publishing.publish(core, number, outgoing, now);
        }
        self.check_open()?;
        self.publishing.hold(core, outgoing, now)
    }

    pub(super) fn check_unconfirmed(&mut self, limit: usize) -> Result<(), PublishError> {
        self.check_open()?;
        self.publishing.check_unconfirmed(limit)
    }

    pub(super) fn await_confirms(&mut self, core: &mut Core) -> Result<Token, CommandError> {
        self.check_open()?;
        self.publishing.await_confirms(core, self.id)
    }

    pub(super) fn untell(&mut self, failures: ConfirmFailures) {
        self.publishing.untell(failures);
    }

    pub(super) fn call(
        &mut self,
        core: &mut Core,
        mut method: Method,
        now: Instant,
    ) -> Result<Token, CommandError> {
        self.check_open()?;
        if self.calls.len() >= core.config.max_calls {
            return Err(CommandError::TooManyCalls);
        }
        let token = core.token();
        let expects = Expects::of(&method, token).ok_or(CommandError::NotACall(method.name()))?;
        self.last_queue.resolve(&mut method);
        if let State::Open = self.life.state() {
            let due = now + core.config.call_timeout;
            self.send_call(core, Some(token), expects, method, due, now)?;
        } else {
            core.check_method(&method)?;
            if let Method::ConfirmSelect(_) = method {
                self.publishing.start_confirms();
            }
            self.push_unsent(core, Some(token), method, now);
        }
        Ok(token)
    }

    /// Sends a call.
    fn send_call(
        &mut self,
        core: &mut Core,
        token: Option<Token>,
        expects: Expects,
        mut method: Method,
        due: Instant,
        now: Instant,
    ) -> Result<(), WireError> {
        core.topology.resolve(&mut method);
        self.send(core, &method, now)?;
        match &method {
            Method::ConfirmSelect(_) => self.publishing.start_confirms(),
            Method::QueueDeclare(declare) => self.last_queue.on_declare(declare, token),
            Method::BasicQos(qos) => self.qos.on_sent(qos),
            Method::BasicRecover(_) => self.settled.on_recover(),
            Method::TxSelect(_) => self.transactional = true,
            Method::TxCommit(_) => {
                self.held.on_commit();
                self.publishing.set_committing(true);
            }
            _ => {}
        }
        let prefetch = self.qos.consumer;
        let expects = match expects {
            Expects::Consume { consumer, no_ack, tag, .. } => {
                Expects::Consume { consumer, no_ack, tag, prefetch }
            }
            expects => expects,
        };
        self.push_call(core, token, expects, core.keeps.then(|| Box::new(method)), due);
        Ok(())
    }

    /// Sends a method that asks for no answer.
    pub(super) fn send_no_wait(
        &mut self,
        core: &mut Core,
        mut method: Method,
        now: Instant,
    ) -> Result<(), CommandError> {
        self.check_open()?;
        if !asks_for_no_answer(&method) {
            return Err(CommandError::Answered(method.name()));
        }
        if core.outbox.len().saturating_add(self.held.len()) >= core.config.max_outbox
            || (core.keeps && self.calls.len() >= core.config.max_calls)
        {
            return Err(CommandError::Full);
        }
        self.last_queue.resolve(&mut method);
        if let State::Open = self.life.state() {
            self.do_send_no_wait(core, method, now)?;
        } else {
            core.check_method(&method)?;
            self.calls.push_unsent(None, method, now);
        }
        Ok(())
    }

    fn do_send_no_wait(
        &mut self,
        core: &mut Core,
        mut method: Method,
        now: Instant,
    ) -> Result<(), WireError> {
        core.topology.resolve(&mut method);
        self.send(core, &method, now)?;
        if let Method::QueueDeclare(declare) = &method {
            self.last_queue.on_declare(declare, None);
        }
        if core.keeps {
            self.calls.push_no_wait(method, now + core.config.call_timeout);
            self.record_no_wait(core);
        }
        Ok(())
    }

    pub(super) const fn last_queue(&self) -> Option<&ShortStr> {
        self.last_queue.name()
    }

    /// Queues a method frame, or holds it back while a commit is not answered. On an error it does neither.
    fn send(&mut self, core: &mut Core, method: &Method, now: Instant) -> Result<(), WireError> {
        match self.held.tail() {
            Some(held) => write_method(held, self.id.number, core.frame_max, method),
            None => core.send(self.id.number, method, now),
        }
    }

    /// The same for a method of fixed arguments, which always fits.
    fn send_small(&mut self, core: &mut Core, method: impl Into<Method>, now: Instant) {
        let sent = self.send(core, &method.into(), now);
        debug_assert!(sent.is_ok(), "a method of fixed arguments fits a frame");
    }

    fn push_unsent(&mut self, core: &mut Core, token: Option<Token>, method: Method, now: Instant) {
        let due = now + core.config.call_timeout;
        self.calls.push_unsent(token, method, due);
        if !core.deadlines.is_set(Timer::Call(self.id.number)) {
            core.deadlines.set(Timer::Call(self.id.number), due);
        }
    }

    fn push_call(
        &mut self,
        core: &mut Core,
        token: Option<Token>,
        expects: Expects,
        method: Option<Box<Method>>,
        due: Instant,
    ) {
        self.calls.push(token, expects, due, method);
        if token.is_some() && !core.deadlines.is_set(Timer::Call(self.id.number)) {
            core.deadlines.set(Timer::Call(self.id.number), due);
        }
    }

    pub(super) fn abandon(&mut self, token: Token) {
        if let State::Closing { token: waiting, .. } = self.life.state_mut()
            && *waiting == Some(token)
        {
            *waiting = None;
        }
        self.calls.abandon(token);
        self.publishing.abandon(token);
    }

    pub(super) fn settle(
        &mut self,
        core: &mut Core,
        id: &DeliveryId,
        settle: Settle,
        now: Instant,
    ) -> Result<(), SettleError> {
        if let Err(CommandError::Closed(reason)) = self.check_open() {
            return Err(SettleError::Closed(reason));
        }
        if id.epoch != self.epoch {
            return Err(SettleError::Stale);
        }
        let delivery_tag = id.tag;
        if self.settled.has(delivery_tag) {
            return Err(SettleError::AlreadySettled);
        }
        match settle {
            Settle::Ack { multiple } => match self.held.tail() {
                Some(held) => write_ack(held, self.id.number, delivery_tag, multiple),
                None => {
                    write_ack(core.outbox.tail(), self.id.number, delivery_tag, multiple);
                    core.outbox.end_frame();
                    core.touch(now);
                }
            },
            Settle::Nack { multiple, requeue } => {
                self.send_small(core, basic::Nack { delivery_tag, multiple, requeue }, now);
            }
            Settle::Reject { requeue } => {
                self.send_small(core, basic::Reject { delivery_tag, requeue }, now);
            }
        }
        if let Settle::Ack { multiple: true } | Settle::Nack { multiple: true, .. } = settle {
            self.settled.on_multiple(delivery_tag);
        }
        Ok(())
    }

    /// Sends `basic.cancel` for a consumer that nobody has, and expects the answer on nobody's behalf.
    pub(super) fn drop_consumer(&mut self, core: &mut Core, consumer_tag: ShortStr, now: Instant) {
        self.on_consumer_ended(core, consumer_tag.as_bytes());
        if let Some(consumer) = self.consumers.orphan(consumer_tag.as_bytes()) {
            self.assembler.orphan(consumer);
        }
        let runs = match self.life.state() {
            State::Open => true,
            State::Resuming(_) => self.consumers.contains(consumer_tag.as_bytes()),
            _ => false,
        };
        if runs {
            let expects = Expects::Cancel(consumer_tag.clone());
            self.send_small(core, basic::Cancel { consumer_tag, no_wait: false }, now);
            self.push_call(core, None, expects, None, now + core.config.call_timeout);
        }
    }

    /// Whether the server knows nothing of it, so that it can be closed without a word.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self.life.state(), State::Lost)
    }

    // What becomes due.

    pub(super) fn on_call_due(&mut self, core: &mut Core, now: Instant) {
        if let State::Closing { .. } = self.life.state() {
            self.on_life_due(core, now);
            return;
        }
        while let Some(token) = self.calls.pop_due(now) {
            core.emit(Event::Reply { token, result: Err(CallError::TimedOut) });
        }
        if let Some(due) = self.calls.next_due() {
            core.deadlines.set(Timer::Call(self.id.number), due);
        }
    }

    pub(super) fn on_confirm_due(&mut self, core: &mut Core, now: Instant) {
        self.publishing.on_confirm_due(core, self.id, now);
    }

    // What the server sends.

    /// Takes the payload of a method frame.
    pub(super) fn on_method(
        &mut self,
        core: &mut Core,
        payload: &[u8],
        now: Instant,
    ) -> Result<Flow, PeerMisbehaved> {
        if let State::Open | State::Resuming(_) = self.life.state() {
            if self.assembler.is_busy() {
                return Err(PeerMisbehaved::UnexpectedFrame { frame: "method", channel: self.id.number });
            }
            // The two methods that come by the thousand.
            match payload.split_first_chunk() {
                Some((&[0, 60, 0, 60], arguments)) => {
                    self.on_deliver(&Deliver::read(arguments)?);
                    return Ok(Flow::Continue);
                }
                Some((&[0, 60, 0, 80], arguments)) => {
                    let ack = basic::Ack::read(Reader::new(arguments))?;
                    self.publishing.on_confirm(core, self.id, &ack.into())?;
                    return Ok(Flow::Continue);
                }
                _ => {}
            }
        }
        let method = Method::decode(payload)?;
        match self.life.state() {
            State::Closing { reason, .. } => match method {
                Method::ChannelClose(_) => core.answer(self.id.number, channel::CloseOk {}, now),
                Method::ChannelCloseOk(_) => {
                    let reason = reason.clone();
                    core.deadlines.clear(Timer::Call(self.id.number));
                    self.change(core, Change::CloseOk, now);
                    return Ok(Flow::Ended(reason));
                }
                _ => {} // late frames of a channel that is closing are dropped
            },
            State::Opening => match method {
                Method::ChannelOpenOk(_) | Method::ChannelClose(_) => {
                    return self.on_open_method(core, method, now);
                }
                method => return Err(self.unexpected(&method)),
            },
            State::Lost | State::Closed(_) => return Err(self.unexpected(&method)),
            State::Resuming(_) => return self.on_resuming_method(core, method, now),
            State::Open => return self.on_open_method(core, method, now),
        }
        Ok(Flow::Continue)
    }

    fn on_open_method(
        &mut self,
        core: &mut Core,
        method: Method,
        now: Instant,
    ) -> Result<Flow, PeerMisbehaved> {
        match method {
            Method::BasicNack(nack) => self.publishing.on_confirm(core, self.id, &nack.into())?,
            Method::BasicReturn(back) => {
                let origin = Origin::Return { code: ReplyCode(back.reply_code), text: back.reply_text };
                self.assembler.start(origin, back.exchange.as_bytes(), back.routing_key.as_bytes());
            }
            Method::BasicCancel(cancel) => {
                let tag = cancel.consumer_tag.as_bytes();
                if let Some(consumer) = self.consumers.remove(tag) {
                    core.topology.on_consumer_cancelled(consumer);
                    core.emit(Event::ConsumerCancelled { consumer });
                }
                if !cancel.no_wait {
                    core.answer(self.id.number, basic::CancelOk { consumer_tag: cancel.consumer_tag }, now);
                }
            }
            Method::ChannelFlow(flow) => {
                core.answer(self.id.number, channel::FlowOk { active: flow.active }, now);
                self.publishing.on_flow(core, flow.active);
            }
            Method::ChannelClose(close) => {
                core.answer(self.id.number, channel::CloseOk {}, now);
                let reason = Arc::new(CloseReason::Server(close.into()));
                self.end(core, &reason, now);
                return Ok(Flow::Ended(reason));
            }
            method => self.on_reply(core, method, now)?,
        }
        Ok(Flow::Continue)
    }

    fn on_deliver(&mut self, deliver: &Deliver<'_>) {
        self.settled.on_delivery(deliver.delivery_tag);
        let consumer = self.consumers.find(deliver.consumer_tag);
        let origin = Origin::Deliver {
            consumer: consumer.and_then(|consumer| consumer.token),
            no_ack: consumer.is_some_and(|consumer| consumer.no_ack),
            tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
        };
        self.assembler.start(origin, deliver.exchange, deliver.routing_key);
    }

    fn on_reply(&mut self, core: &mut Core, method: Method, now: Instant) -> Result<(), PeerMisbehaved> {
        if let Method::BasicGetOk(ok) = &method
            && self.calls.awaits_message()
        {
            let (tag, redelivered, message_count) = (ok.delivery_tag, ok.redelivered, ok.message_count);
            self.settled.on_delivery(tag);
            let origin = Origin::Get { tag, redelivered, message_count };
            self.assembler.start(origin, ok.exchange.as_bytes(), ok.routing_key.as_bytes());
            return Ok(()); // the call waits on for the content
        }
        if let Method::BasicConsumeOk(ok) = &method
            && self.consumers.contains(ok.consumer_tag.as_bytes())
        {
            return Err(PeerMisbehaved::DuplicateConsumer(self.id.number));
        }
        let call = self.calls.answered_by(&method).ok_or_else(|| self.unexpected(&method))?;
        self.on_answer(core, call, method, now);
        self.record_no_wait(core);
        Ok(())
    }

    fn on_answer(&mut self, core: &mut Core, call: Call, method: Method, now: Instant) {
        if self.private {
            if let Expects::ChannelOpen = call.expects {
                self.change(core, Change::Opened, now);
            }
            core.private.push_back(Private::Reply(Box::new(method)));
            return;
        }
        let kept = call.method;
        Self::record(core, kept.as_deref(), &method);
        if call.own {
            self.on_own_reply(core);
        }
        let reply = match (call.expects, method) {
            (Expects::ChannelOpen, _) if call.own => Reply::Closed, // nobody is told
            (Expects::ChannelOpen, _) => {
                match call.token {
                    Some(_) => {
                        self.told = true;
                        self.change(core, Change::Opened, now);
                    }
                    // Nobody has been told of it, so nobody is told of its end.
                    None => self.close(core, ReplyCode::SUCCESS, CloseReason::Requested, None, now),
                }
                Reply::Channel(self.id)
            }
            (Expects::Consume { consumer, no_ack, .. }, Method::BasicConsumeOk(ok)) if call.own => {
                self.on_consumer_resumed(core, consumer, no_ack, ok.consumer_tag, now);
                Reply::Closed // nobody is told
            }
            (Expects::Consume { consumer, no_ack, prefetch, .. }, Method::BasicConsumeOk(ok)) => {
                self.consumers.insert(ok.consumer_tag.clone(), call.token, no_ack);
                match call.token {
                    Some(_) => {
                        self.keep_consumer(core, consumer, kept.as_deref(), &ok.consumer_tag, prefetch);
                    }
                    None => self.drop_consumer(core, ok.consumer_tag.clone(), now),
                }
                debug_assert!(call.token.is_none_or(|token| token == consumer));
                Reply::Consumer { channel: self.id, consumer_tag: ok.consumer_tag }
            }
            (Expects::Cancel(_), Method::BasicCancelOk(ok)) => {
                self.on_consumer_ended(core, ok.consumer_tag.as_bytes());
                if let Some(consumer) = self.consumers.remove(ok.consumer_tag.as_bytes()) {
                    core.emit(Event::ConsumerCancelled { consumer });
                }
                Reply::Method(Box::new(ok.into()))
            }
            (Expects::Declare(declare), Method::QueueDeclareOk(ok)) => {
                self.last_queue.on_declared(declare, &ok.queue);
                self.calls.name_queue(&ok.queue);
                Reply::Method(Box::new(ok.into()))
            }
            (Expects::Get { .. }, _) => Reply::Empty,
            (_, Method::TxCommitOk(ok)) => {
                core.release(&self.held.on_commit_ok(), now);
                self.publishing.set_committing(self.held.is_committing());
                self.publishing.make_writable(core);
                Reply::Method(Box::new(ok.into()))
            }
            (_, Method::ConfirmSelectOk(ok)) => {
                self.publishing.on_confirms_selected();
                Reply::Method(Box::new(ok.into()))
            }
            (_, Method::BasicRecoverOk(ok)) => {
                self.settled.on_recover_ok();
                Reply::Method(Box::new(ok.into()))
            }
            (_, method) => Reply::Method(Box::new(method)),
        };
        if let Some(token) = call.token {
            core.emit(Event::Reply { token, result: Ok(reply) });
        }
    }

    fn unexpected(&self, method: &Method) -> PeerMisbehaved {
        PeerMisbehaved::UnexpectedMethod { method: method.name(), channel: self.id.number }
    }
}
