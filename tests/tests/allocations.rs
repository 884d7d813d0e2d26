//! How much memory the client takes, as an allocator counts it: within the bounds of its configuration, whatever the
//! server sends, and no more after many rounds than after few.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use hopmq_proto::client::Config;
use hopmq_tests::fuzz::{Watched, client_input_config, client_input_watched};
use hopmq_tests::scenarios::{self, Server, cancel_safety};
use hopmq_tokio::{Broker, BrokerConfig, Confirms};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The allocator counts for the whole process, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// The frames that the server may send here, and the channels: what it says in `connection.tune`.
const FRAME_MAX: usize = 8192;
const CHANNELS: usize = 3;

/// The most that a client may hold, as the documentation of [`Config`] states it, with `outbox` octets in its outbox
/// and `input` octets handed in at once. While it decodes a frame it may take [`TABLE`] times the frame besides, and
/// [`KEPT`] times the frame in which the server says what it is, when it does.
fn bound(config: &Config, outbox: usize, input: usize) -> usize {
    const FIXED: usize = 24 * 1024;
    /// For each octet of what the events come from; the queue of events doubles where it has to grow.
    const EVENTS: usize = 4;
    const CALL: usize = 256;
    let channel = config.max_body_size + FRAME_MAX + 512 + (config.max_calls + config.max_unconfirmed) * CALL;
    FIXED + CHANNELS * channel + EVENTS * (config.max_event_bytes + input) + 2 * outbox
}

/// For each octet of a table, decoded: an array of nothing but voids has one octet for each 40, and doubles when it grows.
const KEPT: usize = 80;
/// The same, while it grows and the smaller half is not yet given back.
const TABLE: usize = 128;

fn check_bounds(data: &[u8], takes_events: bool) {
    let config = client_input_config();
    let properties = if data.first().is_some_and(|how| how & 3 == 0) { KEPT * FRAME_MAX } else { 0 };
    let mut base = 0;
    client_input_watched(data, takes_events, |watched| match watched {
        Watched::Start => {
            MEMORY.reset_peak_usage();
            base = MEMORY.current_usage();
        }
        Watched::Step { outbox } => {
            let (held, peak) = (MEMORY.current_usage(), MEMORY.peak_usage());
            let bound = bound(&config, outbox, FRAME_MAX) + properties;
            assert!(held.saturating_sub(base) <= bound, "{} held, {bound} allowed", held - base);
            let bound = bound + TABLE * FRAME_MAX;
            assert!(peak.saturating_sub(base) <= bound, "{} at the peak, {bound} allowed", peak - base);
            MEMORY.reset_peak_usage();
        }
    });
}

/// A step of `client_input`: anything, or one that gets somewhere.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let on_channel =
        |kind: u8| (0..32u8, any::<u8>()).prop_map(move |(how, what)| vec![how << 3 | kind, what]);
    prop_oneof![
        1 => any::<(u8, u8)>().prop_map(|(step, what)| vec![step, what]),
        4 => on_channel(1), // commands
        4 => on_channel(2), // answers
        4 => on_channel(3), // contents
        2 => on_channel(4), // time
        1 => on_channel(5), // the network takes some
        1 => Just(vec![7 << 3 | 1, 0]), // close
        1 => huge().prop_map(|bytes| raw(&bytes)),
        1 => tables().prop_map(|bytes| raw(&bytes)),
        1 => proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| raw(&bytes)),
    ]
}

/// What the server sends as it is, at most 255 octets at once.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let pieces = bytes.chunks(255);
    pieces.flat_map(|piece| [&[0, u8::try_from(piece.len()).unwrap()], piece].concat()).collect()
}

/// A delivery whose header announces more than there is memory, or just too much.
fn huge() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![Just(u64::MAX), Just(u64::MAX / 2), Just(1 << 40), Just(20_001), Just(20_000)];
    (0..4u8, size).prop_map(|(channel, size)| {
        let deliver = [&[0, 60, 0, 60, 1, b'c'][..], &7u64.to_be_bytes(), &[0, 0, 0]].concat();
        let header = [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat();
        [frame(1, channel, &deliver), frame(2, channel, &header)].concat()
    })
}

/// `connection.start` with as many fields as fit the frame, each as small as can be; or one that says so and lies.
fn tables() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop_oneof![Just(4000usize), Just(100), Just(0)];
    (fields, any::<bool>(), 0..2u8).prop_map(|(fields, lies, channel)| {
        let len = if lies { u32::MAX } else { u32::try_from(fields * 2).unwrap() };
        let table = [&len.to_be_bytes()[..], &b"\0V".repeat(fields)].concat();
        let start =
            [&[0, 10, 0, 10, 0, 9][..], &table, &[0, 0, 0, 5], b"PLAIN", &[0, 0, 0, 5], b"en_US"].concat();
        frame(1, channel, &start)
    })
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&[kind, 0, channel][..], &len.to_be_bytes(), payload, &[0xce]].concat()
}

#[test]
fn whatever_comes_the_client_keeps_within_its_bounds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let how = prop_oneof![any::<u8>(), any::<u8>().prop_map(|how| how | 7)]; // open, every other time
    let script = (how, proptest::collection::vec(step(), 0..60), any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1500)
    });
    let tried = runner.run(&script, |(how, steps, takes_events)| {
        let data: Vec<u8> = std::iter::once(how).chain(steps.into_iter().flatten()).collect();
        check_bounds(&data, takes_events);
        Ok(())
    });
    tried.unwrap();
}

/// Whatever is dropped at whatever poll, nothing of it is kept, neither by the client nor by the broker.
#[test]
fn many_rounds_of_dropped_futures_leave_as_much_as_few() {
    const ROUNDS: usize = 12;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut held = Vec::with_capacity(ROUNDS);
    scenarios::current_thread().block_on(async {
        let server = Server::memory().await;
        cancel_safety::rounds(&server, cancel_safety::OPERATIONS, ROUNDS, |_| {
            held.push(MEMORY.current_usage());
        })
        .await;
    });
    let (few, many) = (held.iter().take(4).max().unwrap(), held.last().unwrap());
    assert!(*many <= few + 4096, "more and more is held: {held:?}");
}

/// A connection on which all sorts of things are under way when it goes, in one of the ways that there are.
async fn come_and_go(broker: &Broker, way: usize) {
    let connection = broker.connect().await.unwrap();
    let (channel, other) =
        (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    let mut confirms = Confirms::new();
    for _ in 0..5 {
        confirms.push(publisher.publish(queue.name(), "message").send().await.unwrap());
    }
    confirms.wait().await.unwrap();
    let mut consumer = other.consume(queue.name()).prefetch(2).await.unwrap();
    consumer.next().await.unwrap().ack().unwrap();
    let unsettled = consumer.next().await;
    let client = other.rpc_client().await.unwrap();
    let mut call = client.call(queue.name(), "never answered").into_future();
    let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
    let calls = (channel.get(queue.name()), connection.open_channel(), other.publisher().into_future());
    let unconfirmed = publisher.publish(queue.name(), "unconfirmed").send().await.unwrap();
    let mut events = connection.events();
    match way % 4 {
        0 => connection.close().await.unwrap(),
        1 => connection.abort(),
        2 => drop(connection.close()),
        _ => {} // the last handle goes
    }
    assert!(!polled);
    drop(call);
    drop((calls, unsettled, unconfirmed, consumer, client, publisher, channel, other, connection));
    while events.next().await.is_some() {}
}

/// Tasks, connections, queues and memory come back.
#[test]
fn a_thousand_connections_leave_nothing_behind() {
    const CYCLES: usize = 1000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    scenarios::current_thread().block_on(async {
        let broker = Broker::in_memory(BrokerConfig::default());
        let tasks = tokio::runtime::Handle::current().metrics();
        let none = tasks.num_alive_tasks();
        let mut held = Vec::with_capacity(CYCLES);
        for cycle in 0..CYCLES {
            come_and_go(&broker, cycle).await;
            while broker.connections() > 0 || tasks.num_alive_tasks() > none {
                tokio::task::yield_now().await; // a test that waits for ever has failed
            }
            held.push(MEMORY.current_usage());
        }
        let (few, many) = (held[..100].iter().max().unwrap(), held.last().unwrap());
        assert!(*many <= few + 1024, "{few} after a hundred, {many} after a thousand");
    });
}

/// However often the wait for a shutdown is polled, the broker remembers who waits once.
#[test]
fn a_shutdown_that_is_polled_often_remembers_its_waker_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    scenarios::current_thread().block_on(async {
        let server = Server::memory().await;
        let _silent = server.raw_channel().await; // does not answer the close
        let broker = server.broker().unwrap();
        let mut shutdown = pin!(broker.shutdown());
        let mut held = Vec::with_capacity(10_000);
        for _ in 0..10_000 {
            assert!(poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx).is_pending())).await);
            held.push(MEMORY.current_usage());
        }
        assert!(held[9_999] <= held[10] + 1024, "{} are held, and were {}", held[9_999], held[10]);
    });
}
