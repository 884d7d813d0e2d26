use core::time::Duration;

use bytes::Bytes;

use crate::Instant;
use crate::amqp::HEARTBEAT_FRAME;

use super::link::{Link, Timer};

/// The signs of life of a connection, both ways.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    /// Something came since the last check.
    pub(super) heard: bool,
    /// How many checks in a row found nothing.
    missed: u8,
    /// What the outbox held at the last check.
    outbox_len: usize,
}

impl Link {
    pub(super) fn start_heartbeat(&mut self, interval: Duration, now: Instant) {
        if interval.is_zero() {
            return;
        }
        self.heartbeat = Some(Heartbeat { interval, heard: true, missed: 0, outbox_len: 0 });
        self.deadlines.set(Timer::Send, now + interval / 2);
        self.deadlines.set(Timer::Receive, now + interval);
    }

    /// Sends a heartbeat when nothing else was sent for half an interval.
    pub(super) fn on_send_timer(&mut self, now: Instant) {
        let Some(heartbeat) = &self.heartbeat else { return };
        self.deadlines.set(Timer::Send, now + heartbeat.interval / 2);
        if !self.spoke && self.outbox.is_empty() {
            self.outbox.push_urgent(Bytes::from_static(&HEARTBEAT_FRAME));
        }
        self.spoke = false;
    }

    /// Returns whether the peer has been silent for two intervals in a row.
    ///
    /// While we do not read, what the peer takes from us counts in place of what it sends. One that is blocked is not missed.
    pub(super) fn on_receive_timer(&mut self, now: Instant) -> bool {
        let (paused, blocked, waiting) = (self.is_paused(), self.is_blocked(), self.outbox.len());
        let Some(heartbeat) = &mut self.heartbeat else { return false };
        let alive = heartbeat.heard || blocked || (paused && waiting < heartbeat.outbox_len);
        heartbeat.heard = false;
        heartbeat.outbox_len = waiting;
        heartbeat.missed = if alive { 0 } else { heartbeat.missed + 1 };
        self.deadlines.set(Timer::Receive, now + heartbeat.interval);
        heartbeat.missed >= 2
    }
}
