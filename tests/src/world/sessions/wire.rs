use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::Instant;
use hopmq_proto::broker::ConnectionId;

use super::super::pipe::Pipe;
use super::super::rng::Rng;

/// One transport: two pipes, and the broker's end.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) user: usize,
    /// The broker's connection, until it is released.
    pub(super) connection: Option<ConnectionId>,
    pub(super) to_broker: Pipe,
    pub(super) to_client: Pipe,
    /// What the broker was handed and has not taken.
    pub(super) input: BytesMut,
    pub(super) next_fault: Option<Instant>,
}

impl Wire {
    pub(super) fn new(rng: &mut Rng, user: usize, connection: ConnectionId) -> Self {
        let slow = rng.percent(15);
        let capacity = if slow { rng.between(200, 4000) } else { rng.between(4000, 1 << 16) };
        let latency = Duration::from_micros(rng.pick(&[10, 500, 5_000, 40_000]));
        let mut pipe = || Pipe::new(rng, capacity as usize, latency);
        let (to_broker, to_client) = (pipe(), pipe());
        let input = BytesMut::new();
        Self { user, connection: Some(connection), to_broker, to_client, input, next_fault: None }
    }

    /// The connection breaks. Each side learns of it, the one sooner and the other later.
    pub(super) fn cut(&mut self, rng: &mut Rng, now: Instant) {
        let soon = Duration::from_millis(rng.below(100));
        let late = Duration::from_millis(rng.pick(&[0, 10, 500, 5_000, 20_000]));
        let (client, broker) = if rng.percent(50) { (soon, late) } else { (late, soon) };
        self.to_client.cut(rng, now, client);
        self.to_broker.cut(rng, now, broker);
    }

    /// Something goes wrong.
    pub(super) fn fault(&mut self, rng: &mut Rng, now: Instant) -> &'static str {
        let (one, other) = if rng.percent(50) {
            (&mut self.to_broker, &mut self.to_client)
        } else {
            (&mut self.to_client, &mut self.to_broker)
        };
        match rng.below(10) {
            0..=3 => {
                self.cut(rng, now);
                "cut"
            }
            4 => {
                one.end(rng, now);
                "half-close"
            }
            5 => {
                let until = now + Duration::from_secs(rng.between(5, 150));
                one.stall(until);
                other.stall(until);
                "long stall"
            }
            6 => {
                one.stall(now + Duration::from_secs(rng.between(2, 60)));
                "one-way stall"
            }
            7 => {
                one.latency = Duration::from_millis(rng.between(1, 400));
                one.capacity = rng.between(100, 3000) as usize;
                "throttle"
            }
            _ => {
                one.stall(now + Duration::from_millis(rng.between(1, 3000)));
                "stall"
            }
        }
    }
}
