//! Publishes and RPC that a server keeps waiting: each ends at its deadline, and time passes as fast as nothing happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::IntoFuture;
use std::time::Duration;

use hopmq_proto::amqp::{FrameKind, Method, basic, confirm, connection};
use hopmq_tests::scenarios::{Raw, drop_after};
use hopmq_tokio::io::Runtime;
use hopmq_tokio::memory::pipe;
use hopmq_tokio::{
    CallError, Channel, Config, ConfirmFailures, ConfirmsError, Connection, Properties, PublishError,
    RpcError, ShortStr, Tokio,
};
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(5);

/// Runs a client against a server that does what `script` says once a channel is open.
fn run<S: Future<Output = ()> + Send + 'static>(
    script: impl FnOnce(Raw) -> S + Send + 'static,
    client: impl AsyncFnOnce(Connection, Channel),
) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = pipe();
        let tokio = Tokio::current();
        tokio.spawn(async move {
            let mut server = Raw::new(theirs);
            server.serve_channel().await;
            script(server).await;
        });
        let config = Config { publish_timeout: LIMIT, confirm_timeout: LIMIT * 10, ..Config::default() };
        let connection = Connection::open(&tokio, ours, config).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        client(connection, channel).await;
    });
}

async fn select(server: &mut Raw) {
    assert_eq!(server.method().await.1, confirm::Select { no_wait: false }.into());
    server.send(1, confirm::SelectOk {}).await;
}

/// Reads a publish and its body.
async fn published(server: &mut Raw) -> Vec<u8> {
    let (_, publish) = server.method().await;
    assert!(matches!(publish, Method::BasicPublish(_)), "{publish:?}");
    server.body().await.to_vec()
}

async fn ack(server: &mut Raw, delivery_tag: u64) {
    server.send(1, basic::Ack { delivery_tag, multiple: false }).await;
}

#[test]
fn a_publish_that_finds_no_room_gives_its_body_back() {
    let script = async |mut server: Raw| {
        select(&mut server).await;
        assert_eq!(published(&mut server).await, b"one");
        // Nothing is confirmed until the client asks whether we are here.
        assert!(matches!(server.method().await.1, Method::BasicQos(_)));
        ack(&mut server, 1).await;
        server.send(1, basic::QosOk {}).await;
        assert_eq!(published(&mut server).await, b"four");
        ack(&mut server, 2).await;
        server.rest().await;
    };
    run(script, async |_, channel| {
        let publisher = channel.publisher().max_unconfirmed(1).await.unwrap();
        let first = publisher.publish("q", "one").send().await.unwrap();
        let began = Instant::now();
        let refused = publisher.publish("q", "two").try_send().unwrap_err();
        assert_eq!(refused, PublishError::Full { body: "two".into() });
        let waited = publisher.publish("q", "two").await.unwrap_err();
        assert_eq!(waited, PublishError::TimedOut { body: "two".into() });
        assert_eq!(began.elapsed(), LIMIT);

        assert!(!drop_after(publisher.publish("q", "three"), 1).await, "it waits");
        let (late, qos) = tokio::join!(publisher.publish("q", "four"), channel.set_prefetch(1));
        late.unwrap();
        qos.unwrap();
        first.await.unwrap();
        assert!(began.elapsed() < LIMIT * 2, "who left does not leave a deadline behind");
    });
}

#[test]
fn each_who_waits_has_a_deadline_of_its_own() {
    let script = async |mut server: Raw| {
        select(&mut server).await;
        published(&mut server).await;
        server.rest().await;
    };
    run(script, async |_, channel| {
        let publisher = channel.publisher().max_unconfirmed(1).await.unwrap();
        let _first = publisher.publish("q", "one").send().await.unwrap();
        let began = Instant::now();
        let wait = async |after: u32| {
            tokio::time::sleep(LIMIT / 4 * after).await;
            let error = publisher.publish("q", "x").await.unwrap_err();
            assert!(matches!(error, PublishError::TimedOut { .. }), "{error:?}");
            assert_eq!(began.elapsed(), LIMIT + LIMIT / 4 * after);
        };
        tokio::join!(wait(0), wait(1), wait(2));
    });
}

#[test]
fn a_server_that_takes_no_publishes_is_waited_for_until_the_deadline() {
    let script = async |mut server: Raw| {
        server.send(0, connection::Blocked { reason: ShortStr::from_static("low on memory") }).await;
        assert!(matches!(server.method().await.1, Method::BasicQos(_)));
        server.send(1, basic::QosOk {}).await;
        assert!(matches!(server.method().await.1, Method::BasicQos(_)));
        server.send(0, connection::Unblocked {}).await;
        server.send(1, basic::QosOk {}).await;
        assert_eq!(published(&mut server).await, b"two");
        server.rest().await;
    };
    run(script, async |_, channel| {
        let nothing = Properties::new();
        channel.set_prefetch(1).await.unwrap(); // so that it has come
        let error = channel.publish("", "q", &nothing, "one").await.unwrap_err();
        assert_eq!(error, PublishError::TimedOut { body: "one".into() });
        let (published, qos) =
            tokio::join!(channel.publish("", "q", &nothing, "two"), channel.set_prefetch(1));
        published.unwrap();
        qos.unwrap();
    });
}

#[test]
fn a_close_while_others_wait_for_room_is_not_cut_short_by_their_deadlines() {
    let script = async |mut server: Raw| {
        select(&mut server).await;
        published(&mut server).await;
        assert!(matches!(server.method().await.1, Method::ConnectionClose(_)));
        tokio::time::sleep(LIMIT).await; // a slow server, within close_timeout
        server.send(0, connection::CloseOk {}).await;
        server.rest().await;
    };
    run(script, async |connection, channel| {
        let publisher = channel.publisher().max_unconfirmed(1).await.unwrap();
        let first = publisher.publish("q", "one").send().await.unwrap();
        let waiting = async {
            let error = publisher.publish("q", "two").await.unwrap_err();
            assert!(matches!(error, PublishError::NotSent { .. }), "{error:?}");
        };
        let close = async { connection.close().await.unwrap() };
        tokio::join!(waiting, close);
        assert!(matches!(first.await, Err(PublishError::Unconfirmed(CallError::Closed(_)))));
    });
}

#[test]
fn waiting_for_all_confirms_ends_with_the_last_of_their_deadlines() {
    let script = async |mut server: Raw| {
        select(&mut server).await;
        published(&mut server).await;
        published(&mut server).await;
        ack(&mut server, 2).await;
        server.rest().await;
    };
    run(script, async |_, channel| {
        let publisher = channel.publisher().await.unwrap();
        for _ in 0..2 {
            drop(publisher.publish("q", "x").send().await.unwrap());
        }
        let began = Instant::now();
        assert!(!drop_after(publisher.wait_for_confirms(), 1).await);
        let lost = ConfirmFailures { nacked: 0, returned: 0, lost: 1 };
        assert_eq!(publisher.wait_for_confirms().await, Err(ConfirmsError::Failed(lost)));
        assert_eq!(began.elapsed(), LIMIT * 10);
        publisher.wait_for_confirms().await.unwrap();
    });
}

async fn rpc_client(server: &mut Raw) {
    select(server).await;
    let (_, consume) = server.method().await;
    assert!(matches!(consume, Method::BasicConsume(_)), "{consume:?}");
    server.send(1, basic::ConsumeOk { consumer_tag: ShortStr::from_static("replies") }).await;
}

/// Reads a request: what identifies it.
async fn requested(server: &mut Raw, what: &[u8]) -> Properties {
    let (_, publish) = server.method().await;
    assert!(matches!(&publish, Method::BasicPublish(publish) if publish.mandatory), "{publish:?}");
    let header = server.frame().await.unwrap();
    assert_eq!(server.frame().await.unwrap().payload, what);
    Properties::decode(header.payload.get(12..).unwrap()).unwrap()
}

/// Sends an empty reply.
async fn reply(server: &mut Raw, request: &Properties) {
    let deliver = basic::Deliver { consumer_tag: ShortStr::from_static("replies"), ..Default::default() };
    server.send(1, deliver).await;
    let mut header = bytes::BytesMut::from(&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]);
    let properties = Properties { correlation_id: request.correlation_id.clone(), ..Properties::new() };
    properties.encode(&mut header).unwrap();
    server.send_frame(FrameKind::Header, 1, &header).await;
}

#[test]
fn a_call_without_a_reply_ends_at_its_deadline() {
    let script = async |mut server: Raw| {
        rpc_client(&mut server).await;
        let silent = requested(&mut server, b"silent").await;
        ack(&mut server, 1).await;
        requested(&mut server, b"short").await; // not even confirmed
        let answered = requested(&mut server, b"answered").await;
        reply(&mut server, &silent).await; // too late
        reply(&mut server, &answered).await;
        server.rest().await;
    };
    run(script, async |_, channel| {
        let client = channel.rpc_client().timeout(LIMIT * 2).await.unwrap();
        let began = Instant::now();
        assert_eq!(client.call("q", "silent").await, Err(RpcError::TimedOut));
        assert_eq!(began.elapsed(), LIMIT * 2);
        assert_eq!(client.call("q", "short").timeout(LIMIT).await, Err(RpcError::TimedOut));
        assert_eq!(began.elapsed(), LIMIT * 3);
        assert_eq!(client.call("q", "answered").await.unwrap().body(), b"");
        assert_eq!(began.elapsed(), LIMIT * 3);
    });
}

/// The reply is what counts.
#[test]
fn a_call_whose_confirm_is_late_still_gets_its_reply() {
    let script = async |mut server: Raw| {
        rpc_client(&mut server).await;
        let request = requested(&mut server, b"x").await;
        tokio::time::sleep(LIMIT * 11).await; // longer than confirm_timeout
        reply(&mut server, &request).await;
        server.rest().await;
    };
    run(script, async |_, channel| {
        let client = channel.rpc_client().timeout(LIMIT * 20).await.unwrap();
        let began = Instant::now();
        client.call("q", "x").await.unwrap();
        assert_eq!(began.elapsed(), LIMIT * 11);
    });
}

#[test]
fn a_call_that_finds_no_room_ends_at_the_nearer_deadline() {
    let script = async |mut server: Raw| {
        rpc_client(&mut server).await;
        server.send(0, connection::Blocked { reason: ShortStr::from_static("low on memory") }).await;
        for _ in 0..2 {
            assert!(matches!(server.method().await.1, Method::BasicQos(_)));
            server.send(1, basic::QosOk {}).await;
        }
        server.send(0, connection::Unblocked {}).await;
        let request = requested(&mut server, b"sent").await;
        reply(&mut server, &request).await;
        server.rest().await;
    };
    run(script, async |_, channel| {
        let client = channel.rpc_client().await.unwrap();
        channel.set_prefetch(1).await.unwrap(); // so that it has come
        let began = Instant::now();
        let timed_out = client.call("q", "impatient").timeout(LIMIT / 5).await;
        assert_eq!((timed_out, began.elapsed()), (Err(RpcError::TimedOut), LIMIT / 5));
        let began = Instant::now();
        let no_room = RpcError::Request(PublishError::TimedOut { body: "patient".into() });
        assert_eq!((client.call("q", "patient").await, began.elapsed()), (Err(no_room), LIMIT));
        let (reply, qos) = tokio::join!(client.call("q", "sent").into_future(), channel.set_prefetch(1));
        qos.unwrap();
        assert_eq!(reply.unwrap().body(), b"");
    });
}
