use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::gone::Gone;
use super::held::Run;
use super::kept::Store;
use super::lives::Private;
use super::locked::Locked;
use crate::amqp::{FRAME_MIN_SIZE, HEARTBEAT_FRAME, Method, WireError, write_method};
use crate::client::session::{EntityOutcome, Topology};
use crate::client::{CloseReason, Config, Event, Lost, PeerMisbehaved, Token};
use crate::{Deadlines, Instant, Outbox};

/// How many bytes of answers may wait for the server to read them.
pub(super) const MAX_ANSWERS: usize = 4 << 20;

/// How many exchanges, queues and bindings a session remembers.
const MAX_ENTITIES: usize = 65_536;

/// What can become due. Where two are due at once, the order here is the order they fire in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Look whether a heartbeat must be sent.
    HeartbeatSend,
    /// Look whether the server is still alive.
    HeartbeatReceive,
    /// The oldest call of a channel.
    Call(u16),
    /// The oldest unconfirmed publish of a channel.
    Confirm(u16),
}

/// What every phase of a connection needs: where bytes, events and deadlines go.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) outbox: Outbox,
    pub(super) deadlines: Deadlines<Timer>,
    /// The negotiated limit, or the one that holds before tuning.
    pub(super) frame_max: usize,
    /// What it was in the life before.
    pub(super) frame_max_before: usize,
    /// The owner has asked not to read for now.
    paused: bool,
    /// How much of the outbox answers what the server sent, counted since it was last seen empty.
    pub(super) answers: usize,
    /// How much was put there while a frame was handled that answers nothing: it had been held back.
    released: usize,
    events: VecDeque<Event>,
    event_bytes: usize,
    tokens: u64,
    /// Zero when heartbeats are off.
    heartbeat: Duration,
    last_queued: Instant,
    pub(super) last_received: Instant,
    /// Bytes that the last call left in the input.
    pub(super) leftover: usize,
    /// What was read was too much to be polled at once, at some time since silence was last looked at.
    overfull: bool,
    /// What outlives this life is kept for the next one.
    pub(super) keeps: bool,
    /// Nothing of an earlier life has to be brought back before channels may work.
    pub(super) live: bool,
    /// How many channels are being brought back.
    pub(super) resuming: usize,
    /// The server has answered something of theirs since it was last looked at.
    pub(super) resuming_goes_on: bool,
    /// Consumers that do not come back, since the session was away.
    pub(super) left_out: Vec<EntityOutcome>,
    pub(super) locked: Locked,
    pub(super) gone: Gone,
    /// Publishes are refused while so many bytes are kept.
    pub(super) max_kept: usize,
    pub(super) kept: Store,
    pub(super) topology: Topology,
    /// What has come on the session's own channel.
    pub(super) private: VecDeque<Private>,
}

impl Core {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        Self {
            config: config.normalized(),
            outbox: Outbox::new(),
            deadlines: Deadlines::new(),
            frame_max: FRAME_MIN_SIZE,
            frame_max_before: FRAME_MIN_SIZE,
            paused: false,
            answers: 0,
            released: 0,
            events: VecDeque::new(),
            event_bytes: 0,
            tokens: 0,
            heartbeat: Duration::ZERO,
            last_queued: now,
            last_received: now,
            leftover: 0,
            overfull: false,
            keeps: false,
            live: false,
            resuming: 0,
            resuming_goes_on: false,
            left_out: Vec::new(),
            locked: Locked::default(),
            gone: Gone::default(),
            max_kept: usize::MAX,
            kept: Store::default(),
            topology: Topology::new(MAX_ENTITIES),
            private: VecDeque::new(),
        }
    }

    /// A number for the session's own channel.
    pub(super) fn incarnation(&mut self) -> u32 {
        #[allow(clippy::cast_possible_truncation)] // that they differ is enough
        let number = self.token().0 as u32;
        number
    }

    /// Begins anew with another transport. Tokens go on, and what was not told yet still is.
    pub(super) fn start_life(&mut self, now: Instant) {
        self.outbox.clear();
        self.frame_max_before = self.frame_max_before.max(self.frame_max);
        self.frame_max = FRAME_MIN_SIZE;
        (self.answers, self.released) = (0, 0);
        self.heartbeat = Duration::ZERO;
        (self.last_queued, self.last_received) = (now, now);
        self.leftover = 0;
        self.private.clear();
        self.resuming = 0;
        self.locked = Locked::default();
    }

    pub(super) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.event_bytes += event.size();
        self.events.push_back(event);
    }

    pub(super) fn pop_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.event_bytes -= event.size();
        Some(event)
    }

    /// Everything in the input has been looked at. What does not come from there, such as a call that has timed out, is no
    /// excuse for a silent server, however much of it there is.
    pub(super) fn on_read(&mut self, leftover: usize) {
        self.leftover = leftover;
        self.overfull |= self.is_full();
    }

    /// Whether the owner should read: it has room for what that brings.
    pub(super) fn may_read(&self) -> bool {
        !self.paused && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.event_bytes > self.config.max_event_bytes
    }

    /// Queues a method frame. On an error nothing is queued.
    pub(super) fn send(&mut self, channel: u16, method: &Method, now: Instant) -> Result<(), WireError> {
        let result = write_method(self.outbox.tail(), channel, self.frame_max, method);
        self.outbox.end_frame();
        if result.is_ok() {
            self.touch(now);
        }
        result
    }

    /// Queues frames that were held back.
    pub(super) fn release(&mut self, run: &Run, now: Instant) {
        if !run.frames.is_empty() {
            self.outbox.tail().extend_from_slice(&run.frames);
            self.outbox.end_frame();
            self.released += run.frames.len() - run.answers;
            self.touch(now);
        }
    }

    /// Queues a method frame of fixed arguments, which always fits.
    pub(super) fn answer(&mut self, channel: u16, method: impl Into<Method>, now: Instant) {
        let sent = self.send(channel, &method.into(), now);
        debug_assert!(sent.is_ok(), "a method of fixed arguments fits a frame");
    }

    /// Queues a method frame behind which nothing may follow, in place of what has not been begun.
    pub(super) fn answer_last(&mut self, channel: u16, method: impl Into<Method>, now: Instant) {
        let mut frame = BytesMut::new();
        let written = write_method(&mut frame, channel, self.frame_max, &method.into());
        debug_assert!(written.is_ok(), "a method of fixed arguments fits a frame");
        self.outbox.finish_with(frame.freeze());
        self.touch(now);
    }

    /// The owner has, or has no longer, room for what reading brings.
    pub(super) fn set_paused(&mut self, paused: bool, now: Instant) {
        if self.paused && !paused {
            self.received(now);
        }
        self.paused = paused;
    }

    /// A server that does not read must not make us remember more and more for it. There were `queued` bytes in the outbox
    /// before its frame was handled.
    pub(super) fn check_answers(&mut self, queued: usize) -> Result<(), CloseReason> {
        let released = core::mem::take(&mut self.released);
        self.answers += self.outbox.len().saturating_sub(queued + released);
        if self.answers <= MAX_ANSWERS {
            return Ok(());
        }
        Err(CloseReason::PeerMisbehaved(PeerMisbehaved::AnswersUnread(self.answers)))
    }

    /// What was put into the outbox since it had `before` bytes answers nothing.
    pub(super) fn on_released(&mut self, before: usize) {
        self.released += self.outbox.len().saturating_sub(before);
    }

    /// Remembers that something was queued, which counts as a sign of life.
    pub(super) fn touch(&mut self, now: Instant) {
        self.last_queued = now;
    }

    /// Remembers that something came from the server.
    pub(super) fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// Starts heartbeats every `seconds`, or none for 0.
    pub(super) fn start_heartbeat(&mut self, seconds: u16, now: Instant) {
        self.heartbeat = Duration::from_secs(seconds.into());
        if seconds > 0 {
            self.deadlines.set(Timer::HeartbeatSend, now + self.heartbeat / 2);
            self.deadlines.set(Timer::HeartbeatReceive, now + self.heartbeat * 2);
        }
    }

    /// Sends a heartbeat when nothing has been sent for half an interval. One that could not be written yet is enough.
    pub(super) fn heartbeat_send(&mut self, now: Instant) {
        let half = self.heartbeat / 2;
        if now - self.last_queued >= half {
            if !self.outbox.has_urgent() {
                self.outbox.push_urgent(Bytes::from_static(&HEARTBEAT_FRAME));
            }
            self.last_queued = now;
        }
        self.look_again(Timer::HeartbeatSend, self.last_queued + half, now);
    }

    /// Reports a server that has been silent for two intervals. Silence does not count while we do not read.
    pub(super) fn heartbeat_receive(&mut self, now: Instant) -> Option<Lost> {
        let allowed = self.heartbeat * 2;
        if self.paused || self.overfull {
            self.last_received = now;
            self.overfull = self.is_full();
        }
        if now - self.last_received >= allowed {
            return Some(Lost::Heartbeat { seconds: (now - self.last_received).as_secs() });
        }
        self.look_again(Timer::HeartbeatReceive, self.last_received + allowed, now);
        None
    }

    /// Sets a deadline that lies ahead. At the end of time, where sums saturate, there is none.
    fn look_again(&mut self, timer: Timer, at: Instant, now: Instant) {
        if at > now {
            self.deadlines.set(timer, at);
        }
    }
}
