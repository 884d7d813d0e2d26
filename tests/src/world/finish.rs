//! The end of a world: the network is good again, and everything must come to its end.

use std::time::Duration;

use hopmq_proto::Engine;
use hopmq_proto::amqp::{ShortStr, basic};
use hopmq_proto::client::{CloseReason, Config};

use super::workload;
use super::world::{World, close};

/// By when the end must have come: more than every deadline there is.
const PATIENCE: Duration = Duration::from_secs(400);

impl World {
    /// No more trouble, and nobody begins anything new.
    pub(super) fn heal(&mut self) {
        self.trace.note(self.now, format_args!("the network is good again"));
        self.acts_left = 0;
        for link in 0..self.lines.len() {
            self.poll_client(link);
            let line = &mut self.lines[link];
            line.to_broker.heal(self.now);
            line.to_client.heal(self.now);
            (line.next_act, line.next_fault) = (None, None);
            line.client.engine.set_paused(false, self.now);
            line.client.paused = false;
            line.client.good_since = Some(self.now);
            self.poll_client(link);
        }
    }

    pub(super) fn until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let latest = self.now + PATIENCE;
        loop {
            for link in 0..self.lines.len() {
                self.poll_client(link);
            }
            if done(self) {
                return;
            }
            let moved = self.step();
            assert!(moved || done(self), "nothing happens any more, before {what}");
            assert!(self.now < latest, "it takes too long until {what}: {:?}", self.model.account());
        }
    }

    /// Everything that was sent has come to the other side.
    pub(super) fn deliver_all(&mut self) {
        self.until("all that was sent has arrived", |world| {
            world.lines.iter_mut().all(|line| {
                let client = line.client.engine.outbox().is_empty() && line.to_broker.next_at().is_none();
                let broker = line.to_client.next_at().is_none();
                if line.client.ended.is_some() { line.connection.is_none() } else { client && broker }
            })
        });
    }

    /// Whoever was refused for want of room has been told that there is room.
    pub(super) fn check_writable(&mut self) {
        self.until("whoever was refused is told of room", |world| {
            world.lines.iter().all(|line| line.client.ended.is_some() || line.client.refused.is_empty())
        });
    }

    /// A fresh client takes whatever is left in the queues.
    pub(super) fn drain(&mut self) {
        let link = self.connect_with(Config::default());
        self.settle(link);
        self.until("a fresh client logs in", |world| world.lines[link].client.opened);
        for queue in self.model.shared_queues() {
            workload::open_channel(&mut self.lines[link].client, self.now);
            self.until("a channel opens", |world| world.lines[link].client.owes_nothing());
            let channels = self.lines[link].client.open_channels();
            let Some(channel) = channels.last().copied() else { panic!("no channel has opened") };
            let consume = basic::Consume { queue: ShortStr::truncated(&queue), ..Default::default() };
            workload::call(&mut self.lines[link].client, channel, consume.into(), self.now);
            self.until("a consumer is answered", |world| world.lines[link].client.owes_nothing());
            self.until("a queue is drained", |world| world.model.holds(&queue) == 0);
            let client = &mut self.lines[link].client;
            workload::close_channel(client, channel, self.now);
            self.until("a channel closes", |world| world.lines[link].client.owes_nothing());
        }
    }

    fn settle(&mut self, link: usize) {
        let line = &mut self.lines[link];
        line.to_broker.heal(self.now);
        line.to_client.heal(self.now);
        (line.next_act, line.next_fault) = (None, None);
        line.client.good_since = Some(self.now);
    }

    /// Everybody closes, and nothing is left.
    pub(super) fn close(&mut self) {
        for line in &mut self.lines {
            if line.client.ended.is_none() {
                close(&mut line.client, self.now);
                line.must_close = true;
            }
        }
        self.until("every connection is over", |world| world.lines.iter().all(super::line::Line::is_over));
        for line in self.lines.iter().filter(|line| line.must_close) {
            assert_eq!(line.client.ended, Some(CloseReason::Requested), "a close that is not clean");
        }
        assert_eq!(self.broker.connections(), 0);
        for (queue, ready, unacked) in self.model.account() {
            assert_eq!((ready, unacked), (0, 0), "queue '{queue}' holds something yet");
            let stats = self.broker.queue("/", &queue).map(|stats| (stats.ready, stats.unacked));
            assert_eq!(stats, Some((0, 0)), "queue '{queue}'");
        }
    }
}
