//! The network, host by host and fault by fault, seen by raw streams.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]
#![allow(clippy::indexing_slicing, clippy::needless_pass_by_value, clippy::semicolon_if_nothing_returned)]

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

use bytes::BytesMut;
use hopmq_sim::io::Transport;
use hopmq_sim::{Host, JoinError, Link, Sim, Stream};

const PORT: u16 = 7;

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(bytes)])).await
}

async fn write_all(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = write(stream, bytes).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

async fn read(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut input = BytesMut::with_capacity(1 << 16);
    poll_fn(|cx| stream.poll_read(cx, &mut input)).await?;
    Ok(input.to_vec())
}

/// Reads until the end, or a reset.
async fn read_all(stream: &mut Stream) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    loop {
        match read(stream).await {
            Ok(bytes) if bytes.is_empty() => return (all, Ok(())),
            Ok(bytes) => all.extend(bytes),
            Err(error) => return (all, Err(error)),
        }
    }
}

/// Two hosts with a link without jitter, and a connection from the first to the second.
async fn pair(sim: &Sim, link: Link) -> (Host, Host, Stream, Stream) {
    let (a, b) = (sim.host("a"), sim.host("b"));
    a.set_link(&b, link.jitter(Duration::ZERO));
    let mut listener = b.listen(PORT).unwrap();
    let dialled = a.dial("b", PORT).await.unwrap();
    let accepted = listener.accept().await.unwrap();
    (a, b, dialled, accepted)
}

fn run(test: impl AsyncFn(&Sim)) {
    for seed in 1..=20 {
        let sim = Sim::new(seed);
        if let Err(error) = sim.run(test(&sim)) {
            panic!("seed {seed}: {error}\n{}", sim.last_events());
        }
    }
}

#[test]
fn a_dial_takes_the_way_there_and_back_and_a_byte_the_way_there() {
    run(async |sim| {
        let link = Link::new().latency(secs(1));
        let (_a, _b, mut dialled, mut accepted) = pair(sim, link).await;
        assert_eq!(sim.now().as_nanos(), 2_000_000_000);
        write_all(&mut dialled, b"hello").await.unwrap();
        assert_eq!(read(&mut accepted).await.unwrap(), b"hello");
        assert_eq!(sim.now().as_nanos(), 3_000_000_000);
    });
}

#[test]
fn jitter_is_drawn_and_keeps_the_order() {
    run(async |sim| {
        let (a, b, mut dialled, mut accepted) = pair(sim, Link::new()).await;
        a.set_link(&b, Link::new().latency(secs(1)).jitter(secs(9)));
        let begin = sim.now();
        let host = a.clone();
        let writing = a.spawn(async move {
            for n in 0..50_u8 {
                write_all(&mut dialled, &[n]).await.unwrap();
                host.sleep(Duration::from_millis(100)).await;
            }
        });
        let (all, end) = read_all(&mut accepted).await;
        assert_eq!(all, (0..50).collect::<Vec<u8>>());
        end.unwrap();
        writing.await.unwrap();
        let took = sim.now() - begin;
        assert!(took > secs(6) && took < secs(15), "{took:?}");
    });
}

#[test]
fn bandwidth_is_time_and_a_window_holds_the_writer_back() {
    run(async |sim| {
        let link = Link::new().latency(secs(1)).bandwidth(1000).window(5000);
        let (a, _b, mut dialled, mut accepted) = pair(sim, link).await;
        let begin = sim.now();
        assert_eq!(write(&mut dialled, &[0; 9000]).await.unwrap(), 5000);
        let blocked = sim.timeout(secs(60), write(&mut dialled, &[0; 9000])).await;
        assert!(blocked.is_err(), "nobody has read");
        let reading = a.spawn(async move { read_all(&mut accepted).await.0.len() });
        write_all(&mut dialled, &[0; 10_000]).await.unwrap();
        drop(dialled);
        assert_eq!(reading.await.unwrap(), 15_000);
        let took = sim.now() - begin;
        assert_eq!(took.as_secs(), 60 + 2 * (5 + 1), "a window each time it was read");
    });
}

#[test]
fn what_waits_at_a_slow_link_goes_when_it_is_fast_again() {
    run(async |sim| {
        let (a, b, mut dialled, mut accepted) = pair(sim, Link::new()).await;
        let fast = a.link_to(&b);
        a.set_link(&b, fast.bandwidth(1000));
        write_all(&mut dialled, &[0; 100_000]).await.unwrap();
        write_all(&mut dialled, b"the end").await.unwrap();
        drop(dialled);
        sim.sleep(secs(3)).await;
        assert!(sim.timeout(Duration::ZERO, read(&mut accepted)).await.is_err());
        a.set_link(&b, fast);
        let again = sim.now();
        let (all, end) = read_all(&mut accepted).await;
        assert_eq!((all.len(), end.is_ok()), (100_007, true));
        assert_eq!(sim.now() - again, Duration::from_micros(500), "as long as any byte");
    });
}

#[test]
fn what_is_on_its_way_goes_on_when_a_link_changes_and_the_rest_at_the_new_speed() {
    run(async |sim| {
        let link = Link::new().latency(secs(1)).bandwidth(1000);
        let (a, b, mut dialled, mut accepted) = pair(sim, link).await;
        let begin = sim.now();
        write_all(&mut dialled, &[0; 10_000]).await.unwrap();
        drop(dialled);
        for _ in 0..4 {
            sim.sleep(secs(1)).await;
            let bandwidth = if a.link_to(&b) == link.jitter(Duration::ZERO) { 500 } else { 1000 };
            a.set_link(&b, link.jitter(Duration::ZERO).bandwidth(bandwidth));
        }
        let (all, end) = read_all(&mut accepted).await;
        assert_eq!((all.len(), end.is_ok()), (10_000, true));
        // 1000 + 500 + 1000 + 500, then 7 s for the other 7000.
        assert_eq!((sim.now() - begin).as_secs(), 4 + 7 + 1);
    });
}

#[test]
fn a_segment_is_what_one_read_gets() {
    run(async |sim| {
        let (_a, _b, mut dialled, mut accepted) = pair(sim, Link::new().segment(2)).await;
        write_all(&mut dialled, b"abcde").await.unwrap();
        for part in [&b"ab"[..], b"cd", b"e"] {
            assert_eq!(read(&mut accepted).await.unwrap(), part);
        }
    });
}

#[test]
fn who_lets_go_says_so_behind_what_it_wrote() {
    run(async |sim| {
        let (_a, _b, mut dialled, mut accepted) = pair(sim, Link::new()).await;
        write_all(&mut dialled, b"last words").await.unwrap();
        poll_fn(|cx| dialled.poll_shutdown(cx)).await.unwrap();
        assert_eq!(write(&mut dialled, b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (all, end) = read_all(&mut accepted).await;
        assert_eq!((&all[..], end.is_ok()), (&b"last words"[..], true));
        // The other direction is open still.
        write_all(&mut accepted, b"answer").await.unwrap();
        assert_eq!(read(&mut dialled).await.unwrap(), b"answer");
        drop(dialled);
        write_all(&mut accepted, b"nobody reads this").await.unwrap();
        assert_eq!(read(&mut accepted).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(write(&mut accepted, b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_write_of_nothing_is_nothing() {
    run(async |sim| {
        let (_a, _b, mut dialled, mut accepted) = pair(sim, Link::new().window(1)).await;
        assert_eq!(write(&mut dialled, b"").await.unwrap(), 0);
        assert_eq!(write(&mut dialled, b"x").await.unwrap(), 1);
        assert_eq!(write(&mut dialled, b"").await.unwrap(), 0, "it takes no room");
        drop(dialled);
        let (all, end) = read_all(&mut accepted).await;
        assert_eq!((&all[..], end.is_ok()), (&b"x"[..], true));
    });
}

/// Writes until it cannot any more.
async fn write_until_it_fails(mut stream: Stream) -> ErrorKind {
    loop {
        if let Err(error) = write(&mut stream, &[0; 4096]).await {
            return error.kind();
        }
    }
}

#[test]
fn who_waits_for_room_is_told_that_the_reader_let_go() {
    run(async |sim| {
        let (a, _b, dialled, accepted) = pair(sim, Link::new()).await;
        drop(accepted);
        let writing = a.spawn(write_until_it_fails(dialled));
        assert_eq!(writing.await, Ok(ErrorKind::BrokenPipe));
    });
}

#[test]
fn who_waits_for_room_is_told_of_a_reset_when_a_crashed_host_is_back() {
    run(async |sim| {
        let (a, b, dialled, _accepted) = pair(sim, Link::new()).await;
        let writing = a.spawn(write_until_it_fails(dialled));
        sim.sleep(Duration::from_micros(100)).await; // its window is full, and nothing has arrived yet
        b.crash();
        sim.sleep(secs(1)).await;
        b.restart();
        assert_eq!(writing.await, Ok(ErrorKind::BrokenPipe));
    });
}

#[test]
fn what_had_arrived_outlives_its_sender_and_is_not_sent_again_to_who_comes_after() {
    run(async |sim| {
        let (a, b, mut dialled, mut accepted) = pair(sim, Link::new()).await;
        write_all(&mut dialled, &[1; 100]).await.unwrap();
        sim.sleep(secs(1)).await;
        write_all(&mut dialled, &[2; 100]).await.unwrap();
        a.cut(&b);
        let (all, _reset) = read_all(&mut accepted).await;
        assert_eq!(all[..100], [1; 100], "the second hundred is cut");

        let (a, b, mut dialled, mut accepted) = pair(sim, Link::new()).await;
        write_all(&mut dialled, &[1; 100]).await.unwrap();
        write_all(&mut accepted, &[3; 100]).await.unwrap();
        sim.sleep(secs(1)).await;
        a.crash();
        assert_eq!(read(&mut accepted).await.unwrap(), [1; 100]);
        a.restart();
        assert!(sim.timeout(secs(3600), read(&mut accepted)).await.is_err(), "that it has is acknowledged");
        assert!(b.is_up());
    });
}

#[test]
fn what_nobody_has_read_makes_the_end_a_reset() {
    run(async |sim| {
        let (_a, _b, mut dialled, accepted) = pair(sim, Link::new()).await;
        write_all(&mut dialled, b"unread").await.unwrap();
        sim.sleep(secs(1)).await;
        drop(accepted);
        assert_eq!(read(&mut dialled).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_cut_is_at_any_byte_and_both_are_told() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 1..=40 {
        let sim = Sim::new(seed);
        let length = sim.run(async {
            let (a, b, mut dialled, mut accepted) = pair(&sim, Link::new()).await;
            write_all(&mut dialled, &[7; 100]).await.unwrap();
            a.cut(&b);
            let (all, end) = read_all(&mut accepted).await;
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(read(&mut dialled).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            all.len()
        });
        lengths.insert(length.unwrap());
    }
    assert!(lengths.len() > 20, "{lengths:?}");
}

#[test]
fn one_side_of_a_half_open_connection_knows_nothing() {
    run(async |sim| {
        let (a, b, mut dialled, mut accepted) = pair(sim, Link::new().window(10)).await;
        a.lose(&b);
        assert_eq!(read(&mut dialled).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(write(&mut accepted, &[0; 20]).await.unwrap(), 10, "it writes until its window is full");
        assert!(sim.timeout(secs(3600), write(&mut accepted, b"x")).await.is_err());
        assert!(sim.timeout(secs(3600), read(&mut accepted)).await.is_err());
        drop(dialled);
        assert!(sim.timeout(secs(3600), read(&mut accepted)).await.is_err());
    });
}

#[test]
fn a_partition_holds_everything_until_it_heals() {
    run(async |sim| {
        let (a, b, mut dialled, mut accepted) = pair(sim, Link::new().latency(secs(1))).await;
        write_all(&mut dialled, b"on its way, ").await.unwrap();
        a.partition(&b);
        write_all(&mut dialled, b"and behind it").await.unwrap();
        let host = a.clone();
        let dialling = a.spawn(async move { host.dial("b", 8).await.map(drop).unwrap_err().kind() });
        assert!(sim.timeout(secs(600), read(&mut accepted)).await.is_err());
        a.heal(&b);
        let healed = sim.now();
        assert_eq!(read(&mut accepted).await.unwrap(), b"on its way, and behind it");
        assert_eq!(sim.now() - healed, secs(1));
        assert_eq!(dialling.await.unwrap(), ErrorKind::ConnectionRefused);
        assert!(sim.now() - healed <= secs(3), "there and back, and tried again");
    });
}

#[test]
fn what_a_partition_held_takes_its_bandwidth_when_it_heals() {
    run(async |sim| {
        let (a, b, mut dialled, mut accepted) = pair(sim, Link::new().latency(secs(1)).bandwidth(1000)).await;
        a.partition(&b);
        write_all(&mut dialled, &[0; 5000]).await.unwrap();
        drop(dialled);
        sim.sleep(secs(60)).await;
        a.heal(&b);
        let healed = sim.now();
        assert_eq!(read_all(&mut accepted).await.0.len(), 5000);
        assert_eq!(sim.now() - healed, secs(6));
    });
}

#[test]
fn a_partition_has_a_direction() {
    run(async |sim| {
        let (a, b, mut dialled, mut accepted) = pair(sim, Link::new()).await;
        a.partition_to(&b);
        write_all(&mut dialled, b"x").await.unwrap();
        assert!(sim.timeout(secs(60), read(&mut accepted)).await.is_err());
        write_all(&mut accepted, b"y").await.unwrap();
        assert_eq!(read(&mut dialled).await.unwrap(), b"y");
    });
}

#[test]
fn of_a_crash_nothing_is_heard_until_the_host_is_back_and_is_asked() {
    run(async |sim| {
        let (_a, b, mut dialled, accepted) = pair(sim, Link::new()).await;
        b.crash();
        assert!(!b.is_up());
        write_all(&mut dialled, b"are you there?").await.unwrap();
        assert!(sim.timeout(secs(3600), read(&mut dialled)).await.is_err());
        drop(accepted); // it is nobody's any more
        b.restart();
        assert_eq!(read(&mut dialled).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

        let (_, _, mut dialled, _accepted) = pair(sim, Link::new()).await;
        b.crash();
        b.restart();
        assert!(sim.timeout(secs(3600), read(&mut dialled)).await.is_err(), "nobody has asked");
        write_all(&mut dialled, b"are you there?").await.unwrap();
        assert_eq!(read(&mut dialled).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn of_a_process_that_is_killed_the_end_is_heard() {
    run(async |sim| {
        let (_a, b, mut dialled, mut accepted) = pair(sim, Link::new()).await;
        write_all(&mut accepted, b"last words").await.unwrap();
        b.kill();
        let (all, end) = read_all(&mut dialled).await;
        assert_eq!((&all[..], end.is_ok()), (&b"last words"[..], true));
        assert_eq!(read(&mut accepted).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn the_kernel_of_a_killed_process_refuses_dials_and_answers_writes() {
    run(async |sim| {
        let (a, b, mut dialled, _accepted) = pair(sim, Link::new()).await;
        let _listener = b.listen(PORT).unwrap();
        b.kill();
        assert!(!b.is_up());
        let refused = sim.timeout(secs(1), a.dial("b", PORT)).await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(read(&mut dialled).await.unwrap(), b"", "the end");
        write_all(&mut dialled, b"are you there?").await.unwrap();
        let reset = sim.timeout(secs(1), read(&mut dialled)).await.unwrap().unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        // Then the power goes, too.
        b.crash();
        assert!(sim.timeout(secs(3600), a.dial("b", PORT)).await.is_err());
        b.kill();
        assert!(sim.timeout(secs(3600), a.dial("b", PORT)).await.is_err(), "that brings no kernel back");
        b.restart();
        assert_eq!(a.dial("b", PORT).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn who_accepts_is_told_of_a_crash() {
    run(async |sim| {
        let host = sim.host("h");
        for goes_down in [Host::crash, Host::kill] {
            let mut listener = host.listen(PORT).unwrap();
            let accepting = sim.spawn(async move { listener.accept().await.map(drop).unwrap_err() });
            sim.sleep(secs(1)).await;
            goes_down(&host);
            let error = accepting.await.unwrap();
            assert_eq!(
                (error.kind(), error.to_string()),
                (ErrorKind::NotConnected, "host h is down".to_owned())
            );
            host.restart();
        }
    });
}

#[test]
fn a_host_that_is_down_dials_nobody() {
    run(async |sim| {
        let (a, b) = (sim.host("a"), sim.host("b"));
        let mut listener = b.listen(PORT).unwrap();
        a.crash();
        let error = a.dial("b", PORT).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::NotConnected, "host a is down".to_owned()));
        let error = a.connect("amqp://b").await.unwrap_err();
        assert_eq!(error.to_string(), "cannot connect to b:5672: host a is down");
        assert!(sim.timeout(secs(60), listener.accept()).await.is_err());

        // It goes down while it dials.
        a.restart();
        b.crash();
        let dialling = {
            let a = a.clone();
            sim.spawn(async move { a.dial("b", PORT).await.map(drop) })
        };
        sim.sleep(secs(1)).await;
        a.crash();
        b.restart();
        assert_eq!(dialling.await.unwrap().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn a_crowd_gets_in_by_and_by() {
    run(async |sim| {
        let (a, b) = (sim.host("a"), sim.host("b"));
        a.set_link(&b, Link::new().jitter(Duration::ZERO));
        let mut listener = b.listen(PORT).unwrap();
        let dial = || {
            let a = a.clone();
            a.clone().spawn(async move { a.dial("b", PORT).await })
        };
        let dialling: Vec<_> = (0..300).map(|_| dial()).collect();
        sim.sleep(secs(60)).await;
        assert_eq!(dialling.iter().filter(|task| task.is_finished()).count(), 128);
        let mut accepted = Vec::new();
        for _ in 0..300 {
            accepted.push(sim.timeout(secs(5), listener.accept()).await.unwrap().unwrap());
        }
        for task in dialling {
            assert!(task.await.unwrap().is_ok());
        }

        // Those who wait are refused when nobody will accept any more.
        let dialling: Vec<_> = (0..130).map(|_| dial()).collect();
        sim.sleep(secs(60)).await;
        drop(listener);
        let mut refused = 0;
        for task in dialling {
            refused += usize::from(sim.timeout(secs(5), task).await.unwrap().unwrap().is_err());
        }
        assert_eq!(refused, 2);
    });
}

#[test]
fn tasks_go_with_their_host_and_programs_come_back() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    run(async |sim| {
        let host = sim.host("h");
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = starts.clone();
        host.start(move |_| {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::Relaxed);
                std::future::pending().await
            }
        });
        let token = Arc::new(());
        let held = token.clone();
        let task = host.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        sim.sleep(secs(1)).await;
        assert_eq!((Arc::strong_count(&token), starts.load(Ordering::Relaxed)), (2, 1));
        host.crash();
        assert_eq!(Arc::strong_count(&token), 1, "it is dropped at once");
        assert_eq!(task.await, Err(JoinError::Crashed));
        assert_eq!(host.spawn(async {}).await, Err(JoinError::Crashed), "the host is down");
        assert_eq!(host.listen(1).unwrap_err().kind(), ErrorKind::NotConnected);
        host.restart();
        sim.sleep(secs(1)).await;
        assert_eq!(starts.load(Ordering::Relaxed), 2);
        assert_eq!(host.spawn(async { 7 }).await, Ok(7));
    });
}

#[test]
fn a_task_can_crash_its_own_host() {
    run(async |sim| {
        let host = sim.host("h");
        let own = host.clone();
        let task = host.spawn(async move {
            own.crash();
            own.sleep(secs(1)).await;
        });
        assert_eq!(task.await, Err(JoinError::Crashed));
    });
}

#[test]
fn a_frozen_host_does_nothing_until_it_thaws() {
    run(async |sim| {
        let host = sim.host("h");
        host.freeze();
        let own = host.clone();
        let task = host.spawn(async move { own.now() });
        sim.sleep(secs(5)).await;
        host.thaw();
        assert_eq!(task.await.unwrap().as_nanos(), 5_000_000_000);
    });
}

#[test]
fn dials_are_refused_swallowed_or_go_to_nobody() {
    run(async |sim| {
        let (a, b, ..) = pair(sim, Link::new()).await;
        let kind = async || a.dial("b", PORT).await.map(drop).unwrap_err().kind();
        assert_eq!(kind().await, ErrorKind::ConnectionRefused, "the listener is gone");
        let _listener = b.listen(PORT).unwrap();
        assert_eq!(b.listen(PORT).unwrap_err().kind(), ErrorKind::AddrInUse);
        a.refuse_dials(&b);
        assert_eq!(kind().await, ErrorKind::ConnectionRefused);
        a.swallow_dials(&b);
        assert!(sim.timeout(secs(3600), kind()).await.is_err());
        let host = a.clone();
        let dialling = a.spawn(async move { host.dial("b", PORT).await.is_ok() });
        sim.sleep(secs(5)).await;
        a.answer_dials(&b);
        assert_eq!(dialling.await, Ok(true));
        assert_eq!(a.dial("nobody", PORT).await.unwrap_err().kind(), ErrorKind::NotFound);
        for name in ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1", "b", "B"] {
            assert!(b.dial(name, PORT).await.is_ok(), "{name}");
        }
        assert_eq!(a.dial("localhost", PORT).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}
