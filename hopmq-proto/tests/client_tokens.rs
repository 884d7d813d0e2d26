//! Each token is resolved by exactly one event, and the terminal event comes once and last, whatever happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;
#[path = "support/world.rs"]
mod world;

use hopmq_proto::amqp::connection;
use hopmq_proto::client::Config;
use proptest::prelude::*;
use support::*;
use world::{Op, World};

const CHANNELS: u16 = 3;

fn config() -> Config {
    Config {
        channel_max: seconds(CHANNELS),
        max_calls: 8,
        max_unconfirmed: 6,
        max_outbox: 60_000,
        max_body_size: 40_000,
        max_event_bytes: 20_000,
        ..Config::default()
    }
}

/// What happens while both sides keep to the protocol.
fn fair() -> impl Strategy<Value = Op> {
    let (at, channel, len) = (any::<usize>(), 1..=CHANNELS, prop_oneof![0..200u16, 0..=45_000u16]);
    let confirm = (1..=CHANNELS, 0..8u64, any::<bool>(), any::<bool>());
    prop_oneof![
        4 => Just(Op::OpenChannel),
        1 => any::<usize>().prop_map(Op::CloseChannel),
        8 => (at, any::<u8>()).prop_map(|(at, kind)| Op::Call(at, kind)),
        8 => (any::<usize>(), any::<bool>(), len.clone()).prop_map(|(at, m, len)| Op::Publish(at, m, len)),
        2 => any::<usize>().prop_map(Op::AwaitConfirms),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, kind)| Op::Settle(at, kind)),
        2 => any::<usize>().prop_map(Op::Abandon),
        1 => any::<bool>().prop_map(Op::GiveBack),
        1 => any::<bool>().prop_map(Op::Pause),
        10 => prop_oneof![4 => Just(u32::MAX), 1 => 0..2000u32].prop_map(Op::Read),
        12 => channel.clone().prop_map(Op::Answer),
        4 => Just(Op::Serve),
        3 => (channel.clone(), 0..20u64, len).prop_map(|(channel, tag, len)| Op::Deliver(channel, tag, len)),
        1 => (channel.clone(), 0..200u16).prop_map(|(channel, len)| Op::Return(channel, len)),
        8 => confirm.prop_map(|(channel, tag, multiple, ack)| Op::Confirm(channel, tag, multiple, ack)),
        1 => channel.clone().prop_map(Op::CloseFrom),
        1 => (channel.clone(), prop::bool::weighted(0.8)).prop_map(|(channel, active)| Op::Flow(channel, active)),
        1 => (channel, any::<bool>()).prop_map(|(channel, no_wait)| Op::Cancel(channel, no_wait)),
        1 => prop::bool::weighted(0.2).prop_map(Op::Blocked),
        1 => Just(Op::Heartbeat),
        2 => prop_oneof![6 => 0..2000u32, 1 => 0..70_000u32].prop_map(Op::Pass),
    ]
}

/// What ends a connection, most often.
fn unfair() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Close),
        1 => Just(Op::Answer(0)),
        1 => Just(Op::CloseFrom(0)),
        1 => (0..=CHANNELS, any::<u8>()).prop_map(|(channel, at)| Op::Method(channel, at)),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Op::Bytes),
        1 => Just(Op::Eof),
        1 => Just(Op::TransportError),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(prop_oneof![60 => fair(), 1 => unfair()], 0..200)
}

fn world(heartbeat: u16, open: bool, chunk: usize) -> World {
    World::new(config(), connection::Tune { heartbeat, ..TUNE }, open, chunk)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_token_is_resolved_once_and_the_end_comes_last(ops in ops(), heartbeat in prop_oneof![3 => Just(0), 1 => 1..60u16], open in prop::bool::weighted(0.95)) {
        world(heartbeat, open, usize::MAX).run(&ops);
    }

    #[test]
    fn any_chunking_gives_the_same_events_and_bytes(ops in ops(), chunk in 1..50usize) {
        prop_assert_eq!(world(20, true, usize::MAX).run(&ops), world(20, true, chunk).run(&ops));
    }

    #[test]
    fn damaged_conversations_do_not_depend_on_chunking(
        ops in prop::collection::vec(prop_oneof![10 => fair(), 10 => unfair()], 0..60),
        open: bool,
        chunk in 1..50usize,
    ) {
        prop_assert_eq!(world(20, open, usize::MAX).run(&ops), world(20, open, chunk).run(&ops));
    }
}
