//! What a crash leaves of what a broker has, as a client finds it.

use std::collections::BTreeMap;

use bytes::BytesMut;
use hopmq_proto::amqp::{Method, ShortStr, basic, channel};
use hopmq_proto::broker::{Broker, ConnectionId, Disk, Peer, QueueStats};
use hopmq_proto::{Engine, Instant};

use super::super::broker_input::login;
use super::ear::{Settled, number_of};
use super::{peer, words};
use crate::world::tap::{Said, Tap};

/// Every message that was published, by its number: on which connection, and whether it is to be kept on the disk.
#[derive(Debug, Default)]
pub(super) struct Published(Vec<(ConnectionId, bool)>);

/// A message that was left.
#[derive(Debug)]
pub(super) struct Left {
    queue: ShortStr,
    number: Option<u64>,
    persistent: bool,
    redelivered: bool,
}

/// What is known before a crash: what each queue has, and which messages of it clients hold, as far as that is all of them.
pub(super) struct Before {
    disk: Disk,
    stats: BTreeMap<ShortStr, QueueStats>,
    held: BTreeMap<ShortStr, Vec<u64>>,
}

impl Before {
    /// `held` is what clients hold, by queue.
    pub(super) fn new(broker: &Broker, disk: Disk, mut held: BTreeMap<ShortStr, Vec<u64>>) -> Self {
        let stats = words::queues().filter_map(|name| Some((name.clone(), stats(broker, &name)?)));
        let stats: BTreeMap<_, _> = stats.collect();
        // What is held of a queue that was deleted since is none of this one's.
        held.retain(|name, numbers| stats.get(name).is_some_and(|stats| stats.unacked == numbers.len()));
        Self { disk, stats, held }
    }
}

fn stats(broker: &Broker, queue: &ShortStr) -> Option<QueueStats> {
    broker.queue("/", queue.as_str().ok()?)
}

impl Published {
    /// The number of the next message.
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn add(&mut self, connection: ConnectionId, persistent: bool) {
        self.0.push((connection, persistent));
    }

    fn of(&self, number: u64) -> Option<&(ConnectionId, bool)> {
        self.0.get(usize::try_from(number).ok()?)
    }

    /// What is left is what must be: of durable queues the persistent messages that nobody has settled, each queue's in
    /// their order, all of them ready and marked, and what clients held among them.
    pub(super) fn check(&self, before: &Before, left: &[Left], broker: &Broker, settled: &mut Settled) {
        for name in words::queues() {
            let of_queue = left.iter().filter(|it| it.queue == name);
            let numbers: Vec<u64> = of_queue.filter_map(|it| it.number).collect();
            let Some(now) = stats(broker, &name) else { continue };
            assert_eq!(before.disk, Disk::Kept, "{name:?} is there without a disk");
            let had = before.stats.get(&name);
            let had = had.unwrap_or_else(|| panic!("{name:?} was made by a crash"));
            assert!(now.ready <= had.ready + had.unacked, "{name:?}: {had:?} became {now:?}");
            for number in before.held.get(&name).into_iter().flatten() {
                let persistent = self.of(*number).is_some_and(|(_, persistent)| *persistent);
                assert_eq!(numbers.contains(number), persistent, "message {number} of {name:?} was held");
            }
            let mut latest = BTreeMap::new();
            for number in numbers {
                assert!(!settled.contains(&(name.clone(), number)), "message {number} was settled");
                let Some((connection, _)) = self.of(number) else { panic!("nobody published {number}") };
                let before = latest.insert(*connection, number);
                assert!(before < Some(number), "message {number} of {name:?} is behind {before:?}");
            }
        }
        // What is gone does not come again.
        for name in words::queues() {
            let is_left = |number| left.iter().any(|it| it.queue == name && it.number == Some(number));
            let gone = (0..self.count()).filter(|number| !is_left(*number));
            settled.extend(gone.map(|number| (name.clone(), number)));
        }
    }
}

/// A client that looks at everything, and settles nothing.
struct Reader {
    id: ConnectionId,
    tap: Tap,
    now: Instant,
}

impl Reader {
    fn say(&mut self, broker: &mut Broker, mut bytes: BytesMut) -> Vec<Said> {
        let Some(mut connection) = broker.connection(self.id) else { return Vec::new() };
        connection.handle_input(&mut bytes, self.now);
        let outbox = connection.outbox();
        let heard: Vec<u8> = outbox.chunks().flatten().copied().collect();
        outbox.consume(heard.len());
        let (mut said, mut rest) = (Vec::new(), &heard[..]);
        while let Some(frame) = self.tap.peek(rest) {
            said.push(self.tap.take(&rest[..frame.len]));
            rest = &rest[frame.len..];
        }
        said
    }
}

/// Everything that is in the queues after a crash, which is there again when it was looked at.
pub(super) fn left(broker: &mut Broker, frame_max: u32, now: Instant) -> Vec<Left> {
    for name in words::queues() {
        let stats = stats(broker, &name);
        assert!(stats.is_none_or(|it| it.unacked + it.consumers == 0), "{stats:?} of {name:?}");
    }
    let id = broker.accept(Peer { loopback: true, name: "reader".into() }, now);
    let mut reader = Reader { id, tap: Tap::of_frames(), now };
    let mut open = login(frame_max, 0, true);
    peer::method(&mut open, 1, channel::Open {});
    reader.say(broker, open);
    let mut left = Vec::new();
    for queue in words::queues() {
        for _ in 0..stats(broker, &queue).map_or(0, |stats| stats.ready) {
            let mut get = BytesMut::new();
            peer::method(&mut get, 1, basic::Get { queue: queue.clone(), no_ack: false });
            let messages = reader.say(broker, get).into_iter();
            left.extend(messages.filter_map(|said| match said {
                Said::Message(message) => Some(Left {
                    queue: queue.clone(),
                    number: number_of(&message.body),
                    persistent: message.properties.delivery_mode == Some(2),
                    redelivered: matches!(&message.method, Method::BasicGetOk(ok) if ok.redelivered),
                }),
                _ => None,
            }));
        }
    }
    broker.release(id, now);
    let all: usize = words::queues().filter_map(|name| Some(stats(broker, &name)?.ready)).sum();
    assert_eq!(left.len(), all, "whoever asks is given what is there, and it is put back");
    let is_fine = |it: &&Left| it.persistent && it.redelivered;
    assert!(left.iter().all(|it| is_fine(&it)), "{left:?}");
    left
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use hopmq_proto::amqp::queue;
    use hopmq_proto::broker::Config;

    use super::super::broker::broker_ops;
    use super::*;
    use crate::fuzz::ops::ear;
    use crate::world::rng::Rng;

    const FRAME_MAX: u32 = 8192;
    const NOW: Instant = Instant::from_nanos(1 << 40);

    /// What three clients do, with many crashes and connections that are made again.
    #[test]
    fn crashes_between_all_kinds_of_steps_hold() {
        for seed in 0..400 {
            let mut rng = Rng::new(seed);
            let mut octet = |bound| u8::try_from(rng.below(bound)).unwrap_or(0);
            let mut data = Vec::new();
            for _ in 0..50 + seed % 250 {
                let at = octet(3);
                match octet(24) {
                    0 => data.extend([at | 13 << 2, [0x77, 0x77, 0xF7][usize::from(octet(3))]]),
                    1..=4 => data.extend([at | 13 << 2, 5]), // connects again where that is over
                    5..=8 => data.push(at),                  // opens a channel
                    9 | 10 => data.extend([at | 1 << 2, 2, 1, 0, 0]), // declares a durable queue
                    11..=15 => data.extend([at | 5 << 2, 4 * octet(2), 0, 0]), // publishes to it
                    16 | 17 => data.extend([at | 1 << 2, 4, 1, 0, 0, 0]), // consumes
                    18 | 19 => data.extend([at | 1 << 2, 6, 1, 0]), // gets
                    20 | 21 => data.extend([at | 7 << 2, octet(4), octet(16)]), // settles
                    22 => data.extend([at | 10 << 2, 0]),    // reads
                    _ => data.push(octet(256)),
                }
            }
            broker_ops(&data);
        }
    }

    /// A queue with three messages, of which the second is not kept; a client holds the first two.
    fn broker(published: &mut Published) -> Broker {
        let mut broker = Broker::new(Config::default());
        let id = broker.accept(Peer { loopback: true, name: "writer".into() }, NOW);
        let mut bytes = login(FRAME_MAX, 0, true);
        peer::method(&mut bytes, 1, channel::Open {});
        let queue = ShortStr::from_static("q0");
        peer::method(
            &mut bytes,
            1,
            queue::Declare { queue: queue.clone(), durable: true, ..Default::default() },
        );
        for number in 0..3 {
            let publish = basic::Publish { routing_key: queue.clone(), ..Default::default() };
            let properties = words::properties(if number == 1 { 4 } else { 0 });
            peer::content(&mut bytes, 1, publish, &properties, &ear::body(number, 0));
            published.add(id, number != 1);
        }
        for _ in 0..2 {
            peer::method(&mut bytes, 1, basic::Get { queue: queue.clone(), no_ack: false });
        }
        let mut writer = Reader { id, tap: Tap::of_frames(), now: NOW };
        writer.say(&mut broker, bytes);
        broker
    }

    #[test]
    fn what_a_crash_does_wrong_is_found() {
        let found = |disk: Disk, tamper: fn(&mut Vec<Left>), settled: Option<u64>| {
            let mut published = Published::default();
            let mut broker = broker(&mut published);
            let queue = || ShortStr::from_static("q0");
            let held = BTreeMap::from([(queue(), vec![0, 1])]);
            let before = Before::new(&broker, disk, held);
            assert_eq!(before.held.len(), 1, "the broker says the same");
            broker.crash(Disk::Kept);
            let mut left = left(&mut broker, FRAME_MAX, NOW);
            assert_eq!(left.iter().filter_map(|it| it.number).collect::<Vec<_>>(), [0, 2]);
            tamper(&mut left);
            let mut settled: Settled = settled.map(|number| (queue(), number)).into_iter().collect();
            let check = AssertUnwindSafe(|| published.check(&before, &left, &broker, &mut settled));
            let is_found = catch_unwind(check).is_err();
            assert!(is_found || settled.contains(&(queue(), 1)), "what is gone does not come again");
            is_found
        };
        assert!(!found(Disk::Kept, |_| (), None));
        assert!(found(Disk::Lost, |_| (), None), "there is something without a disk");
        assert!(found(Disk::Kept, |left| drop(left.remove(0)), None), "what was held is gone");
        assert!(found(Disk::Kept, |left| left.swap(0, 1), None), "they are not in their order");
        assert!(found(Disk::Kept, |left| left[0].number = Some(1), None), "it was not kept");
        assert!(found(Disk::Kept, |left| left[0].number = Some(7), None), "nobody published it");
        assert!(found(Disk::Kept, |_| (), Some(2)), "it was settled");
    }
}
