//! One life of one AMQP connection.

mod assembler;
mod calls;
mod channel;
mod channels;
mod confirms;
mod consumers;
mod control;
mod core;
mod error;
mod gone;
mod handshake;
mod held;
mod kept;
mod last_queue;
mod lives;
mod locked;
mod phase;
mod publishing;
mod returns;
mod settled;
mod work;

use alloc::string::String;
use alloc::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use self::core::{Core, Timer};
use self::handshake::{Greeting, Progress};
use self::lives::Lives;
use self::phase::{Change, Parts, Phase};
use self::work::Work;
use super::{
    ChannelId, CloseReason, Config, Delivery, DeliveryId, Event, Lost, PeerMisbehaved, Reply, Token, WhenLost,
};
use crate::amqp::{
    FRAME_HEADER_LEN, FrameHead, FrameKind, Method, Properties, Publish, Secret, ShortStr, connection,
};
use crate::fsm::{Lifecycle, Machine, Table};
use crate::{Engine, Instant, Outbox, Want};

pub use error::{CommandError, PublishError, Settle, SettleError};
pub(super) use lives::{News, Private};
pub(super) use publishing::Outgoing;

/// The client's side of one AMQP connection, as an [`Engine`].
///
/// It begins with the protocol header in its outbox, and goes through [handshake](Event::Opened), work and close. It
/// knows no socket: see the [crate documentation](crate) for how it is driven.
#[derive(Debug)]
pub struct Connection {
    core: Core,
    work: Work,
    phase: Machine<Phase>,
    lives: Lives,
}

impl Connection {
    /// The states of a connection, and how it goes from one to another.
    pub const LIFECYCLE: Table = Phase::TABLE;

    /// The states of each of its channels.
    pub const CHANNEL_LIFECYCLE: Table = channel::LIFECYCLE;

    /// A connection whose transport is open at `now`. `connect_timeout` counts from here.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        let timeout = config.connect_timeout;
        let mut connection = Self::down(config, now);
        connection.start(timeout, now);
        connection
    }

    /// Why the connection has ended, once it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<&Arc<CloseReason>> {
        match self.phase.state() {
            Phase::Ending(reason) | Phase::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    fn open(&mut self) -> Result<(&mut Work, &mut Core), CommandError> {
        match self.phase.state() {
            Phase::Open => Ok((&mut self.work, &mut self.core)),
            Phase::Down | Phase::Handshake(_) | Phase::Parting if self.lives.opened > 0 => {
                Ok((&mut self.work, &mut self.core))
            }
            Phase::Down | Phase::Handshake(_) | Phase::Parting => Err(CommandError::NotOpen),
            Phase::Closing { .. } => Err(CommandError::Closed(Arc::new(CloseReason::Requested))),
            Phase::Ending(reason) | Phase::Closed(reason) => Err(CommandError::Closed(reason.clone())),
        }
    }

    /// Opens a channel. [`Reply::Channel`] says that it is open, and until then commands on it are refused.
    ///
    /// # Errors
    ///
    /// When the connection is not open, or has all the channels that were agreed on.
    pub fn open_channel(&mut self, now: Instant) -> Result<(ChannelId, Token), CommandError> {
        let (open, core) = self.open()?;
        open.channels.open(core, now)
    }

    /// Closes a channel. Everything that waits on it is resolved at once; [`Reply::Closed`] follows.
    ///
    /// # Errors
    ///
    /// When it is not open.
    pub fn close_channel(&mut self, channel: ChannelId, now: Instant) -> Result<Token, CommandError> {
        let (open, core) = self.open()?;
        open.by_id(channel)?.check_open()?;
        let token = core.token();
        open.close_channel(core, channel, Some(token), now)?;
        Ok(token)
    }

    /// Whether a channel is open.
    ///
    /// # Errors
    ///
    /// What a command on it would be refused with, when it is not.
    pub fn check_channel(&mut self, channel: ChannelId) -> Result<(), CommandError> {
        let (open, _) = self.open()?;
        open.by_id(channel)?.check_open()
    }

    /// Sends a method that the server answers: declare, bind, purge, delete, qos, consume, cancel, get, recover,
    /// confirm.select, tx.select, tx.commit, tx.rollback.
    ///
    /// Calls can be sent without waiting for the replies of earlier ones; replies come in order. Only behind a
    /// tx.commit the protocol demands to wait: until it is answered, what follows on its channel is held back here, and
    /// publishes are refused.
    ///
    /// An empty queue name means the queue that was last declared on the channel, as the specification has it, and is
    /// sent as its name where that is known: see [`last_queue`](Connection::last_queue).
    ///
    /// # Errors
    ///
    /// When the channel is not open, the method is none of these, or it cannot be encoded.
    pub fn call(
        &mut self,
        channel: ChannelId,
        method: impl Into<Method>,
        now: Instant,
    ) -> Result<Token, CommandError> {
        let (open, core) = self.open()?;
        open.by_id(channel)?.call(core, method.into(), now)
    }

    /// Sends a method that asks for no answer (`no_wait`): declare, bind, unbind, purge or delete. When the server
    /// refuses it, it closes the channel.
    ///
    /// # Errors
    ///
    /// When the channel is not open, the method is none of these, too much waits to be written, or it cannot be
    /// encoded.
    pub fn send_no_wait(
        &mut self,
        channel: ChannelId,
        method: impl Into<Method>,
        now: Instant,
    ) -> Result<(), CommandError> {
        let (open, core) = self.open()?;
        open.by_id(channel)?.send_no_wait(core, method.into(), now)
    }

    /// The queue that was last declared on a channel, for which an empty name stands. `None` before the first, and
    /// while the server has not said yet what it calls it.
    pub fn last_queue(&mut self, channel: ChannelId) -> Option<&ShortStr> {
        let (open, _) = self.open().ok()?;
        open.by_id(channel).ok()?.last_queue()
    }

    /// Nobody waits for this call any more: no event resolves it, and what the server grants is given back.
    pub fn abandon(&mut self, channel: ChannelId, token: Token) {
        if let Ok((open, _)) = self.open()
            && let Ok(channel) = open.by_id(channel)
        {
            channel.abandon(token);
        }
    }

    /// Gives back what a reply granted, because nobody has taken it: closes the channel, cancels the consumer, puts the
    /// message back into its queue; failures are told to whoever asks next.
    pub fn give_back(&mut self, reply: Reply, now: Instant) {
        let Ok((open, core)) = self.open() else { return };
        match reply {
            Reply::Channel(id) => {
                let _ = open.close_channel(core, id, None, now); // it may have ended
            }
            Reply::Consumer { channel, consumer_tag } => {
                if let Ok(channel) = open.by_id(channel) {
                    channel.drop_consumer(core, consumer_tag, now);
                }
            }
            Reply::Message { delivery, .. } => self.requeue(*delivery, now),
            Reply::Confirmed { channel, failures } => {
                if let Ok(channel) = open.by_id(channel) {
                    channel.untell(failures);
                }
            }
            Reply::Empty | Reply::Closed | Reply::Method(_) => {}
        }
    }

    /// Puts a delivery back into its queue, if it can still be settled. A stream still has it.
    pub fn requeue(&mut self, delivery: Delivery, now: Instant) {
        if let Some(id) = delivery.id
            && !delivery.message.is_of_stream()
        {
            // A channel that has ended has put it back already.
            let _ = self.settle(id, Settle::Nack { multiple: false, requeue: true }, now);
        }
    }

    /// Publishes a message. With confirms on the channel the token is resolved by [`Event::Confirmed`]; without, there
    /// is none.
    ///
    /// # Errors
    ///
    /// When the channel is not open, there is no room, or it cannot be encoded. Nothing has been sent then.
    pub fn publish(
        &mut self,
        channel: ChannelId,
        publish: &Publish<'_>,
        properties: &Properties,
        body: &Bytes,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        let outgoing = Outgoing { publish, properties, body, when_lost: WhenLost::default() };
        self.publish_outgoing(channel, outgoing, now)
    }

    /// The same, with what becomes of it when the connection is lost: for a connection that a session keeps.
    pub(in crate::client) fn publish_outgoing(
        &mut self,
        channel: ChannelId,
        outgoing: Outgoing<'_>,
        now: Instant,
    ) -> Result<Option<Token>, PublishError> {
        let (work, core) = self.open()?;
        work.publish(core, channel, outgoing, now)
    }

    /// Refuses, as [`publish`](Connection::publish) would, when `limit` or more publishes on a channel wait for their
    /// confirm: for a publisher that is to have fewer under way than `max_unconfirmed`.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`], and [`Event::Writable`] follows; or when the channel is not open.
    pub fn check_unconfirmed(&mut self, channel: ChannelId, limit: usize) -> Result<(), PublishError> {
        let (open, _) = self.open()?;
        open.by_id(channel)?.check_unconfirmed(limit)
    }

    /// Waits until every publish on a channel so far is resolved: [`Reply::Confirmed`] says how many have failed since
    /// this was last answered, also of those that were resolved before. Each of them takes
    /// `confirm_timeout` at most from when it is sent; one that is held, or sent again after a loss, is sent when that is over.
    ///
    /// # Errors
    ///
    /// When the channel is not open, or too many wait already.
    pub fn await_confirms(&mut self, channel: ChannelId) -> Result<Token, CommandError> {
        let (open, core) = self.open()?;
        open.by_id(channel)?.await_confirms(core)
    }

    /// Settles a delivery.
    ///
    /// # Errors
    ///
    /// When its channel has ended, or a later `multiple` or a recover has settled it. Nothing has been sent then.
    #[allow(clippy::needless_pass_by_value)] // a delivery is settled once
    pub fn settle(&mut self, id: DeliveryId, settle: Settle, now: Instant) -> Result<(), SettleError> {
        let stale = |error| match error {
            CommandError::Closed(reason) => SettleError::Closed(reason),
            _ => SettleError::Stale,
        };
        let (open, core) = self.open().map_err(stale)?;
        open.by_id(id.channel).map_err(stale)?.settle(core, &id, settle, now)
    }

    /// Closes the connection, after everything that is in the outbox. Everything that waits is resolved at once;
    /// [`Reply::Closed`] and [`Event::Closed`] follow, within `close_timeout`.
    ///
    /// # Errors
    ///
    /// When it is closing or closed already.
    pub fn close(&mut self, now: Instant) -> Result<Token, CommandError> {
        match self.phase.state() {
            Phase::Closing { .. } | Phase::Ending(_) | Phase::Closed(_) => self.open().map(|_| Token(0)),
            Phase::Down | Phase::Handshake(_) | Phase::Open | Phase::Parting => {
                let token = self.core.token();
                self.change(Change::Close(token), now);
                Ok(token)
            }
        }
    }

    /// Ends the connection at once: what waits to be written is dropped, everything that waits is resolved with
    /// [`CloseReason::Aborted`], and the server is told nothing. [`Want::Shutdown`] follows.
    pub fn abort(&mut self, now: Instant) {
        if !self.phase.has_ended() {
            self.change(Change::Abort, now);
        }
    }

    /// Replaces the password or token that the server knows. It answers with [`Reply::Method`], or closes the
    /// connection with 530. `reason` is for the server's log.
    ///
    /// # Errors
    ///
    /// When the connection is not open, or the secret does not fit a frame.
    pub fn update_secret(
        &mut self,
        new_secret: Secret,
        reason: ShortStr,
        now: Instant,
    ) -> Result<Token, CommandError> {
        if !matches!(self.phase.state(), Phase::Open) {
            self.open()?;
            return Err(CommandError::NotOpen);
        }
        let (open, core) = self.open()?;
        open.control.update_secret(core, connection::UpdateSecret { new_secret, reason }, now)
    }

    /// The transport has failed, for the reason that `why` gives.
    pub fn handle_transport_error(&mut self, why: String, now: Instant) {
        let reason = match self.phase.state() {
            Phase::Handshake(handshake) => handshake.transport_failed(why),
            _ => CloseReason::Lost(Lost::Transport(why)),
        };
        self.lose(reason, now);
    }

    /// Tells the engine whether its owner has room for more deliveries. While it has not, [`Engine::want`] is
    /// [`Want::Write`] and the server's silence does not count against it.
    pub fn set_paused(&mut self, paused: bool, now: Instant) {
        self.core.set_paused(paused, now);
    }

    /// It cannot go on. What is in the outbox is for the server still.
    fn part(&mut self, reason: CloseReason, now: Instant) {
        if let Phase::Handshake(_) | Phase::Open | Phase::Closing { .. } = self.phase.state() {
            self.change(Change::Over(reason), now);
        }
    }

    /// The stream is gone: nothing can be written any more.
    fn lose(&mut self, reason: CloseReason, now: Instant) {
        if !self.phase.has_ended() {
            self.change(Change::Lost(reason), now);
        }
    }

    /// Goes to another state.
    fn change(&mut self, change: Change, now: Instant) {
        let mut parts = Parts { core: &mut self.core, work: &mut self.work, lives: &mut self.lives };
        let changed = self.phase.handle(change, &mut parts, now);
        debug_assert!(changed.is_ok(), "{changed:?}");
    }

    /// Does what is due in this state.
    fn run(&mut self, now: Instant) {
        let mut parts = Parts { core: &mut self.core, work: &mut self.work, lives: &mut self.lives };
        let ran = self.phase.handle_timeout(&mut parts, now);
        debug_assert!(ran.is_ok(), "{ran:?}");
    }

    /// Takes the whole frame at the front of `input` off it.
    fn on_frame(&mut self, head: FrameHead, input: &mut BytesMut, now: Instant) -> Result<(), CloseReason> {
        if let Phase::Open = self.phase.state() {
            return self.work.on_frame(&mut self.core, head, input, now);
        }
        let payload = input.get(FRAME_HEADER_LEN..FRAME_HEADER_LEN + head.payload_len).unwrap_or_default();
        let method = (head.kind == FrameKind::Method).then(|| Method::decode(payload));
        input.advance(head.frame_len());
        match (self.phase.state_mut(), method) {
            // The server starts its heartbeats at tune-ok, before open-ok.
            (Phase::Handshake(_), None) if (head.kind, head.channel) == (FrameKind::Heartbeat, 0) => Ok(()),
            (Phase::Handshake(handshake), Some(method)) if head.channel == 0 => {
                let method = method.map_err(|error| CloseReason::PeerMisbehaved(error.into()))?;
                if let Progress::Opened(info) = handshake.on_method(&mut self.core, method, now)? {
                    self.change(Change::Opened(info), now);
                }
                Ok(())
            }
            (Phase::Handshake(_), _) => {
                let fault = PeerMisbehaved::UnexpectedFrame { frame: "channel", channel: head.channel };
                Err(CloseReason::PeerMisbehaved(fault))
            }
            (Phase::Closing { .. }, Some(Ok(Method::ConnectionClose(_)))) => {
                self.core.answer(0, connection::CloseOk {}, now);
                Ok(())
            }
            (Phase::Closing { .. }, Some(Ok(Method::ConnectionCloseOk(_)))) => {
                self.change(Change::CloseOk, now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn make_writable(&mut self, now: Instant) {
        if let Phase::Open = self.phase.state() {
            self.work.make_writable(&mut self.core, now);
        }
    }

    fn on_timer(&mut self, timer: Timer, now: Instant) {
        match (timer, self.phase.state()) {
            (
                Timer::HeartbeatSend | Timer::HeartbeatReceive,
                Phase::Down | Phase::Parting | Phase::Ending(_) | Phase::Closed(_),
            ) => {}
            (Timer::HeartbeatSend, _) => self.core.heartbeat_send(now),
            (Timer::HeartbeatReceive, phase) => {
                if let Phase::Handshake(_) = phase {
                    self.core.received(now); // `connect_timeout` rules here
                }
                if let Some(lost) = self.core.heartbeat_receive(now) {
                    self.lose(CloseReason::Lost(lost), now);
                }
            }
            (Timer::Call(0), Phase::Open) => self.work.control.on_call_due(&mut self.core, now),
            (Timer::Call(number), _) => self.work.on_call_due(&mut self.core, number, now),
            (Timer::Confirm(number), Phase::Open) => {
                if let Some(channel) = self.work.channels.by_number(number) {
                    channel.on_confirm_due(&mut self.core, now);
                }
            }
            _ => {}
        }
    }
}

impl Engine for Connection {
    type Event = Event;

    fn handle_input(&mut self, input: &mut BytesMut, now: Instant) {
        if input.is_empty() {
            return;
        }
        // The tail of before comes again with each call, and is no sign of life.
        if input.len() > self.core.leftover {
            self.core.received(now);
        }
        self.make_writable(now);
        if self.core.outbox.is_empty() {
            self.core.answers = 0;
        }
        while !input.is_empty() {
            if let Phase::Down | Phase::Parting | Phase::Ending(_) | Phase::Closed(_) = self.phase.state() {
                input.clear();
                break;
            }
            if let Phase::Handshake(handshake) = self.phase.state_mut() {
                match handshake.check_greeting(input) {
                    Ok(Greeting::Frames) => {}
                    Ok(Greeting::Incomplete) => break,
                    Err(error) => {
                        self.core.outbox.clear();
                        self.part(CloseReason::Handshake(error), now);
                        continue;
                    }
                }
            }
            let queued = self.core.outbox.len();
            let result = match FrameHead::peek(input, self.core.frame_max) {
                Ok(None) => break,
                Ok(Some(head)) => self.on_frame(head, input, now),
                Err(error) => Err(CloseReason::PeerMisbehaved(error.into())),
            };
            if let Err(reason) = result.and_then(|()| self.core.check_answers(queued)) {
                self.part(reason, now);
            }
        }
        self.core.on_read(input.len());
    }

    fn handle_eof(&mut self, now: Instant) {
        let reason = match self.phase.state() {
            Phase::Handshake(handshake) => handshake.eof(),
            _ => CloseReason::Lost(Lost::Eof),
        };
        self.lose(reason, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        // In the order of time; where both are due at once, the state goes first.
        loop {
            let (state_due, timer_due) = (self.phase.poll_timeout(), self.core.deadlines.next());
            match state_due {
                Some(due) if due <= now && timer_due.is_none_or(|timer| due <= timer) => self.run(now),
                _ => match self.core.deadlines.pop_due(now) {
                    Some(timer) => self.on_timer(timer, now),
                    None => break,
                },
            }
        }
        self.make_writable(now);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.core.pop_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.phase.state() {
            Phase::Open if self.work.has_room_again(&self.core) => Some(Instant::ZERO),
            _ => self.core.deadlines.next().into_iter().chain(self.phase.poll_timeout()).min(),
        }
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.core.outbox
    }

    fn want(&self) -> Want {
        match self.phase.state() {
            Phase::Down | Phase::Parting | Phase::Ending(_) | Phase::Closed(_) => Want::Shutdown,
            Phase::Open if !self.core.may_read() => Want::Write,
            Phase::Handshake(_) | Phase::Open | Phase::Closing { .. } => Want::ReadWrite,
        }
    }
}
