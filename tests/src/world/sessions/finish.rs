use std::time::Duration;

use hopmq_proto::amqp::{ReplyCode, ShortStr};
use hopmq_proto::broker::Connection;
use hopmq_proto::client::{CloseReason, Config, Recovery};
use hopmq_proto::{Engine, Want};

use super::acts::{Actor, LASTING};
use super::user::{User, What};
use super::world::World;

/// By when the end must have come: more than every deadline there is.
const PATIENCE: Duration = Duration::from_secs(600);

impl World {
    /// The network is good again, the broker stays, and everything must come to its end.
    pub(super) fn finish(&mut self) {
        self.heal();
        self.until("everybody is back, and everything is answered and has arrived", |world| {
            let settled = |user: &User| user.session.is_open() && user.owes_nothing();
            world.users.iter().all(|user| user.ended.is_some() || settled(user)) && world.is_quiet()
        });
        self.check_consumers();
        self.drain();
        let broken = self.promises.broken();
        assert!(broken.is_empty(), "confirmed and lost: {broken:?}");
        self.close();
    }

    fn heal(&mut self) {
        self.trace.note(self.now, format_args!("the network is good again"));
        (self.faulty, self.next_trouble, self.down_until) = (false, None, self.now);
        for wire in &mut self.wires {
            wire.to_broker.heal(self.now);
            wire.to_client.heal(self.now);
            wire.next_fault = None;
        }
        for at in 0..self.users.len() {
            self.users[at].next_act = None;
            self.users[at].resting = true;
            if let Some((_, due)) = &mut self.users[at].dial {
                due.get_or_insert(self.now);
            }
            self.poll_user(at);
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let latest = self.now + PATIENCE;
        while !done(self) {
            let moved = self.step();
            assert!(moved || done(self), "nothing happens any more, before {what}");
            if self.now >= latest {
                let owed: Vec<_> =
                    self.users.iter().map(|user| (user.no, user.owed(), &user.session)).collect();
                panic!("it takes too long until {what}: {owed:?}");
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        let Self { users, broker, .. } = self;
        self.wires.iter().enumerate().all(|(at, wire)| {
            let user = &mut users[wire.user];
            match (wire.connection, user.wire == Some(at)) {
                (None, false) => true,
                (Some(connection), true) => {
                    let said = user.session.outbox().is_empty();
                    // The broker has nothing to say, and knows of no end that its client does not.
                    let rests =
                        |mut it: Connection<'_>| it.outbox().is_empty() && it.want() == Want::ReadWrite;
                    said && broker.connection(connection).is_some_and(rests)
                        && wire.to_broker.next_at().is_none()
                        && wire.to_client.next_at().is_none()
                }
                _ => false, // one side does not know yet that the other is gone
            }
        })
    }

    /// The broker has the consumers that clients believe in, and no others.
    fn check_consumers(&mut self) {
        for queue in LASTING {
            let believed = self.users.iter().filter(|user| user.ended.is_none());
            let believed = believed.flat_map(|user| user.consumers.values());
            let believed = believed.filter(|consumer| consumer.queue.as_bytes() == queue.as_bytes()).count();
            let there = self.broker.queue("/", queue).map_or(0, |stats| stats.consumers);
            assert_eq!(there, believed, "consumers of {queue}");
        }
    }

    /// A fresh client takes whatever is left.
    fn drain(&mut self) {
        let at = self.add_user(Config::default(), Recovery::always());
        self.users[at].next_act = None;
        self.users[at].resting = true;
        self.until("a fresh client is connected", |world| world.users[at].opened);
        self.actor(at).open_channel();
        self.until("a channel opens", |world| world.users[at].owes_nothing());
        let channel = self.users[at].open_channels()[0];
        for queue in LASTING {
            self.actor(at).declare_named(channel, queue);
            self.actor(at).consume_from(channel, ShortStr::from_static(queue));
        }
        self.until("the queues are drained", |world| {
            let empty = |queue: &&str| {
                world.broker.queue("/", queue).is_some_and(|stats| stats.ready == 0 && stats.unacked == 0)
            };
            world.users[at].owes_nothing() && LASTING.iter().all(empty)
        });
    }

    fn actor(&mut self, at: usize) -> Actor<'_> {
        let user = &mut self.users[at];
        Actor { user, rng: &mut self.rng, promises: &mut self.promises, broker: &self.broker, now: self.now }
    }

    /// Everybody closes, and nothing is left.
    fn close(&mut self) {
        for at in 0..self.users.len() {
            let now = self.now;
            let user = &mut self.users[at];
            if user.ended.is_none()
                && let Ok(token) = user.session.close(now)
            {
                user.owe(token, What::Close, None, now);
            }
        }
        self.until("everybody has closed", |world| {
            world.users.iter().all(|user| user.ended.is_some() && user.wire.is_none())
        });
        self.check_ends();
        self.until("the broker is done with everybody", |world| world.broker.connections() == 0);
    }

    /// Nobody gave up who must not.
    fn check_ends(&self) {
        for user in &self.users {
            let lost = |reason: &CloseReason| match reason {
                CloseReason::Server(close) => close.code == ReplyCode::CONNECTION_FORCED,
                CloseReason::Lost(_) => true,
                CloseReason::Unreachable(_) | CloseReason::Handshake(_) => !user.opened,
                _ => false,
            };
            let expected = match &user.ended {
                Some(CloseReason::Requested) => true,
                Some(reason) => user.may_give_up && lost(reason),
                None => false,
            };
            assert!(expected, "user {} ended: {:?}", user.no, user.ended);
        }
    }
}
