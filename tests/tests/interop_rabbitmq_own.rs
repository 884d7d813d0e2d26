//! What a RabbitMQ must be set up for: TLS with certificates that are made here, and memory alarms.
//!
//! A node takes seconds to start, so there is one, and one test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hopmq_tests::certificates::{Authority, Identity};
use hopmq_tests::node::{Node, free_port};
use hopmq_tests::programs;
use hopmq_tests::scenarios::{self, Server, alarm};
use hopmq_tokio::{
    CloseReason, Confirms, ConnectError, ConnectOptions, Connection, ConnectionEvent, ConsumerEnd,
    Credentials, Events, Mechanism, Pem, ProvidedCredentials, Recovery, ServerName, SettleError, TlsError,
    TlsOptions, connect, connect_with,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
/// Who logs in with nothing but a certificate.
const USER: &str = "hopmq-client";

struct Setup {
    node: Node,
    tls_port: u16,
    ca: Authority,
    client: Identity,
}

impl Setup {
    fn start() -> Self {
        let ca = Authority::new("HopMQ's test authority");
        let server = ca.issue("server", &["localhost", "127.0.0.1", "rabbit.example"]);
        let client = ca.issue(USER, &[]);
        let tls_port = free_port();
        let node = Node::start(|folder| {
            let write = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
            write("ca.pem", &ca.pem);
            write("server.pem", &server.certificate);
            write("server.key", &server.key);
            write("client.pem", &client.certificate);
            write("client.key", &client.key);
            write("enabled_plugins", "[rabbitmq_auth_mechanism_ssl, rabbitmq_auth_backend_oauth2].\n");
            let folder = folder.display();
            let config = format!(
                "listeners.ssl.1 = 127.0.0.1:{tls_port}\n\
                 ssl_options.cacertfile = {folder}/ca.pem\n\
                 ssl_options.certfile = {folder}/server.pem\n\
                 ssl_options.keyfile = {folder}/server.key\n\
                 ssl_options.verify = verify_peer\n\
                 ssl_options.fail_if_no_peer_cert = false\n\
                 auth_mechanisms.1 = PLAIN\n\
                 auth_mechanisms.2 = AMQPLAIN\n\
                 auth_mechanisms.3 = EXTERNAL\n\
                 ssl_cert_login_from = common_name\n\
                 auth_backends.1 = internal\n\
                 auth_backends.2 = rabbit_auth_backend_oauth2\n\
                 auth_oauth2.resource_server_id = rabbitmq\n"
            );
            write("rabbitmq.conf", &config);
        });
        node.ctl(&["add_user", USER, "only its certificate matters"]);
        node.ctl(&["set_permissions", "-p", "/", USER, ".*", ".*", ".*"]);
        Self { node, tls_port, ca, client }
    }

    /// With the authority that signed the server's certificate, and the node's ordinary user.
    fn uri(&self, host: &str, parameters: &str) -> String {
        let ca = self.node.path("ca.pem");
        format!("amqps://guest:guest@{host}:{}/%2f?cacertfile={ca}{parameters}", self.tls_port)
    }

    fn options(&self, tls: TlsOptions) -> ConnectOptions {
        ConnectOptions::new().host("localhost").port(self.tls_port).tls(tls)
    }

    fn trusting(&self) -> TlsOptions {
        TlsOptions::new().ca(text(&self.ca.pem))
    }

    fn identified(&self, client: &Identity) -> TlsOptions {
        self.trusting().identity(text(&client.certificate), text(&client.key))
    }
}

fn text(pem: &str) -> Pem {
    Pem::Text(pem.as_bytes().to_vec())
}

#[test]
fn what_a_node_must_be_set_up_for() {
    let setup = Setup::start();
    scenarios::current_thread().block_on(async {
        let checks = async {
            messages_go_through_tls(&setup).await;
            a_server_that_proves_nothing_is_named(&setup).await;
            certificates_that_cannot_be_read_are_named(&setup).await;
            a_certificate_is_a_login(&setup).await;
            no_tls_where_tls_is_spoken_and_the_other_way_round(&setup).await;
            a_secret_is_renewed(&setup).await;
            trap_36_a_secret_that_is_refused_ends_the_connection(&setup).await;
            a_delivery_that_is_not_settled_in_time_ends_its_channel(&setup).await;
            trap_34_an_alarm_holds_back_publishes_only(&setup).await;
        };
        timeout(4 * PATIENCE, checks).await.expect("it hangs");
    });
    programs_speak_tls(&setup);
}

fn programs_speak_tls(setup: &Setup) {
    let uri = setup.uri("localhost", "");
    programs::assert_quickstart(Some(&uri), "RabbitMQ ");
    programs::assert_tutorials(Some(&uri));
    programs::assert_without_runtime("hello", &uri);

    let stranger = setup.node.path("stranger.pem");
    fs::write(&stranger, Authority::new("a stranger").pem).unwrap();
    let uri = format!("amqps://localhost:{}?cacertfile={stranger}", setup.tls_port);
    let complaint = format!(
        "cannot connect to localhost:{}: the certificate of localhost is not accepted: ",
        setup.tls_port
    );
    programs::assert_quickstart_fails(&uri, &complaint);
}

/// Sends a large message and many small ones there and back.
async fn round_trip(connection: Connection) {
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let large = vec![7; 3 << 20];
    publisher.publish(queue.name(), large.clone()).await.unwrap();
    let mut confirms = Confirms::new();
    for n in 0..1000 {
        confirms.push(publisher.publish(queue.name(), vec![1; n]).send().await.unwrap());
    }
    confirms.wait().await.unwrap();
    let mut deliveries = channel.consume(queue.name()).await.unwrap();
    assert!(deliveries.next().await.unwrap().body()[..] == large);
    for n in 0..1000 {
        let delivery = deliveries.next().await.unwrap();
        assert_eq!(delivery.body().len(), n);
        delivery.ack().unwrap();
    }
    connection.close().await.unwrap();
}

async fn messages_go_through_tls(setup: &Setup) {
    for uri in [
        setup.uri("localhost", ""),
        setup.uri("127.0.0.1", ""),
        setup.uri("127.0.0.1", "&server_name_indication=rabbit.example"),
        setup.uri("localhost", "&server_name_indication=disable"),
        format!("amqps://127.0.0.1:{}?verify=verify_none", setup.tls_port),
    ] {
        let connection = connect(&uri).await.unwrap_or_else(|error| panic!("{uri}: {error}"));
        round_trip(connection).await;
    }
    hopmq_tests::blocking::round_trip(&setup.uri("localhost", ""));
    let tls = TlsOptions::new().danger_accept_invalid_certificates().server_name(ServerName::NotSent);
    round_trip(connect_with(setup.options(tls)).await.unwrap()).await;
}

fn tls_error(error: ConnectError) -> TlsError {
    match error {
        ConnectError::Tls { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

async fn a_server_that_proves_nothing_is_named(setup: &Setup) {
    let stranger = Authority::new("a stranger");
    let error = connect_with(setup.options(TlsOptions::new().ca(text(&stranger.pem)))).await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with(&format!("cannot connect to localhost:{}: ", setup.tls_port)), "{said}");
    let TlsError::Verify { name, problem } = tls_error(error) else { panic!("{said}") };
    assert_eq!(name, "localhost");
    assert!(problem.contains("UnknownIssuer"), "{problem}");

    let uri = setup.uri("localhost", "&server_name_indication=other.example");
    let error = tls_error(connect(&uri).await.unwrap_err());
    let TlsError::Verify { name, problem } = error else { panic!("{error:?}") };
    assert_eq!(name, "other.example");
    assert!(problem.contains("rabbit.example"), "what it is valid for is said: {problem}");

    // The system does not trust it, or nobody.
    let error = tls_error(connect_with(setup.options(TlsOptions::new())).await.unwrap_err());
    assert!(matches!(error, TlsError::Verify { .. } | TlsError::Config(_)), "{error:?}");
}

async fn certificates_that_cannot_be_read_are_named(setup: &Setup) {
    let missing = setup.node.path("missing.pem");
    let file = |path: &str| Pem::File(path.into());
    let error = connect_with(setup.options(TlsOptions::new().ca(file(&missing)))).await.unwrap_err();
    let TlsError::File { path, error } = tls_error(error) else { panic!() };
    assert_eq!((path.to_str().unwrap(), error.kind()), (missing.as_str(), std::io::ErrorKind::NotFound));

    let key = setup.node.path("client.key");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let certificate = text(&setup.client.certificate);
    for (tls, which, problem) in [
        (TlsOptions::new().ca(file(&key)), key.as_str(), "has no certificate in it"),
        (
            setup.trusting().identity(certificate.clone(), text(&setup.ca.pem)),
            "a PEM text",
            "has no private key",
        ),
        (
            setup.trusting().identity(certificate.clone(), text(encrypted)),
            "a PEM text",
            "has an encrypted key",
        ),
    ] {
        let error = tls_error(connect_with(setup.options(tls)).await.unwrap_err());
        let TlsError::Pem { pem, problem: said } = error else { panic!("{error:?}") };
        assert_eq!(pem, which);
        assert!(said.starts_with(problem), "{said}");
    }
    let other = setup.ca.issue("other", &[]);
    let tls = setup.trusting().identity(certificate, text(&other.key));
    let error = tls_error(connect_with(setup.options(tls)).await.unwrap_err());
    assert!(matches!(error, TlsError::Config(_)), "a key of another certificate: {error:?}");
    let no_name = TlsOptions::new().server_name(ServerName::Name("no name".to_owned()));
    let error = tls_error(connect_with(setup.options(no_name)).await.unwrap_err());
    assert!(matches!(&error, TlsError::ServerName(name) if name == "no name"), "{error:?}");
}

async fn refused_login(options: ConnectOptions, mechanism: &str) {
    let error = connect_with(options).await.unwrap_err();
    let Some(CloseReason::Server(close)) = error.close_reason() else { panic!("{error:?}") };
    assert_eq!(close.code.0, 403);
    assert!(close.text.to_string_lossy().contains(&format!("mechanism {mechanism}.")), "{}", close.text);
}

async fn a_certificate_is_a_login(setup: &Setup) {
    // Mutual TLS, with a password and without.
    round_trip(connect_with(setup.options(setup.identified(&setup.client))).await.unwrap()).await;
    let external = setup.options(setup.identified(&setup.client)).external();
    let connection = connect_with(external).await.unwrap();
    assert_logged_in_as(&connection, USER).await;
    round_trip(connection).await;
    let (certificate, key) = (setup.node.path("client.pem"), setup.node.path("client.key"));
    let uri =
        setup.uri("localhost", &format!("&certfile={certificate}&keyfile={key}&auth_mechanism=external"));
    assert_logged_in_as(&connect(&uri).await.unwrap(), USER).await;

    // No certificate, or one of a name that is no user's.
    refused_login(setup.options(setup.trusting()).external(), "EXTERNAL").await;
    let nobody = setup.ca.issue("nobody", &[]);
    refused_login(setup.options(setup.identified(&nobody)).external(), "EXTERNAL").await;

    // One that the server does not accept: TLS 1.3 tells when the client is through already.
    let stranger = Authority::new("a stranger").issue(USER, &[]);
    let error = connect_with(setup.options(setup.identified(&stranger)).external()).await.unwrap_err();
    assert!(error.to_string().contains("alert"), "{error}");

    // The order is the user's, as far as the server goes along.
    for (mechanisms, user) in [
        ([Mechanism::External, Mechanism::Plain], USER),
        ([Mechanism::AmqPlain, Mechanism::External], "guest"),
    ] {
        let options = setup.options(setup.identified(&setup.client)).mechanisms(mechanisms);
        assert_logged_in_as(&connect_with(options).await.unwrap(), user).await;
    }
}

/// RabbitMQ takes a message with a user id from that user only.
async fn assert_logged_in_as(connection: &Connection, user: &str) {
    let channel = connection.open_channel().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let properties = hopmq_tokio::Properties::new().with_user_id(user).unwrap();
    publisher.publish("nowhere", "me").properties(&properties).await.unwrap();
}

async fn no_tls_where_tls_is_spoken_and_the_other_way_round(setup: &Setup) {
    let plain = format!("amqp://127.0.0.1:{}", setup.tls_port);
    let error = connect(&plain).await.unwrap_err();
    assert!(matches!(error.close_reason(), Some(CloseReason::Handshake(_))), "{error:?}");
    let tls = setup.node.uri().replace("amqp://", "amqps://");
    let error = tls_error(connect(&tls).await.unwrap_err());
    assert!(matches!(error, TlsError::Handshake(_)), "{error:?}");
}

async fn next(events: &mut Events) -> ConnectionEvent {
    timeout(PATIENCE, events.next()).await.expect("an event").expect("the stream goes on")
}

/// What a server must know to look at [`GOOD_TOKEN`] and [`EXPIRED_TOKEN`].
const TOKEN_KEY: &str = "application:set_env(rabbitmq_auth_backend_oauth2, key_config, [{default_key, <<\"tests\">>}, \
    {signing_keys, #{<<\"tests\">> => {map, #{<<\"kty\">> => <<\"oct\">>, \
    <<\"k\">> => <<\"aG9wbXEgdGVzdHM6IGEga2V5IG9mIDMyIGJ5dGVzISE\">>}}}}]).";
/// A JSON Web Token of `anybody`, who may do everything until the year 2100.
const GOOD_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InRlc3RzIn0.\
    eyJzdWIiOiJhbnlib2R5IiwiYXVkIjoicmFiYml0bXEiLCJzY29wZSI6InJhYmJpdG1xLnJlYWQ6Ki8qIHJhYmJpdG1xLndyaXRlOiov\
    KiByYWJiaXRtcS5jb25maWd1cmU6Ki8qIiwiZXhwIjo0MTAyNDQ0ODAwfQ.a4Blsg_8s3EfMqYqN8tADt18lzynjp4RQ-d8sl2lock";
/// The same, until the year 2000.
const EXPIRED_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InRlc3RzIn0.\
    eyJzdWIiOiJhbnlib2R5IiwiYXVkIjoicmFiYml0bXEiLCJzY29wZSI6InJhYmJpdG1xLnJlYWQ6Ki8qIHJhYmJpdG1xLndyaXRlOiov\
    KiByYWJiaXRtcS5jb25maWd1cmU6Ki8qIiwiZXhwIjo5NDY2ODQ4MDB9.KPyhjaUc8KM6MiU0v83NAosFdlvYMvbOuHayrDpLahs";

async fn trap_36_a_secret_that_is_refused_ends_the_connection(setup: &Setup) {
    setup.node.ctl(&["eval", TOKEN_KEY]);
    let with = |token: &str| {
        let options: ConnectOptions = setup.node.uri().parse().unwrap();
        options.credentials(Credentials::new("anybody", token)).recovery(Recovery::off())
    };
    let connection = connect_with(with(GOOD_TOKEN)).await.unwrap();
    connection.update_secret(GOOD_TOKEN, "a test").await.unwrap();
    alarm::round_trip_without_publishing(&connection).await;
    let forged = GOOD_TOKEN.replace(".a4Bl", ".b4Bl");
    let refused = connection.update_secret(&forged, "a test").await.unwrap_err();
    let Some(CloseReason::Server(close)) = refused.close_reason() else { panic!("{refused:?}") };
    assert_eq!(close.code.0, 530);
    assert!(
        close.text.to_string_lossy().starts_with("NOT_ALLOWED - New secret was refused"),
        "{}",
        close.text
    );
    assert_eq!(&*connection.closed().await, &CloseReason::Server(close.clone()));

    // At a login it is a login that fails; so is one that has expired.
    for token in [&forged, EXPIRED_TOKEN] {
        let error = connect_with(with(token)).await.unwrap_err();
        assert!(
            matches!(error.close_reason(), Some(CloseReason::Server(close)) if close.code.0 == 403),
            "{error:?}"
        );
    }
}

async fn a_secret_is_renewed(setup: &Setup) {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let options: ConnectOptions = setup.node.uri().parse().unwrap();
    let options = options.credentials_provider(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let provided = ProvidedCredentials::new(Credentials::new("guest", "guest"));
        async { Ok(provided.refresh_in(Duration::from_secs(1))) }
    });
    let connection = connect_with(options).await.unwrap();
    let mut events = connection.events();
    for _ in 0..3 {
        assert_eq!(next(&mut events).await, ConnectionEvent::SecretUpdated);
    }
    assert!(calls.load(Ordering::Relaxed) >= 4);
    round_trip(connection).await;
}

async fn a_delivery_that_is_not_settled_in_time_ends_its_channel(setup: &Setup) {
    // For channels that are opened from now on; how often they look is asked each time they have looked.
    let limits = |timeout, tick| {
        let set = |name, value| format!("ok = application:set_env(rabbit, {name}, {value})");
        setup.node.ctl(&[
            "eval",
            &format!("{}, {}.", set("consumer_timeout", timeout), set("channel_tick_interval", tick)),
        ]);
    };
    limits(200, 100);
    let connection = connect(setup.node.uri()).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    publisher.publish(queue.name(), "late").await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let delivery = consumer.next().await.unwrap();
    assert!(timeout(PATIENCE, consumer.next()).await.unwrap().is_none());
    let Some(ConsumerEnd::Closed(reason)) = consumer.end() else { panic!("{:?}", consumer.end()) };
    let CloseReason::Server(close) = &*reason else { panic!("{reason:?}") };
    assert_eq!(close.code.0, 406);
    let text = close.text.to_string_lossy();
    assert!(
        text.starts_with("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out"),
        "{text}"
    );
    assert!(matches!(delivery.ack(), Err(SettleError::Closed(ended)) if ended == reason));
    let again = connection.open_channel().await.unwrap().get(queue.name()).await.unwrap().unwrap();
    assert!(again.redelivered());
    limits(1_800_000, 60_000);
}

async fn trap_34_an_alarm_holds_back_publishes_only(setup: &Setup) {
    let server = Server::at(scenarios::On::Tokio, setup.node.uri());
    let set = |on| {
        setup.node.ctl(&["set_vm_memory_high_watermark", if on { "0.0001" } else { "0.4" }]);
    };
    alarm::holds_back_publishes_only(&server, set).await;
}
