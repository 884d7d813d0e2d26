use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::core::Core;
use super::phase::{Change, Phase};
use super::work::Work;
use super::{CommandError, Connection};
use crate::Instant;
use crate::amqp::{Credentials, Method, ShortStr};
use crate::client::session::{Entity, EntityOutcome, Refused, Topology};
use crate::client::{ChannelId, CloseReason, Config, Event, Lost, Token};
use crate::fsm::Machine;

/// What a connection that a session keeps through several lives remembers of them.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// A loss is no end: the session decides what follows.
    pub(super) outlives: bool,
    /// How many handshakes have succeeded.
    pub(super) opened: u32,
    news: VecDeque<News>,
}

/// What a session is told of its connection.
#[derive(Debug)]
pub(in crate::client) enum News {
    /// The handshake is done.
    Opened,
    /// The life is over. `was_open`: after its handshake.
    Lost { reason: CloseReason, was_open: bool },
}

/// What comes on the channel that a session has for itself.
#[derive(Debug)]
pub(in crate::client) enum Private {
    /// The answer to what was sent, in order.
    Reply(Box<Method>),
    /// It has ended.
    Closed(Arc<CloseReason>),
}

impl Lives {
    pub(super) fn tell(&mut self, news: News) {
        self.news.push_back(news);
    }

    pub(super) fn outlives(&self, reason: &CloseReason) -> bool {
        self.outlives && !matches!(reason, CloseReason::Requested | CloseReason::Aborted)
    }
}

/// What a session does with a connection.
impl Connection {
    /// A connection without a transport.
    pub(in crate::client) fn down(config: Config, now: Instant) -> Self {
        let (core, phase) = (Core::new(config, now), Machine::new(Phase::Down));
        let mut connection = Self { core, work: Work::default(), phase, lives: Lives::default() };
        connection.run(now);
        connection
    }

    /// There is a new transport: a life begins, with a handshake that may take `timeout`.
    pub(in crate::client) fn start(&mut self, timeout: Duration, now: Instant) {
        self.change(Change::Start(timeout), now);
    }

    pub(in crate::client) fn set_outlives(&mut self, outlives: bool) {
        self.lives.outlives = outlives;
    }

    pub(in crate::client) fn set_credentials(&mut self, credentials: Credentials) {
        self.core.config.credentials = credentials;
    }

    pub(in crate::client) const fn config(&self) -> &Config {
        &self.core.config
    }

    pub(in crate::client) const fn kept_bytes(&self) -> usize {
        self.core.kept.bytes()
    }

    pub(in crate::client) fn poll_news(&mut self) -> Option<News> {
        self.lives.news.pop_front()
    }

    /// What has come on the private channel.
    pub(in crate::client) fn poll_private(&mut self) -> Option<Private> {
        self.core.private.pop_front()
    }

    /// Tells the owner something about the session.
    pub(in crate::client) fn emit(&mut self, event: Event) {
        self.core.emit(event);
    }

    /// The transport is gone, and whatever was to be written to it.
    pub(in crate::client) fn forget_transport(&mut self, now: Instant) {
        if let Phase::Parting = self.phase.state() {
            self.lose(CloseReason::Lost(Lost::Eof), now);
        }
    }

    /// The channels are told of the loss. What was sent and not answered is repeated where that can be done, unless
    /// `repeat` says that it may have been the cause.
    pub(in crate::client) fn lose_channels(&mut self, reason: &Arc<CloseReason>, repeat: bool, now: Instant) {
        self.work.on_lost(&mut self.core, reason, repeat, now);
    }

    /// Ends for good, for a reason of the session's.
    pub(in crate::client) fn give_up(&mut self, reason: &Arc<CloseReason>, now: Instant) {
        if self.close_reason().is_none() {
            self.change(Change::GivenUp(reason.clone()), now);
        }
    }

    /// Opens a channel for the session itself: what comes on it is told by [`poll_private`](Self::poll_private).
    pub(in crate::client) fn open_private(&mut self, now: Instant) -> Option<ChannelId> {
        self.work.channels.open_private(&mut self.core, now)
    }

    /// Sends a method on the private channel.
    ///
    /// # Errors
    ///
    /// When the channel has ended, or the method cannot be encoded.
    pub(in crate::client) fn send_private(
        &mut self,
        channel: ChannelId,
        method: &Method,
        now: Instant,
    ) -> Result<(), CommandError> {
        self.work.by_id(channel)?.send_private(&mut self.core, method, now)
    }

    /// Closes the private channel.
    pub(in crate::client) fn close_private(&mut self, channel: ChannelId, now: Instant) {
        if let Ok(channel) = self.work.by_id(channel) {
            channel.close_quietly(&mut self.core, now);
        }
    }

    /// The queues that go with their last consumer, and were declared again. Until then all may begin anew if one of them goes before
    /// its consumers are there.
    pub(in crate::client) fn watch_queues(&mut self, restored: BTreeSet<ShortStr>, until: Option<Instant>) {
        self.core.gone.start(restored, until);
    }

    /// Brings the channels back that were lost: sends what they need. Until `locked_until` it is tried again where the
    /// connection before is in the way.
    pub(in crate::client) fn resume_channels(&mut self, locked_until: Instant, now: Instant) {
        self.core.live = true;
        self.core.locked.start(locked_until);
        self.work.resume(&mut self.core, now);
    }

    /// Ends this life where one of those queues has gone: another is to bring everything back. The server is told, so that the consumers of
    /// this life are in nobody's way.
    pub(in crate::client) fn begin_anew(&mut self, now: Instant) {
        if self.core.gone.take() {
            self.part(CloseReason::Lost(Lost::QueueGone), now);
        }
    }

    /// Everything is back.
    pub(in crate::client) fn on_back(&mut self) {
        self.core.gone.on_back();
    }

    /// When channels that found their place locked try again.
    pub(in crate::client) const fn locked_at(&self) -> Option<Instant> {
        self.core.locked.at()
    }

    /// They try again.
    pub(in crate::client) fn resume_locked(&mut self, now: Instant) {
        self.core.locked.on_again();
        self.work.resume(&mut self.core, now);
    }

    /// Whether channels are still being brought back.
    pub(in crate::client) const fn is_resuming(&self) -> bool {
        self.core.resuming > 0 || self.core.locked.at().is_some()
    }

    /// Whether the server has answered something that brings channels back, since the last call.
    pub(in crate::client) fn take_progress(&mut self) -> bool {
        core::mem::take(&mut self.core.resuming_goes_on)
    }

    /// Brings back a channel that has waited for others. True when there is one.
    pub(in crate::client) fn resume_rest(&mut self, now: Instant) -> bool {
        self.work.channels.resume_rest(&mut self.core, now)
    }

    /// The consumers of a queue that is not restored do not come back.
    pub(in crate::client) fn leave_out_consumers_of(&mut self, name: &ShortStr, queue: &Entity) {
        for channel in self.work.channels.used() {
            for consumer in channel.consumers_of(&self.core, name) {
                channel.leave_out(&mut self.core, consumer, Refused::Needs(Box::new(queue.clone())));
            }
        }
    }

    /// The consumers that did not come back.
    pub(in crate::client) fn take_left_out(&mut self) -> Vec<EntityOutcome> {
        core::mem::take(&mut self.core.left_out)
    }

    /// The server has closed the connection over a consumer that was being brought back: it is left out.
    pub(in crate::client) fn leave_out_culprit(&mut self, reason: &Arc<CloseReason>) {
        self.work.channels.leave_out_culprit(&mut self.core, reason);
    }

    /// When something came last, or the transport was opened.
    pub(in crate::client) const fn last_received(&self) -> Instant {
        self.core.last_received
    }

    /// The consumers that the server was asked to start again, and has left without an answer: one of a channel at most.
    pub(in crate::client) fn unanswered_consumers(&mut self) -> Vec<Token> {
        self.work.channels.used().filter_map(|channel| channel.unanswered_consumer()).collect()
    }

    /// One of them is left out.
    pub(in crate::client) fn leave_out_unanswered(&mut self, consumer: Token) {
        let Self { core, work, .. } = self;
        let mut channels = work.channels.used();
        if let Some(channel) = channels.find(|channel| channel.unanswered_consumer() == Some(consumer)) {
            channel.leave_out(core, consumer, Refused::Unanswered);
        }
    }

    /// Whether work is done: the handshake is over, and nobody has closed it.
    pub(in crate::client) const fn is_open(&self) -> bool {
        matches!(self.phase.state(), Phase::Open)
    }

    /// Whether what the server sends is read.
    pub(in crate::client) fn is_read(&self) -> bool {
        self.core.may_read()
    }

    /// Whether nothing can be written any more, and another life can follow.
    pub(in crate::client) const fn is_down(&self) -> bool {
        matches!(self.phase.state(), Phase::Down)
    }

    /// Whatever outlives a loss is kept from now on: up to so many bytes of publishes.
    pub(in crate::client) fn keep(&mut self, max_bytes: usize) {
        self.core.keeps = true;
        self.core.max_kept = max_bytes.max(1);
    }

    pub(in crate::client) fn topology(&mut self) -> &mut Topology {
        &mut self.core.topology
    }
}
