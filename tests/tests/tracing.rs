//! What a subscriber is told of connections, and that `docs/observability.md` lists it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hopmq_proto::amqp::{Method, basic, confirm, connection};
use hopmq_tests::closed_port::ClosedPort;
use hopmq_tests::door::door;
use hopmq_tests::scenarios::{On, Raw, Server, current_thread};
use hopmq_tokio::memory::pipe;
use hopmq_tokio::{
    Backoff, Broker, BrokerConfig, Channel, Config, ConnectOptions, Connection, ConnectionEvent, Credentials,
    Properties, ProvidedCredentials, ProviderError, Recovery, ShortStr, Tokio, connect_with,
};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// The fields of a span or an event, in text.
#[derive(Debug, Clone, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

#[derive(Debug, Clone)]
struct Told {
    level: Level,
    fields: Fields,
    /// Of the connection.
    span: Fields,
}

impl Told {
    fn field(&self, name: &str) -> &str {
        self.fields.0.get(name).map_or("", String::as_str)
    }

    /// Level and message, as in a log.
    fn line(&self) -> String {
        format!("{} {}", self.level, self.field("message"))
    }
}

/// Keeps everything that it is told.
#[derive(Clone, Default)]
struct Capture {
    told: Arc<Mutex<Vec<Told>>>,
    /// Used in the midst of an event.
    connection: Arc<OnceLock<Connection>>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        assert_eq!(attributes.metadata().name(), "connection");
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Some(connection) = self.connection.get() {
            let _ = connection.is_blocked(); // takes its lock
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut spans: Vec<_> = context.event_scope(event).unwrap().collect();
        let span = spans.pop().unwrap().extensions().get::<Fields>().unwrap().clone();
        assert!(spans.is_empty(), "in the span of its connection alone");
        self.told.lock().unwrap().push(Told { level: *event.metadata().level(), fields, span });
    }
}

impl Capture {
    /// What was told since this was last asked.
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn lines(&self) -> Vec<String> {
        self.take().iter().map(Told::line).collect()
    }
}

/// Runs a program with a subscriber that wants to know everything up to a level.
fn captured(level: LevelFilter, program: impl AsyncFnOnce(&Capture)) {
    let capture = Capture::default();
    let subscriber = Registry::default().with(capture.clone().with_filter(level));
    tracing::subscriber::with_default(subscriber, || current_thread().block_on(program(&capture)));
}

const SECRET: &str = "Pa55word";

async fn embedded() -> (Broker, ConnectOptions) {
    let broker = Broker::start().await.unwrap();
    let options: ConnectOptions = broker.uri().parse().unwrap();
    (broker, options.connection_name("tested"))
}

#[test]
fn a_login_that_is_refused() {
    captured(LevelFilter::TRACE, async |capture| {
        let (_broker, options) = embedded().await;
        let endpoint = options.endpoints()[0].to_string();
        connect_with(options.credentials(Credentials::new("guest", SECRET))).await.unwrap_err();
        let told = capture.take();
        let lines: Vec<_> = told.iter().map(Told::line).collect();
        assert_eq!(lines, ["INFO connecting", "WARN connect attempt failed"]);
        assert_eq!((told[0].field("endpoint"), told[1].field("endpoint")), (&*endpoint, &*endpoint));
        assert!(told[1].field("cause").contains("403"), "{told:?}");
        for (field, value) in [("name", "tested"), ("vhost", "/"), ("endpoints", &endpoint)] {
            assert_eq!(told[1].span.0[field], value);
        }
        assert!(!format!("{told:?}").contains(SECRET), "{told:?}");
    });
}

#[test]
fn the_next_endpoint_and_what_follows() {
    captured(LevelFilter::INFO, async |capture| {
        let (_broker, options) = embedded().await;
        let (closed, open) = (ClosedPort::new(), options.endpoints().remove(0));
        let options = ConnectOptions::new().endpoint("127.0.0.1", closed.address().port());
        let connection = connect_with(options.endpoint(&open.host, open.port)).await.unwrap();
        let told = capture.take();
        let lines: Vec<_> = told.iter().map(Told::line).collect();
        let expected =
            ["INFO connecting", "WARN connect attempt failed", "INFO connecting", "INFO connected"];
        assert_eq!(lines, expected);
        assert!(told[1].field("cause").contains("refused"), "{told:?}");
        assert_eq!(told[3].field("product"), "HopMQ");
        assert_eq!(told[3].span.0["endpoints"], format!("{}, {open}", closed.address()));
        assert_eq!(told[3].span.0.get("name"), None);

        let channel = connection.open_channel().await.unwrap();
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        let mut consumer = channel.consume(queue.name()).await.unwrap();
        channel.delete_queue(queue.name()).await.unwrap();
        assert!(consumer.next().await.is_none());
        assert_eq!(capture.lines(), ["INFO channel opened", "INFO consumer cancelled"]);

        channel.consume("missing").await.unwrap_err();
        let told = capture.take();
        assert_eq!((told.len(), &*told[0].line(), told[0].field("channel")), (1, "WARN channel ended", "1"));
        assert!(told[0].field("cause").contains("404"), "{told:?}");
        connection.open_channel().await.unwrap().close().await.unwrap();
        assert_eq!(capture.lines(), ["INFO channel opened", "INFO channel closed"]);
        connection.close().await.unwrap();
        connection.closed().await;
        assert_eq!(capture.lines(), ["INFO connection closed"]);
    });
}

/// A connection to a server that is played here, and its channel.
async fn scripted(name: &'static str) -> (Raw, Connection, Channel) {
    let (ours, theirs) = pipe();
    let mut server = Raw::new(theirs);
    let config = Config { connection_name: Some(ShortStr::from_static(name)), ..Config::default() };
    let runtime = Tokio::current();
    let client = async {
        let connection = Connection::open(&runtime, ours, config).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        (connection, channel)
    };
    let ((connection, channel), ()) = tokio::join!(client, server.serve_channel());
    (server, connection, channel)
}

#[test]
fn blocked_and_lost() {
    captured(LevelFilter::WARN, async |capture| {
        let (mut server, connection, _channel) = scripted("lost").await;
        let mut events = connection.events();
        server.send(0, connection::Blocked { reason: ShortStr::from_static("low on memory") }).await;
        assert!(matches!(events.next().await, Some(ConnectionEvent::Blocked { .. })));
        let told = capture.take();
        assert_eq!(
            (told.len(), &*told[0].line(), told[0].field("cause")),
            (1, "WARN blocked", "low on memory")
        );
        drop(server);
        connection.closed().await;
        let told = capture.take();
        let lines: Vec<_> = told.iter().map(Told::line).collect();
        assert_eq!(lines, ["WARN channel ended", "WARN connection ended"]);
        for told in told {
            assert_eq!(told.field("cause"), "the connection was lost: the server closed the stream");
            assert_eq!(told.span.0["name"], "lost", "spans are there at any level");
        }
    });
}

#[test]
fn lost_and_recovered() {
    captured(LevelFilter::INFO, async |capture| {
        let server = Server::memory(On::Tokio).await;
        let line = server.line();
        let backoff = Backoff { initial: Duration::from_millis(1), ..Backoff::default() };
        let recovery = Recovery { backoff, ..Recovery::default() };
        let connection = line.connect(ConnectOptions::new().recovery(recovery)).await.unwrap();
        let mut events = connection.events();
        let channel = connection.open_channel().await.unwrap();
        let old = channel.declare_queue("").exclusive().await.unwrap();
        capture.take();
        line.set_down(true);
        line.cut();
        while !matches!(events.next().await, Some(ConnectionEvent::AttemptFailed { .. })) {}
        line.set_down(false);
        while !matches!(events.next().await, Some(ConnectionEvent::Recovered { .. })) {}
        let told = capture.take();
        let mut lines: Vec<_> = told.iter().map(Told::line).collect();
        assert_eq!(lines.remove(0), "WARN connection lost");
        assert!(!told[0].field("cause").is_empty());
        let failed = told.iter().find(|told| told.line() == "WARN connect attempt failed").unwrap();
        assert!(
            failed.field("endpoint").contains(':') && failed.field("retry_in").contains('s'),
            "{failed:?}"
        );
        lines.retain(|line| line != "INFO connecting" && line != "WARN connect attempt failed");
        assert_eq!(lines, ["INFO connected", "INFO queue renamed", "INFO connection recovered"]);
        let renamed = told.iter().find(|told| told.line() == "INFO queue renamed").unwrap();
        assert_eq!(renamed.field("old"), old.name());
        let recovered = told.last().unwrap();
        assert_eq!((recovered.field("restored"), recovered.field("refused")), ("1", "0"));
        assert!(recovered.field("took").contains('s'), "{recovered:?}");
    });
}

#[test]
fn messages_that_are_refused_together_are_one_warning() {
    captured(LevelFilter::INFO, async |capture| {
        let (mut server, connection, channel) = scripted("refused").await;
        let (publisher, ()) = tokio::join!(async { channel.publisher().await.unwrap() }, async {
            server.method().await;
            server.send(1, confirm::SelectOk {}).await;
        });
        let mut confirms = Vec::new();
        for _ in 0..100 {
            let sending = publisher.publish("q", "body").mandatory().send();
            confirms.push(sending.await.unwrap());
            assert!(matches!(server.method().await, (1, Method::BasicPublish(_))));
            server.body().await;
        }
        capture.take();
        let returned = basic::Return {
            reply_code: 312,
            reply_text: ShortStr::from_static("NO_ROUTE"),
            exchange: ShortStr::from_static(""),
            routing_key: ShortStr::from_static("q"),
        };
        server.send(1, returned).await;
        let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
        let mut properties = bytes::BytesMut::new();
        Properties::new().persistent().encode(&mut properties).unwrap();
        header.extend_from_slice(&properties);
        server.send_frame(hopmq_proto::amqp::FrameKind::Header, 1, &header).await;
        server.send_frame(hopmq_proto::amqp::FrameKind::Body, 1, b"body").await;
        server.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
        server.send(1, basic::Nack { delivery_tag: 90, multiple: true, requeue: false }).await;
        for confirm in confirms.drain(..90) {
            confirm.await.unwrap_err();
        }
        drop(server);
        connection.closed().await;
        let told = capture.take();
        let count = |message| -> u64 {
            let lines = told.iter().filter(|told| told.field("message") == message);
            lines.map(|told| told.field("count").parse::<u64>().unwrap()).sum()
        };
        let counted = ["messages returned", "messages nacked", "messages not confirmed"].map(count);
        assert_eq!(counted, [1, 89, 10]);
        assert!(told.len() < 10, "{told:?}");
        let returned = told.iter().find(|told| told.field("message") == "messages returned").unwrap();
        assert!(returned.field("example").contains("312 NO_ROUTE"), "{returned:?}");
    });
}

#[test]
fn a_secret_is_renewed_and_never_told() {
    let capture = Capture::default();
    let subscriber = Registry::default().with(capture.clone());
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let (door, visitors) = door();
            let broker = Broker::in_memory(BrokerConfig::default());
            broker.serve(visitors);
            let answers = Arc::new(Mutex::new(vec![Err("the token server is down"), Ok(()), Ok(())]));
            let provide = move || {
                let answer = answers.lock().unwrap().pop();
                async move {
                    answer.unwrap_or(Ok(())).map_err(ProviderError::from)?;
                    let provided = ProvidedCredentials::new(Credentials::new("guest", "guest"));
                    Ok::<_, ProviderError>(provided.refresh_in(Duration::from_secs(60)))
                }
            };
            let options = ConnectOptions::new().credentials_provider(provide);
            let connection = Connection::connect(&Tokio::current(), door, options).await.unwrap();
            let mut events = connection.events();
            assert_eq!(events.next().await, Some(ConnectionEvent::SecretUpdated));
            assert!(matches!(events.next().await, Some(ConnectionEvent::RefreshFailed { .. })));
            connection.update_secret(SECRET, "by hand").await.unwrap();
        });
    });
    let told = capture.take();
    let lines: Vec<_> = told.iter().map(Told::line).collect();
    assert!(lines.contains(&"INFO secret renewed".to_owned()), "{lines:?}");
    let failed = told.iter().find(|told| told.field("message") == "secret not renewed").unwrap();
    assert_eq!((failed.level, failed.field("cause")), (Level::WARN, "the token server is down"));
    let all = format!("{told:?}");
    assert!(!all.contains(SECRET) && !all.contains("guest\""), "{all}");
}

/// What is told of one message there and back.
async fn round_trip(capture: &Capture) -> Vec<Told> {
    let (_broker, options) = embedded().await;
    let connection = connect_with(options).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    capture.take();
    channel.publisher().await.unwrap().publish(queue.name(), SECRET).await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    consumer.next().await.unwrap().ack().unwrap();
    channel.set_prefetch(7).await.unwrap();
    capture.take()
}

#[test]
fn each_level_has_its_own() {
    for (level, expected) in [
        (LevelFilter::INFO, &[][..]),
        (LevelFilter::DEBUG, &["DEBUG call", "DEBUG answer"]),
        (
            LevelFilter::TRACE,
            &["DEBUG call", "DEBUG answer", "TRACE publish", "TRACE confirm", "TRACE delivery"],
        ),
    ] {
        captured(level, async |capture| {
            let told = round_trip(capture).await;
            let lines: BTreeSet<_> = told.iter().map(Told::line).collect();
            assert_eq!(lines, expected.iter().map(|&line| line.to_owned()).collect());
            let calls = told.iter().filter(|told| told.field("message") == "call");
            let methods: Vec<_> = calls.map(|told| told.field("method")).collect();
            let all = ["confirm.Select", "basic.Consume", "basic.Qos"];
            assert_eq!(methods, if level == LevelFilter::INFO { &all[..0] } else { &all });
            let tokens = |message| {
                let of = told.iter().filter(|told| told.field("message") == message);
                of.map(|told| told.field("token").to_owned()).collect::<BTreeSet<_>>()
            };
            assert_eq!(tokens("call"), tokens("answer"));
            assert_eq!(tokens("publish"), tokens("confirm"));
            assert!(!format!("{told:?}").contains(SECRET), "bodies are not told: {told:?}");
        });
    }
}

#[test]
fn a_subscriber_may_use_the_connection() {
    captured(LevelFilter::TRACE, async |capture| {
        let (_broker, options) = embedded().await;
        let connection = connect_with(options).await.unwrap();
        capture.connection.set(connection.clone()).unwrap();
        let channel = connection.open_channel().await.unwrap();
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        let publisher = channel.publisher().mandatory().await.unwrap();
        publisher.publish(queue.name(), "").await.unwrap();
        publisher.publish("missing", "").await.unwrap_err();
        channel.get(queue.name()).await.unwrap().unwrap().ack().unwrap();
        channel.consume("missing").await.unwrap_err();
        connection.close().await.unwrap();
        connection.closed().await;
        assert!(capture.lines().len() > 15);
    });
}

/// Level and message of each event in the sources: the macro, and the last string in it.
fn in_the_sources() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hopmq/src/client/journal");
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for level in ["warn", "info", "debug", "trace"] {
            for event in source.split(&format!("{level}!(")).skip(1) {
                let event = event.split("\")").next().unwrap();
                let message = event.rsplit('"').next().unwrap();
                found.insert(format!("{} {message}", level.to_uppercase()));
            }
        }
    }
    found
}

#[test]
fn the_page_lists_what_there_is() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability.md");
    let page = std::fs::read_to_string(page).unwrap();
    let levels = ["| WARN ", "| INFO ", "| DEBUG ", "| TRACE "];
    let rows = page.lines().filter(|row| levels.iter().any(|level| row.starts_with(level)));
    let listed: BTreeSet<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            format!("{} {}", cells[0], cells[1].trim_matches('`'))
        })
        .collect();
    let there = in_the_sources();
    assert!(there.len() > 15, "{there:?}");
    assert_eq!(listed, there);
}
