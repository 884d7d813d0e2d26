//! TLS with the embedded broker: what needs no RabbitMQ.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use hopmq_tests::certificates::Authority;
use hopmq_tests::door::door;
use hopmq_tests::scenarios;
use hopmq_tokio::{
    Broker, BrokerConfig, CloseReason, ConnectError, ConnectOptions, Connection, HandshakeError, Pem,
    TlsError, TlsListener, TlsOptions, Tokio, connect, connect_with,
};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

fn text(pem: &str) -> Pem {
    Pem::Text(pem.as_bytes().to_vec())
}

/// A broker that speaks TLS, and how to get in.
async fn broker() -> (Broker, ConnectOptions) {
    let ca = Authority::new("a test");
    let server = ca.issue("server", &["127.0.0.1"]);
    let (certificate, key) = (text(&server.certificate), text(&server.key));
    let broker = Broker::bind_tls("127.0.0.1:0", BrokerConfig::default(), &certificate, &key).await.unwrap();
    let options: ConnectOptions = broker.uri().parse().unwrap();
    assert!(options.tls_options().is_some(), "{}", broker.uri());
    (broker, options.tls(TlsOptions::new().ca(text(&ca.pem))))
}

/// Many small messages at once and large ones, in both directions.
async fn work(connection: &Connection) {
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let sizes = || (0..300_usize).map(|n| if n % 50 == 0 { 700_000 + n } else { n });
    let mut confirms = hopmq_tokio::Confirms::new();
    for size in sizes() {
        confirms.push(publisher.publish(queue.name(), vec![1; size]).send().await.unwrap());
    }
    confirms.wait().await.unwrap();
    let mut deliveries = channel.consume(queue.name()).await.unwrap();
    for size in sizes() {
        let delivery = deliveries.next().await.unwrap();
        assert_eq!(delivery.body().len(), size);
        delivery.ack().unwrap();
    }
}

#[test]
fn messages_go_through_and_the_end_is_clean() {
    for runtime in [scenarios::current_thread(), scenarios::multi_thread()] {
        runtime.block_on(async {
            let (broker, options) = broker().await;
            let connection = connect_with(options).await.unwrap();
            timeout(PATIENCE, work(&connection)).await.expect("it hangs");
            timeout(PATIENCE, connection.close()).await.unwrap().unwrap();
            scenarios::eventually("nothing is left", async || broker.connections() == 0).await;
        });
    }
}

#[test]
fn who_is_not_trusted_is_not_talked_to() {
    scenarios::current_thread().block_on(async {
        let (broker, _) = broker().await;
        let error = connect(&broker.uri()).await.unwrap_err(); // the system trusts others
        let ConnectError::Tls { endpoint, error } = error else { panic!("{error:?}") };
        assert_eq!(endpoint.to_string(), broker.local_addr().unwrap().to_string());
        assert!(matches!(error, TlsError::Verify { .. } | TlsError::Config(_)), "{error:?}");
        let stranger = TlsOptions::new().ca(text(&Authority::new("a stranger").pem));
        let options: ConnectOptions = broker.uri().parse().unwrap();
        let error = connect_with(options.tls(stranger)).await.unwrap_err();
        let complaint =
            "the certificate of 127.0.0.1 is not accepted: no trusted authority has signed it (UnknownIssuer)";
        assert_eq!(error.to_string(), format!("cannot connect to {endpoint}: {complaint}"));
        scenarios::eventually("nothing is left", async || broker.connections() == 0).await;
        let any = format!("{}?verify=verify_none", broker.uri());
        connect(&any).await.unwrap().close().await.unwrap();
    });
}

#[test]
fn who_does_not_speak_tls_is_gone_at_once() {
    scenarios::current_thread().block_on(async {
        let (broker, options) = broker().await;
        let plain = broker.uri().replace("amqps://", "amqp://");
        let error = timeout(PATIENCE, connect(&plain)).await.unwrap().unwrap_err();
        let Some(CloseReason::Handshake(reason)) = error.close_reason() else { panic!("{error:?}") };
        assert!(matches!(reason, HandshakeError::NotAmqp(_) | HandshakeError::Eof(_)), "{reason:?}");
        scenarios::eventually("nothing is left", async || broker.connections() == 0).await;

        let plain = Broker::start().await.unwrap();
        let address = plain.local_addr().unwrap();
        let options = options.with_endpoints([]).endpoint("127.0.0.1", address.port());
        let error = timeout(PATIENCE, connect_with(options)).await.unwrap().unwrap_err();
        let ConnectError::Tls { error: TlsError::Handshake(problem), .. } = error else {
            panic!("{error:?}")
        };
        assert!(problem.to_string().starts_with("the server does not speak TLS ("), "{problem}");
    });
}

/// Runs a test on a clock that jumps to the next timer when nothing else is left to do.
fn on_a_paused_clock(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
}

/// A client that falls silent amid the handshake, wherever, is not waited for longer than any other.
#[test]
fn a_client_that_falls_silent() {
    const DEADLINE: Duration = Duration::from_secs(5);

    on_a_paused_clock(async {
        let ca = Authority::new("a test");
        let server = ca.issue("server", &["localhost"]);
        let config = BrokerConfig { handshake_timeout: DEADLINE, ..BrokerConfig::default() };
        let broker = Broker::in_memory(config);
        let (door, visitors) = door();
        let door = Arc::new(door);
        broker.serve(TlsListener::new(visitors, &text(&server.certificate), &text(&server.key)).unwrap());
        let mut options = ConnectOptions::new().tls(TlsOptions::new().ca(text(&ca.pem)));
        options.config.connect_timeout = 10 * DEADLINE;
        let mut failed = [0; 2];
        for reach in (0..).step_by(20) {
            door.set_reach(reach);
            let start = Instant::now();
            match Connection::connect(&Tokio::current(), door.clone(), options.clone()).await {
                Err(ConnectError::Tls { error: TlsError::Handshake(_), .. }) => failed[0] += 1,
                Err(ConnectError::Refused { .. }) => failed[1] += 1,
                Err(other) => panic!("{reach}: {other:?}"),
                Ok(_) => break,
            }
            assert_eq!(start.elapsed().as_secs(), DEADLINE.as_secs(), "{reach}");
            scenarios::eventually("nothing is left", async || broker.connections() == 0).await;
        }
        assert!(failed.iter().all(|n| *n > 2), "{failed:?}");
    });
}

#[test]
fn a_server_that_never_speaks() {
    on_a_paused_clock(async {
        let (door, _visitors) = door();
        let mut options = ConnectOptions::new().tls(TlsOptions::new().danger_accept_invalid_certificates());
        options.config.connect_timeout = Duration::from_secs(7);
        let start = Instant::now();
        let error = Connection::connect(&Tokio::current(), door, options).await.unwrap_err();
        assert!(matches!(error, ConnectError::DialTimeout { .. }), "{error:?}");
        assert_eq!(start.elapsed().as_secs(), 7);
    });
}
