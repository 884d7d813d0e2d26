//! What a seed sets up: limits from tiny to ample, heartbeats of several lengths or none.

use std::num::NonZeroU16;
use std::time::Duration;

use hopmq_proto::amqp::Credentials;
use hopmq_proto::broker;
use hopmq_proto::client::{Config, Heartbeat};

use super::rng::Rng;

pub(super) fn broker(rng: &mut Rng, seed: u64) -> broker::Config {
    broker::Config {
        seed,
        heartbeat: Duration::from_secs(rng.pick(&[0, 2, 10, 60])),
        max_outbox_bytes: rng.pick(&[2_000, 20_000, 1 << 20]),
        frame_max: rng.pick(&[8192, 20_000, 131_072]),
        channel_max: rng.pick(&[3, 2047]),
        max_unacked_per_channel: rng.pick(&[2, 10, 1_000_000]),
        ..broker::Config::default()
    }
}

pub(super) fn client(rng: &mut Rng) -> Config {
    let seconds = |seconds| Heartbeat::Seconds(NonZeroU16::new(seconds).unwrap_or(NonZeroU16::MIN));
    let heartbeats = [Heartbeat::Server, Heartbeat::Off, seconds(1), seconds(5)];
    let password = if rng.percent(98) { "guest" } else { "wrong" };
    Config {
        credentials: Credentials::new("guest", password),
        heartbeat: rng.pick(&heartbeats),
        frame_max: rng.pick(&[0, 8192, 131_072]),
        call_timeout: Duration::from_secs(rng.pick(&[5, 30])),
        confirm_timeout: Duration::from_secs(rng.pick(&[3, 60])),
        max_outbox: rng.pick(&[1, 3_000, 1 << 20, 1 << 20]),
        max_unconfirmed: rng.pick(&[1, 5, 65_536, 65_536]),
        max_calls: rng.pick(&[1, 4, 1024, 1024]),
        max_event_bytes: rng.pick(&[1, 5_000, 4 << 20]),
        ..Config::default()
    }
}
