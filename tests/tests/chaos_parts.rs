//! What the chaos runs stand on: the proxy does what it says, and the checker finds what was planted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hopmq_tests::chaos::checker::{Finding, check, owed, recovery_times};
use hopmq_tests::chaos::history::{
    Delivered, Erasure, History, Injected, MessageId, Outcome, Published, QueueKind,
};
use hopmq_tests::chaos::judge::Judge;
use hopmq_tests::chaos::message::{decode, encode};
use hopmq_tests::chaos::plan::{Plan, Server};
use hopmq_tests::chaos::proxy::{Fault, Proxy, Side};
use hopmq_tests::scenarios;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

/// Says back what it hears, and ends when it hears the end.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

async fn says_back(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    assert_eq!(read(stream, bytes.len()).await, bytes);
}

/// The next read: how many bytes, or what went wrong.
async fn next(stream: &mut TcpStream) -> Result<usize, ErrorKind> {
    let mut buffer = [0; 1024];
    timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().map_err(|error| error.kind())
}

fn run(test: impl Future<Output = ()>) {
    scenarios::multi_thread().block_on(test);
}

async fn proxy() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    says_back(&mut stream, b"hello").await;
    (proxy, stream)
}

#[test]
fn the_proxy_carries_and_hands_an_end_on() {
    run(async {
        let (proxy, mut stream) = proxy().await;
        let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        let (mut from, mut to) = stream.split();
        let (written, read) = tokio::join!(to.write_all(&bytes), async {
            let mut back = vec![0; bytes.len()];
            from.read_exact(&mut back).await.unwrap();
            back
        });
        written.unwrap();
        assert_eq!(read, bytes);
        stream.shutdown().await.unwrap();
        assert_eq!(next(&mut stream).await, Ok(0));
        assert_eq!(proxy.accepted(), 1);
        assert_eq!(proxy.faults(), <[&str; 0]>::default());
    });
}

#[test]
fn a_cut_is_an_end_and_a_reset_is_none() {
    run(async {
        let (proxy, mut stream) = proxy().await;
        proxy.apply(Fault::Cut { side: Side::Up, after: 0 }).await;
        assert_eq!(next(&mut stream).await, Ok(0));

        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        says_back(&mut stream, b"again").await;
        proxy.apply(Fault::Reset { side: Side::Down, after: 0 }).await;
        assert_eq!(next(&mut stream).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(proxy.faults(), ["cut", "reset"]);
    });
}

#[test]
fn a_cut_waits_for_bytes() {
    run(async {
        let (proxy, mut stream) = proxy().await;
        let cut = proxy.apply(Fault::Cut { side: Side::Up, after: 100 });
        let talk = async {
            says_back(&mut stream, &[1; 99]).await;
            stream.write_all(&[2; 1]).await.unwrap();
            while next(&mut stream).await.unwrap() > 0 {}
        };
        tokio::join!(cut, talk);
    });
}

#[test]
fn a_stall_holds_bytes_and_loses_none() {
    run(async {
        let (proxy, mut stream) = proxy().await;
        let start = Instant::now();
        let stall = proxy.apply(Fault::Stall { up: false, down: true, time: SHORT });
        let talk = async {
            stream.write_all(b"held").await.unwrap();
            assert_eq!(read(&mut stream, 4).await, b"held");
            assert!(start.elapsed() >= SHORT);
        };
        tokio::join!(stall, talk);
    });
}

#[test]
fn throttled_and_single_bytes_arrive() {
    run(async {
        let (proxy, mut stream) = proxy().await;
        for fault in [Fault::Throttle { rate: 5_000, time: LONG }, Fault::SingleBytes { time: LONG }] {
            let start = Instant::now();
            tokio::select! {
                biased; // the fault is there before the first byte
                () = proxy.apply(fault) => panic!(),
                () = says_back(&mut stream, &[7; 2_000]) => {}
            }
            if let Fault::Throttle { .. } = fault {
                assert!(start.elapsed() > Duration::from_millis(200));
            }
        }
    });
}

#[test]
fn a_half_close_ends_one_direction() {
    run(async {
        let (proxy, mut stream) = proxy().await;
        let fault = Fault::HalfClose { side: Side::Down, time: SHORT };
        let talk = async {
            assert_eq!(next(&mut stream).await, Ok(0));
            // The other direction goes on, until it is over.
            let start = Instant::now();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(start.elapsed() < PATIENCE);
            }
            assert!(start.elapsed() >= SHORT / 2);
        };
        tokio::join!(proxy.apply(fault), talk);
    });
}

#[test]
fn refused_then_taken_again() {
    run(async {
        let (proxy, mut stream) = proxy().await;
        proxy.refuse();
        assert_eq!(next(&mut stream).await, Ok(0));
        let refused = async {
            while TcpStream::connect(proxy.address()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, refused).await.unwrap();
        let error = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        proxy.open_again();
        let taken = async {
            loop {
                if let Ok(stream) = TcpStream::connect(proxy.address()).await {
                    return stream;
                }
                tokio::task::yield_now().await;
            }
        };
        let mut stream = timeout(PATIENCE, taken).await.unwrap();
        says_back(&mut stream, b"back").await;
    });
}

#[test]
fn who_comes_into_silence_hears_nothing_until_it_is_reset() {
    run(async {
        let (proxy, mut stream) = proxy().await;
        let talk = async {
            assert_eq!(next(&mut stream).await, Ok(0));
            let mut silent = TcpStream::connect(proxy.address()).await.unwrap();
            silent.write_all(b"anybody?").await.unwrap();
            assert_eq!(next(&mut silent).await, Err(ErrorKind::ConnectionReset));
        };
        tokio::join!(proxy.apply(Fault::Silent { time: SHORT, reset: true }), talk);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        says_back(&mut stream, b"back").await;
    });
}

/// To the server an orphan is alive until the fault is over.
#[test]
fn an_orphan_stays_open_towards_the_server() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut server, 5).await, b"hello");
        let talk = async {
            let start = Instant::now();
            assert_eq!(next(&mut client).await, Err(ErrorKind::ConnectionReset));
            assert_eq!(next(&mut server).await, Ok(0));
            assert!(start.elapsed() >= SHORT / 2);
        };
        tokio::join!(proxy.apply(Fault::Orphan { time: SHORT }), talk);
    });
}

#[test]
fn a_seed_is_one_plan_and_all_troubles_are_reached() {
    let server = Server { may_break: true };
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let plan = Plan::new(seed, server);
        assert_eq!(plan.to_string(), Plan::new(seed, server).to_string());
        kinds.extend(plan.troubles.iter().map(|(_, trouble)| trouble.kind()));
        kinds.insert(match plan.beginning {
            hopmq_tests::chaos::plan::Beginning::Up => "up",
            hopmq_tests::chaos::plan::Beginning::Refused(_) => "refused at start",
            hopmq_tests::chaos::plan::Beginning::NodeDown => "down at start",
        });
        let harmless = Plan::new(seed, Server { may_break: false });
        assert!(!harmless.troubles.iter().any(|(_, it)| it.kind().starts_with("node")));
    }
    assert_eq!(kinds.len(), 12 + 6 + 3, "{kinds:?}");
}

#[test]
fn bodies_show_when_they_are_altered() {
    let id = MessageId { publisher: 3, number: 70_000 };
    for size in [0, 18, 19, 1000] {
        let body = encode(42, id, size);
        assert_eq!(body.len(), size.max(18));
        assert_eq!(decode(42, &body), Some(id));
        assert_eq!(decode(43, &body), None);
        assert_eq!(decode(42, &body[..body.len() - 1]), None);
        assert_eq!(decode(42, &[&body[..], b"x"].concat()), None);
        for at in [0, 13, 17, body.len() - 1] {
            let mut altered = body.to_vec();
            altered[at] ^= 1;
            assert_ne!(decode(42, &altered), Some(id));
        }
    }
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn confirmed(seconds: u64) -> Published {
    Published { at: at(seconds), outcome: Some((Outcome::Confirmed, at(seconds + 1))) }
}

fn delivered(number: u32) -> Delivered {
    let id = Some(MessageId { publisher: 0, number });
    Delivered {
        at: at(u64::from(number) + 1),
        consumer: 0,
        id,
        redelivered: false,
        possible_duplicate: false,
    }
}

/// Ten messages, one a second, all of them confirmed and consumed.
fn good() -> History {
    History {
        queues: vec![QueueKind::Durable],
        queue_of: vec![0],
        published: vec![(0..10).map(confirmed).collect()],
        delivered: (0..10).map(delivered).collect(),
        settled_from: Some(at(5)),
        believed: vec!["a".to_owned(), "b".to_owned()],
        listed: vec!["b".to_owned(), "a".to_owned()],
        ..History::default()
    }
}

const fn erasure(queue: Option<usize>, until: u64) -> Erasure {
    Erasure { queue, until: at(until), transient: false }
}

const fn id(number: u32) -> MessageId {
    MessageId { publisher: 0, number }
}

#[test]
fn the_checker_is_content_with_what_is_good() {
    assert_eq!(check(&good()), []);
    // What is marked may come again and late; a message that failed need not come, and may.
    let mut history = good();
    history.delivered.push(Delivered { redelivered: true, ..delivered(3) });
    history.delivered.push(Delivered { possible_duplicate: true, ..delivered(4) });
    history.published[0][9].outcome = Some((Outcome::Unknown("lost".to_owned()), at(10)));
    history.delivered.remove(9);
    assert_eq!(check(&history), []);
}

#[test]
fn the_checker_finds_what_is_lost() {
    let mut history = good();
    history.delivered.remove(4);
    assert_eq!(check(&history), [Finding::Lost(id(4))]);
    assert_eq!(owed(&history), [id(4)]);
    // Unless its queue was deleted since.
    history.erasures = vec![erasure(Some(1), 9), erasure(None, 3)];
    assert_eq!(check(&history), [Finding::Lost(id(4))]);
    history.erasures.push(erasure(Some(0), 4));
    assert_eq!(check(&history), []);
}

#[test]
fn a_crash_excuses_what_was_not_on_the_disk_and_nothing_else() {
    let mut history = good();
    history.queue_of = vec![0, 0];
    history.published.push((0..10).map(confirmed).collect());
    let other = |number| MessageId { publisher: 1, number };
    history.delivered.extend((0..9).map(|it| Delivered { id: Some(other(it)), ..delivered(it) }));
    history.delivered.remove(4);
    history.transient.insert(1);
    history.erasures.push(Erasure { transient: true, ..erasure(None, 9) });
    assert_eq!(check(&history), [Finding::Lost(id(4))], "of the same queue, and persistent");
    history.erasures.push(Erasure { transient: true, ..erasure(Some(0), 3) });
    history.erasures.remove(0);
    assert_eq!(check(&history), [Finding::Lost(id(4)), Finding::Lost(other(9))], "published since");
}

#[test]
fn what_is_not_mandatory_may_be_lost_where_there_is_no_queue() {
    let mut history = good();
    history.delivered.remove(4);
    history.absences = vec![erasure(Some(0), 4)];
    assert_eq!(check(&history), [Finding::Lost(id(4))], "it is mandatory, and would have come back");
    history.untold.insert(0);
    assert_eq!(check(&history), []);
    history.absences = vec![erasure(Some(0), 3), erasure(Some(1), 9)];
    assert_eq!(check(&history), [Finding::Lost(id(4))], "its queue was there");
}

#[test]
fn what_a_queue_still_has_that_is_not_served_is_not_called_lost() {
    let mut history = good();
    history.delivered.truncate(7);
    history.not_recovered.push("no delivery from queue 0".to_owned());
    let expected = [Finding::Undelivered(3), Finding::NotRecovered("no delivery from queue 0".to_owned())];
    assert_eq!(check(&history), expected);
}

#[test]
fn an_exclusive_queue_promises_what_came_after_the_faults() {
    for kind in [QueueKind::Exclusive, QueueKind::ServerNamed] {
        let mut history = good();
        history.queues = vec![kind];
        history.delivered.retain(|it| it.id != Some(id(4)));
        assert_eq!(check(&history), []);
        history.delivered.retain(|it| it.id != Some(id(6)));
        assert_eq!(check(&history), [Finding::Lost(id(6))]);
    }
}

#[test]
fn the_checker_finds_what_comes_from_nowhere() {
    let mut history = good();
    history.delivered.push(delivered(10));
    history.delivered.push(Delivered { id: Some(MessageId { publisher: 1, number: 0 }), ..delivered(0) });
    history.delivered.push(Delivered { id: None, ..delivered(0) });
    assert!(matches!(
        check(&history)[..],
        [Finding::FromNowhere(_), Finding::FromNowhere(_), Finding::FromNowhere(_)]
    ));
}

#[test]
fn the_checker_finds_what_is_out_of_order() {
    let mut history = good();
    history.delivered.swap(3, 4);
    assert_eq!(check(&history), [Finding::OutOfOrder { late: id(3), behind: 4 }]);
    // Two consumers of a queue have each their own order.
    history.delivered[4].consumer = 1;
    assert_eq!(check(&history), []);
}

#[test]
fn the_judge_finds_at_its_step_what_nothing_later_can_excuse() {
    let history = good();
    let mut judge = Judge::default();
    for number in [0, 1, 4] {
        assert_eq!(judge.delivered(&history, &delivered(number)), None);
    }
    let late = Finding::OutOfOrder { late: id(3), behind: 4 };
    assert_eq!(judge.delivered(&history, &delivered(3)), Some(late));
    assert_eq!(judge.delivered(&history, &delivered(3)), Some(Finding::Unmarked(id(3))));
    let from_nowhere = |found| matches!(found, Some(Finding::FromNowhere(_)));
    assert!(from_nowhere(judge.delivered(&history, &delivered(10))));
    assert!(from_nowhere(judge.delivered(&history, &Delivered { id: None, ..delivered(0) })));
    assert_eq!(judge.resolved(&history, id(7)), None);
    assert_eq!(judge.resolved(&history, id(7)), Some(Finding::Twice(id(7))));
}

#[test]
fn what_was_not_sent_does_not_come() {
    let not_sent = || Outcome::NotSent("there was no room".to_owned());
    let (mut history, mut judge) = (good(), Judge::default());
    history.published[0][3].outcome = Some((not_sent(), at(8)));
    assert_eq!(check(&history), [Finding::Sent(id(3))]);
    assert_eq!(judge.delivered(&history, &delivered(3)), Some(Finding::Sent(id(3))));

    // It may come before that is told.
    let (mut history, mut judge) = (good(), Judge::default());
    history.published[0][3].outcome = None;
    assert_eq!(judge.delivered(&history, &delivered(3)), None);
    assert_eq!(history.resolve(id(3), not_sent(), at(8)), None);
    assert_eq!(judge.resolved(&history, id(3)), Some(Finding::Sent(id(3))));
}

#[test]
fn the_judge_waits_for_the_outcome_that_may_excuse() {
    let judged = |outcome: Outcome, lost_at: Option<u64>| {
        let (mut history, mut judge) = (good(), Judge::default());
        history.delivered.swap(3, 4);
        history.lost_at = vec![Vec::new()];
        history.published[0][3].outcome = None;
        for delivered in &history.delivered {
            assert_eq!(judge.delivered(&history, delivered), None, "the outcome is not known");
        }
        history.lost_at[0].extend(lost_at.map(at));
        assert_eq!(history.resolve(id(3), outcome, at(8)), None);
        let found = judge.resolved(&history, id(3));
        assert_eq!(found.as_slice(), check(&history), "whoever is told all at once finds the same");
        found
    };
    let late = Some(Finding::OutOfOrder { late: id(3), behind: 4 });
    assert_eq!(judged(Outcome::Confirmed, None), late);
    assert_eq!(judged(Outcome::Confirmed, Some(9)), late, "it was confirmed by then");
    assert_eq!(judged(Outcome::Confirmed, Some(5)), None);
    assert_eq!(judged(Outcome::Unknown("lost".to_owned()), None), None);
}

#[test]
fn what_was_on_its_way_at_a_loss_may_come_late() {
    let mut history = good();
    history.delivered.swap(3, 4);
    history.lost_at = vec![vec![at(7)]];
    assert_eq!(check(&history), [Finding::OutOfOrder { late: id(3), behind: 4 }], "it was confirmed before");
    history.lost_at = vec![vec![at(3)]];
    assert_eq!(check(&history), []);
    history.delivered.push(delivered(3));
    assert_eq!(check(&history), [Finding::Unmarked(id(3))], "once, nevertheless");
}

#[test]
fn the_checker_finds_an_unmarked_duplicate() {
    let mut history = good();
    history.delivered.push(delivered(9));
    assert_eq!(check(&history), [Finding::Unmarked(id(9))]);
    history.delivered[10].consumer = 1;
    assert_eq!(check(&history), [Finding::Unmarked(id(9))]);
    history.delivered[9].redelivered = true;
    assert_eq!(check(&history), []);
}

#[test]
fn the_checker_finds_what_did_not_resolve_or_recover() {
    let mut history = good();
    history.pending.push("confirm".to_owned());
    history.not_recovered.push("queue 0".to_owned());
    history.after_close = 2;
    assert_eq!(
        check(&history),
        [
            Finding::Stuck("confirm".to_owned()),
            Finding::NotRecovered("queue 0".to_owned()),
            Finding::AfterClose(2)
        ]
    );
}

#[test]
fn what_does_not_go_on_without_a_leader_is_no_finding_and_what_is_wrong_still_is() {
    let mut history = good();
    history.delivered.truncate(7);
    history.pending.push("confirm".to_owned());
    history.not_recovered.push("no delivery from queue 0".to_owned());
    history.leaderless.push(0);
    assert_eq!(check(&history), []);
    history.delivered.push(delivered(6));
    history.delivered.push(delivered(10));
    history.after_close = 1;
    let findings = check(&history);
    let [Finding::Unmarked(again), Finding::FromNowhere(_), Finding::AfterClose(1)] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(*again, id(6));
}

#[test]
fn the_checker_finds_phantoms() {
    let mut history = good();
    history.listed.push("b".to_owned());
    history.believed.push("c".to_owned());
    assert_eq!(check(&history), [Finding::Phantom("b".to_owned()), Finding::Missing("c".to_owned())]);
}

#[test]
fn recovery_is_measured_from_the_end_of_a_fault() {
    let mut history = good();
    let fault = |from, until, loses| Injected { kind: "cut", from: at(from), until: at(until), loses };
    history.injected = vec![fault(2, 3, true), fault(6, 7, false)];
    let times = recovery_times(&history);
    assert_eq!(times.len(), 1);
    assert_eq!((times[0].confirm, times[0].delivery), (at(1), at(1)));
    // The next fault came before there was anything to measure.
    history.injected.push(fault(3, 4, true));
    let from: Vec<_> = recovery_times(&history).iter().map(|it| it.confirm).collect();
    assert_eq!(from, [at(1)]);
}
