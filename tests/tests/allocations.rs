//! How much memory the client takes, as an allocator counts it: within the bounds of its configuration, whatever the
//! server sends, and no more after many rounds than after few.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use bytes::BytesMut;
use hopmq_proto::amqp::{
    FieldTable, LongStr, Method, ShortStr, basic, channel, confirm, connection, exchange, queue, tx,
    write_method,
};
use hopmq_proto::client::Config;
use hopmq_tests::fuzz::{Watched, client_input_config, client_input_state, client_input_watched};
use hopmq_tests::scenarios::{self, On, Server, cancel_safety};
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

/// `frame` is the largest of the frames that carry tables.
fn check_bounds(data: &[u8], takes_events: bool, frame: usize) {
    let config = client_input_config();
    let properties = if data.first().is_some_and(|how| how & 3 == 0) { KEPT * frame } else { 0 };
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
            let bound = bound + TABLE * frame;
            assert!(peak.saturating_sub(base) <= bound, "{} at the peak, {bound} allowed", peak - base);
            MEMORY.reset_peak_usage();
        }
    });
}

// Steps of `client_input`.

const fn command(what: u8, detail: u8) -> [u8; 2] {
    [what << 3 | 1, detail]
}

const fn answer(channel: u8, which: u8) -> [u8; 2] {
    [channel << 3 | 2, which]
}

const fn content(channel: u8, what: u8, size: u8) -> [u8; 2] {
    [what << 5 | channel << 3 | 3, size]
}

const CONFIRMS: [[u8; 2]; 5] = [command(2, 0), answer(1, 5), command(4, 1), command(4, 1), command(4, 2)];

/// Where a client can be when something comes: what it is called, how far its opening is, the steps behind that, and
/// what is then seen of it.
const STATES: &[(&str, u8, &[[u8; 2]], &str)] = &[
    ("greeting", 0, &[], "step: Greeting"),
    ("login", 1, &[], "step: Login"),
    ("opening", 2, &[], "step: Opening"),
    ("open", 3, &[], "state: Open"),
    ("a channel opens", 3, &[command(0, 0)], "state: Opening"),
    ("a channel is open", 7, &[], "state: Open"),
    ("two channels", 7, &[command(0, 0), answer(2, 0)], "number: 2"),
    ("calls", 7, &[command(2, 5), command(2, 6), command(2, 1), command(2, 4)], "Cancel(\"c\")"),
    ("consuming", 7, &[command(2, 1), answer(1, 2)], "by_tag: Lookup(1)"),
    (
        "a body of a delivery",
        7,
        &[command(2, 1), answer(1, 2), content(1, 0, 251)],
        "Body(Partial { origin: Deliver",
    ),
    ("a body of a return", 7, &[content(1, 3, 252)], "Body(Partial { origin: Return"),
    ("a body of a get", 7, &[command(2, 3), content(1, 2, 253)], "Body(Partial { origin: Get"),
    ("unconfirmed", 7, &CONFIRMS, "unresolved: 3"),
    ("a wait for confirms", 7, &[CONFIRMS[0], CONFIRMS[1], CONFIRMS[2], command(7, 1)], "Wait {"),
    ("a commit", 7, &[command(2, 15), answer(1, 47), command(2, 23), command(2, 5)], "committing: true"),
    ("a channel closes", 7, &[command(1, 0)], "state: Closing"),
    ("blocked", 7, &[answer(0, 12)], "blocked: true"),
    ("a new secret", 7, &[command(7, 2)], "Method((10, 71))"),
    ("paused", 7, &[[1 << 3 | 6, 0]], "paused: true"),
    ("closing", 7, &[command(7, 0)], "state: Closing"),
    ("closed", 7, &[answer(0, 30)], "state: Ending"),
];

/// The beginning of a script that brings the client there, by pieces that `chunk` tells the size of.
fn begin(chunk: u8, opening: u8, steps: &[[u8; 2]]) -> Vec<u8> {
    let steps = steps.iter().flat_map(|step| &step[..if step[0] & 7 == 6 { 1 } else { 2 }]);
    std::iter::once(chunk << 5 | opening).chain(steps.copied()).collect()
}

#[test]
fn each_state_is_reached() {
    for (name, opening, steps, sign) in STATES {
        let state = client_input_state(&begin(7, *opening, steps));
        assert!(state.contains(sign), "{name}: {state}");
    }
}

/// What a server sends, frame by frame, and what only a client may send.
fn frames(channel: u16) -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = methods().iter().map(|method| encode(channel, method)).collect();
    let number = u8::try_from(channel).unwrap();
    frames.push(frame(8, number, &[])); // a heartbeat
    for size in [0, 100, 10_000] {
        frames.push(header(number, size));
    }
    frames.push(frame(3, number, &[7; 100]));
    frames
}

/// Whole messages.
fn messages(channel: u16) -> Vec<Vec<u8>> {
    let methods: [Method; 3] = [
        basic::Deliver { consumer_tag: ShortStr::from_static("c"), delivery_tag: 1, ..Default::default() }
            .into(),
        basic::GetOk { delivery_tag: 1, ..Default::default() }.into(),
        basic::Return { reply_code: 312, ..Default::default() }.into(),
    ];
    let number = u8::try_from(channel).unwrap();
    let content = [header(number, 100), frame(3, number, &[7; 100])].concat();
    methods.map(|method| [&encode(channel, &method)[..], &content].concat()).to_vec()
}

fn encode(channel: u16, method: &Method) -> Vec<u8> {
    let mut frame = BytesMut::new();
    write_method(&mut frame, channel, FRAME_MAX, method).unwrap();
    frame.to_vec()
}

fn methods() -> Vec<Method> {
    let tag = || ShortStr::from_static("c");
    let table = FieldTable::new().with("a", 1).with("b", "text").with("c", FieldTable::new().with("d", true));
    let start = connection::Start {
        version_minor: 9,
        server_properties: table.clone(),
        mechanisms: LongStr::from_static("PLAIN"),
        locales: LongStr::from_static("en_US"),
        ..Default::default()
    };
    let declare = queue::Declare { queue: tag(), arguments: table, ..Default::default() };
    vec![
        start.into(),
        connection::Secure::default().into(),
        connection::Tune { channel_max: 3, frame_max: 8192, heartbeat: 0 }.into(),
        connection::OpenOk {}.into(),
        connection::Blocked::default().into(),
        connection::Unblocked {}.into(),
        connection::UpdateSecretOk {}.into(),
        connection::Close::default().into(),
        connection::CloseOk {}.into(),
        channel::OpenOk {}.into(),
        channel::Flow { active: false }.into(),
        channel::FlowOk { active: true }.into(),
        channel::Close::default().into(),
        channel::CloseOk {}.into(),
        exchange::DeclareOk {}.into(),
        exchange::BindOk {}.into(),
        queue::DeclareOk { queue: tag(), message_count: 1, consumer_count: 2 }.into(),
        queue::PurgeOk { message_count: 7 }.into(),
        queue::DeleteOk { message_count: 7 }.into(),
        queue::BindOk {}.into(),
        basic::QosOk {}.into(),
        basic::ConsumeOk { consumer_tag: tag() }.into(),
        basic::CancelOk { consumer_tag: tag() }.into(),
        basic::Cancel { consumer_tag: tag(), no_wait: false }.into(),
        basic::RecoverOk {}.into(),
        basic::GetEmpty {}.into(),
        basic::Ack { delivery_tag: 1, multiple: false }.into(),
        basic::Ack { delivery_tag: 0, multiple: true }.into(),
        basic::Nack { delivery_tag: 2, multiple: true, requeue: false }.into(),
        basic::Deliver { consumer_tag: tag(), delivery_tag: 1, ..Default::default() }.into(),
        basic::GetOk { delivery_tag: 1, ..Default::default() }.into(),
        basic::Return { reply_code: 312, ..Default::default() }.into(),
        confirm::SelectOk {}.into(),
        tx::SelectOk {}.into(),
        tx::CommitOk {}.into(),
        tx::RollbackOk {}.into(),
        declare.into(), // only a client may
    ]
}

/// A header frame, with a content type.
fn header(channel: u8, size: u64) -> Vec<u8> {
    frame(2, channel, &[&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0x80, 0, 1, b't']].concat())
}

/// Some frames in a row, some octets of them not as they were.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let some = (0..4u16, any::<prop::sample::Index>());
    let some = some.prop_map(|(channel, which)| which.get(&frames(channel)).clone());
    let mutation = (any::<prop::sample::Index>(), 0..6usize, prop::collection::vec(any::<u8>(), 0..6));
    (prop::collection::vec(some, 1..5), prop::collection::vec(mutation, 0..3)).prop_map(
        |(frames, mutations)| {
            let mut bytes = frames.concat();
            for (at, removed, inserted) in mutations {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..(at + removed).min(bytes.len()), inserted);
            }
            bytes
        },
    )
}

/// What the server sends as it is, cut anywhere.
fn raw(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (bytes, prop::collection::vec(1..=255u8, 1..8)).prop_map(|(bytes, sizes)| pieces(&bytes, &sizes))
}

fn pieces(mut bytes: &[u8], sizes: &[u8]) -> Vec<u8> {
    let mut steps = Vec::new();
    for size in sizes.iter().cycle() {
        let (piece, rest) = bytes.split_at(bytes.len().min((*size).into()));
        if piece.is_empty() {
            break;
        }
        steps.extend([0, u8::try_from(piece.len()).unwrap()]);
        steps.extend(piece);
        bytes = rest;
    }
    steps
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
        1 => Just(command(7, 0).to_vec()), // close
        1 => raw(huge()),
        4 => raw(mutated()),
        2 => raw(prop::collection::vec(any::<u8>(), 0..200)),
    ]
}

/// A delivery that is larger than there is memory, or just too large, or not.
fn huge() -> impl Strategy<Value = Vec<u8>> {
    const SIZES: &[u64] = &[u64::MAX, u64::MAX / 2, 1 << 40, 8 << 20, 20_001, 20_000];
    (0..4u8, prop::sample::select(SIZES)).prop_map(|(channel, size)| {
        let deliver = [&[0, 60, 0, 60, 1, b'c'][..], &7u64.to_be_bytes(), &[0, 0, 0]].concat();
        [frame(1, channel, &deliver), header(channel, size), frame(3, channel, &[7; 300])].concat()
    })
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&[kind, 0, channel][..], &len.to_be_bytes(), payload, &[0xce]].concat()
}

/// Any bytes, cut anywhere, in any state: nothing panics, nothing waits for ever (`client_input` looks after both), and
/// what is allocated keeps within the bounds.
#[test]
fn whatever_comes_the_client_keeps_within_its_bounds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let how = prop_oneof![any::<u8>(), any::<u8>().prop_map(|how| how | 7)].prop_map(|how| vec![how]);
    let state = (0..8u8, prop::sample::select(STATES))
        .prop_map(|(chunk, (_, opening, steps, _))| begin(chunk, opening, steps));
    let script = (prop_oneof![1 => how, 3 => state], prop::collection::vec(step(), 0..40), any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1500)
    });
    let tried = runner.run(&script, |(mut data, steps, takes_events)| {
        data.extend(steps.into_iter().flatten());
        check_bounds(&data, takes_events, 2048); // there are no larger tables
        Ok(())
    });
    tried.unwrap();
}

/// Whatever comes again and again, in any state, nothing piles up.
#[test]
fn nothing_piles_up() {
    const TIMES: usize = 150;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (_, opening, steps, _) in STATES {
        for channel in 0..3 {
            let mut all = frames(channel);
            all.extend(messages(channel));
            all.push(vec![b'x'; 200]); // no AMQP
            for frame in all {
                let mut data = begin(7, *opening, steps);
                for _ in 0..TIMES {
                    data.extend(pieces(&frame.repeat(20), &[255]));
                    data.extend([31 << 3 | 5, 255]); // the network takes all
                }
                check_bounds(&data, true, frame.len());
                check_bounds(&data, false, frame.len()); // the owner takes events when it is told to read no more
            }
        }
    }
}

/// Tables of as many fields as fit the frame, each as small as can be; or that say so and lie.
#[test]
fn tables_are_decoded_within_the_bounds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let fields = b"\0V".repeat(4060);
    let array = [&[0, b'A'][..], &8100u32.to_be_bytes(), &[b'V'; 8100]].concat();
    let arrays = b"\0A\0\0\0\0".repeat(1350);
    for fields in [fields, array, arrays] {
        for len in [u32::try_from(fields.len()).unwrap(), u32::MAX] {
            let table = [&len.to_be_bytes()[..], &fields].concat();
            let start = [&[0, 10, 0, 10, 0, 9][..], &table, &[0, 0, 0, 5], b"PLAIN", &[0, 0, 0, 5], b"en_US"]
                .concat();
            assert!((8000..FRAME_MAX - 8).contains(&start.len()), "it fits, just so");
            for (_, opening, steps, _) in STATES {
                for channel in 0..2 {
                    let start = frame(1, channel, &start);
                    let data = [begin(6, *opening, steps), pieces(&start, &[255])].concat();
                    check_bounds(&data, true, FRAME_MAX);
                }
            }
        }
    }
}

/// Whatever is dropped at whatever poll, nothing of it is kept, neither by the client nor by the broker.
#[test]
fn many_rounds_of_dropped_futures_leave_as_much_as_few() {
    const ROUNDS: usize = 12;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut held = Vec::with_capacity(ROUNDS);
    scenarios::current_thread().block_on(async {
        let server = Server::memory(On::Tokio).await;
        cancel_safety::rounds(&server, cancel_safety::OPERATIONS, ROUNDS, |_| {
            held.push(MEMORY.current_usage());
        })
        .await;
    });
    let (few, many) = (held.iter().take(4).max().unwrap(), held.last().unwrap());
    assert!(*many <= few + 4096, "more and more is held: {held:?}");
}

/// However often the wait for a shutdown is polled, the broker remembers who waits once.
#[test]
fn a_shutdown_that_is_polled_often_remembers_its_waker_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    scenarios::current_thread().block_on(async {
        let server = Server::memory(On::Tokio).await;
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
