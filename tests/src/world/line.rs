//! One life of one connection: a client, the broker's end, and the two pipes between them.

use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::Instant;
use hopmq_proto::broker::ConnectionId;

use super::client::Client;
use super::pipe::Pipe;
use super::rng::Rng;
use super::tap::Tap;

#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: Client,
    /// The broker's connection, until it is released.
    pub(super) connection: Option<ConnectionId>,
    pub(super) to_broker: Pipe,
    pub(super) to_client: Pipe,
    /// What the broker has been handed and has not taken.
    pub(super) input: BytesMut,
    /// What has come to the broker's end and is not handed over yet.
    pub(super) pending: BytesMut,
    /// How much of the front of `pending` is in `input` already: the beginning of a frame.
    pub(super) handed_over: usize,
    pub(super) heard: Tap,
    pub(super) seen: Tap,
    /// How much of the broker's outbox has been looked at.
    pub(super) looked_at: usize,
    /// The broker has reported the end.
    pub(super) broker_ended: bool,
    /// When the client does something next.
    pub(super) next_act: Option<Instant>,
    /// When something happens to the network next.
    pub(super) next_fault: Option<Instant>,
    /// It was well when the end began, so it must end well.
    pub(super) must_close: bool,
}

impl Line {
    pub(super) fn new(rng: &mut Rng, client: Client, connection: ConnectionId) -> Self {
        let slow = rng.percent(15);
        let capacity = if slow { rng.between(200, 4000) } else { rng.between(4000, 1 << 16) };
        let latency = Duration::from_micros(rng.pick(&[10, 500, 5_000, 40_000]));
        let mut pipe = || Pipe::new(rng, capacity as usize, latency);
        Self {
            client,
            connection: Some(connection),
            to_broker: pipe(),
            to_client: pipe(),
            input: BytesMut::new(),
            pending: BytesMut::new(),
            handed_over: 0,
            heard: Tap::default(),
            seen: Tap::of_frames(),
            looked_at: 0,
            broker_ended: false,
            next_act: None,
            next_fault: None,
            must_close: false,
        }
    }

    /// Both sides are done, and the network between them.
    pub(super) fn is_over(&self) -> bool {
        self.client.ended.is_some() && self.connection.is_none()
    }

    /// Something goes wrong between the two.
    pub(super) fn fault(&mut self, rng: &mut Rng, now: Instant) -> &'static str {
        let seconds = Duration::from_secs;
        let way = rng.percent(50);
        let (one, other) = if way {
            (&mut self.to_broker, &mut self.to_client)
        } else {
            (&mut self.to_client, &mut self.to_broker)
        };
        match rng.below(12) {
            0 => {
                one.cut(rng, now, seconds(rng.clone().below(3)));
                other.cut(rng, now, seconds(rng.clone().below(20)));
                "cut"
            }
            1 => {
                one.end(rng, now);
                "half-close"
            }
            2 => {
                let until = now + seconds(rng.between(20, 200));
                one.stall(until);
                other.stall(until);
                "long stall"
            }
            3 => {
                one.stall(now + seconds(rng.between(5, 100)));
                "one-way stall"
            }
            4..=5 => {
                one.latency = Duration::from_millis(rng.between(1, 400));
                one.capacity = rng.between(100, 3000) as usize;
                "throttle"
            }
            6 => {
                one.latency = Duration::from_micros(100);
                one.capacity = 1 << 16;
                "relief"
            }
            _ => {
                one.stall(now + Duration::from_millis(rng.between(1, 3000)));
                "stall"
            }
        }
    }
}
