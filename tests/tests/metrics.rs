//! What a recorder is told of connections, and that `docs/observability.md` says the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hopmq_proto::amqp::{Method, basic, confirm};
use hopmq_tests::scenarios::{On, Raw, Server, current_thread};
use hopmq_tokio::memory::pipe;
use hopmq_tokio::{
    Backoff, Broker, Config, Confirms, ConnectOptions, Connection, ConnectionState, Properties, PublishError,
    Recovery, ShortStr, Tokio, connect_with,
};
use metrics::atomics::AtomicU64;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

#[derive(Default)]
struct Recorded {
    /// Kind, unit and meaning, by name.
    described: Mutex<BTreeMap<String, [String; 3]>>,
    counters: Mutex<BTreeMap<(String, String), Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<(String, String), Arc<AtomicU64>>>,
    histograms: Mutex<BTreeMap<(String, String), Arc<Values>>>,
}

/// What a histogram was told.
#[derive(Default)]
struct Values(Mutex<Vec<f64>>);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Recorded {
    fn describe(&self, kind: &str, name: &KeyName, unit: Option<Unit>, meaning: &SharedString) {
        let row = [kind.to_owned(), unit.unwrap().as_str().to_owned(), meaning.to_string()];
        self.described.lock().unwrap().insert(name.as_str().to_owned(), row);
    }

    /// A counter of a connection, by the middle of its name.
    fn counted(&self, connection: &str, noun: &str) -> u64 {
        let name = format!("hopmq_{noun}_total");
        self.counters.lock().unwrap()[&(name, connection.to_owned())].load(Ordering::Acquire)
    }

    fn level(&self, connection: &str, noun: &str) -> f64 {
        let name = format!("hopmq_{noun}");
        f64::from_bits(self.gauges.lock().unwrap()[&(name, connection.to_owned())].load(Ordering::Acquire))
    }

    /// What became of its messages: published, confirmed, nacked, returned, unknown, unconfirmed.
    fn fates(&self, connection: &str) -> [u64; 6] {
        let counted = |noun| self.counted(connection, noun);
        let unconfirmed = self.level(connection, "unconfirmed");
        assert!(unconfirmed >= 0.0 && unconfirmed.fract() == 0.0);
        let nouns = ["published", "confirmed", "nacked", "returned", "unknown"].map(counted);
        let [published, confirmed, nacked, returned, unknown] = nouns;
        [published, confirmed, nacked, returned, unknown, unconfirmed as u64]
    }
}

/// Name and connection. There is no other label.
fn of(key: &Key) -> (String, String) {
    let labels: Vec<_> = key.labels().collect();
    assert_eq!((labels.len(), labels[0].key()), (1, "connection"));
    (key.name().to_owned(), labels[0].value().to_owned())
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("counter", &name, unit, &meaning);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("gauge", &name, unit, &meaning);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("histogram", &name, unit, &meaning);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.counters.lock().unwrap().entry(of(key)).or_default().clone().into()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.gauges.lock().unwrap().entry(of(key)).or_default().clone().into()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.histograms.lock().unwrap().entry(of(key)).or_default().clone().into()
    }
}

/// Runs a program whose connections are recorded: all on this thread.
fn recorded(program: impl AsyncFnOnce(&Recorded)) -> Recorded {
    let recorder = Recorded::default();
    metrics::with_local_recorder(&recorder, || current_thread().block_on(program(&recorder)));
    recorder
}

async fn connect(broker: &Broker, name: &str) -> Connection {
    let options: ConnectOptions = broker.uri().parse().unwrap();
    connect_with(options.connection_name(name)).await.unwrap()
}

#[test]
fn a_day_of_a_connection() {
    let recorder = recorded(async |recorder| {
        let broker = Broker::start().await.unwrap();
        let connection = connect(&broker, "day").await;
        let channel = connection.open_channel().await.unwrap();
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        let publisher = channel.publisher().mandatory().await.unwrap();
        for n in 0..10 {
            publisher.publish(queue.name(), vec![n; 1000]).await.unwrap();
        }
        assert_eq!(recorder.fates("day"), [10, 10, 0, 0, 0, 0], "known before the confirm resolves");
        let missing = publisher.publish("nowhere", "").await;
        assert!(matches!(missing, Err(PublishError::Returned(_))), "{missing:?}");
        assert_eq!(recorder.fates("day"), [11, 10, 0, 1, 0, 0]);

        channel.get(queue.name()).await.unwrap().unwrap().nack(true).unwrap();
        let mut consumer = channel.consume(queue.name()).await.unwrap();
        for n in 0..10 {
            let delivery = consumer.next().await.unwrap();
            assert_eq!(delivery.redelivered(), n == 0);
            delivery.ack().unwrap();
        }
        consumer.cancel().await.unwrap();
        let mut consumer = channel.consume(queue.name()).no_ack().await.unwrap();
        publisher.publish(queue.name(), "").await.unwrap();
        consumer.next().await.unwrap().ack().unwrap(); // nothing to acknowledge
        connection.close().await.unwrap();
    });
    let counted = |noun| recorder.counted("day", noun);
    assert_eq!(recorder.fates("day"), [12, 11, 0, 1, 0, 0]);
    assert_eq!(["delivered", "redelivered", "acked"].map(counted), [12, 1, 10]);
    let [received, sent] = ["received_bytes", "sent_bytes"].map(counted);
    assert!((10_000..20_000).contains(&sent) && (10_000..20_000).contains(&received), "{sent}, {received}");
    assert_eq!(recorder.level("day", "outbox_bytes"), 0.0);
}

#[test]
fn connections_of_one_name_add_up_and_others_do_not() {
    let recorder = recorded(async |recorder| {
        let broker = Broker::start().await.unwrap();
        let (one, two) = (connect(&broker, "pair").await, connect(&broker, "pair").await);
        let nameless = broker.connect().await.unwrap();
        for connection in [&one, &two, &two, &nameless] {
            let channel = connection.open_channel().await.unwrap();
            channel.publisher().await.unwrap().publish("nowhere", "").await.unwrap();
        }
        assert_eq!(recorder.fates("pair"), [3, 3, 0, 0, 0, 0]);
    });
    assert_eq!(recorder.fates(""), [1, 1, 0, 0, 0, 0]);
}

/// The server's part is played here, up to where confirms are on.
async fn serve(server: &mut Raw) {
    server.serve_channel().await;
    assert_eq!(server.method().await, (1, confirm::Select { no_wait: false }.into()));
    server.send(1, confirm::SelectOk {}).await;
}

#[test]
fn every_fate_of_a_message() {
    let recorder = recorded(async |recorder| {
        let (ours, theirs) = pipe();
        let mut server = Raw::new(theirs);
        let name = Some(ShortStr::from_static("fates"));
        let config = Config { connection_name: name, ..Config::default() };
        let runtime = Tokio::current();
        let client = async {
            let connection = Connection::open(&runtime, ours, config).await.unwrap();
            connection.open_channel().await.unwrap().publisher().await.unwrap()
        };
        let (publisher, ()) = tokio::join!(client, serve(&mut server));

        let mut confirms = Vec::new();
        for _ in 0..5 {
            confirms.push(publisher.publish("q", "body").send().await.unwrap());
        }
        drop(confirms.pop()); // whom nobody waits for counts too
        for _ in 0..5 {
            assert!(matches!(server.method().await, (1, Method::BasicPublish(_))));
            server.body().await;
        }
        assert_eq!(recorder.fates("fates"), [5, 0, 0, 0, 0, 5]);
        server.send(1, basic::Ack { delivery_tag: 2, multiple: true }).await;
        server.send(1, basic::Nack { delivery_tag: 3, multiple: false, requeue: false }).await;
        let mut confirms = confirms.into_iter();
        for expected in [true, true, false] {
            assert_eq!(confirms.next().unwrap().await.is_ok(), expected);
        }
        assert_eq!(recorder.fates("fates"), [5, 2, 1, 0, 0, 2]);

        // The server reads no more: what it has no room for waits.
        let properties = Properties::new();
        let sending = publisher.publish("q", vec![0; 600_000]).properties(&properties).send().await.unwrap();
        let sent = recorder.counted("fates", "sent_bytes");
        while recorder.counted("fates", "sent_bytes") == sent {
            tokio::task::yield_now().await;
        }
        assert!(recorder.level("fates", "outbox_bytes") > 300_000.0);
        drop(server);
        assert!(matches!(confirms.next().unwrap().await, Err(PublishError::Unconfirmed(_))));
        assert!(matches!(sending.await, Err(PublishError::Unconfirmed(_))));
    });
    assert_eq!(recorder.fates("fates"), [6, 2, 1, 0, 3, 0]);
    assert_eq!(recorder.level("fates", "outbox_bytes"), 0.0, "nothing waits any more");
}

/// What is published while the connection is away is kept, and counted as that.
#[test]
fn a_connection_that_comes_back() {
    let recorder = recorded(async |recorder| {
        let server = Server::memory(On::Tokio).await;
        let line = server.line();
        let backoff = Backoff { initial: Duration::from_millis(1), ..Backoff::default() };
        let recovery = Recovery { backoff, ..Recovery::default() };
        let options = ConnectOptions::new().recovery(recovery).connection_name("back");
        let connection = line.connect(options).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        channel.declare_queue("kept").durable().await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        let is_connected = |state: &ConnectionState| *state == ConnectionState::Connected;
        assert_eq!(recorder.counted("back", "reconnects"), 0);

        line.set_down(true);
        line.cut();
        connection.state_where(|state| !is_connected(state)).await;
        let mut confirms = Confirms::new();
        for _ in 0..10 {
            confirms.push(publisher.publish("kept", vec![0; 1000]).send().await.unwrap());
        }
        while recorder.level("back", "unconfirmed") < 10.0 {
            tokio::task::yield_now().await;
        }
        let kept = recorder.level("back", "unconfirmed_bytes");
        assert!((10_000.0..20_000.0).contains(&kept), "{kept}");
        line.set_down(false);
        confirms.wait().await.unwrap();
        connection.state_where(is_connected).await;
        assert_eq!(recorder.fates("back"), [10, 10, 0, 0, 0, 0]);
        assert_eq!(recorder.level("back", "unconfirmed_bytes"), 0.0);
        connection.close().await.unwrap();
    });
    assert_eq!(recorder.counted("back", "reconnects"), 1);
    let histograms = recorder.histograms.into_inner().unwrap();
    let times = &histograms[&("hopmq_recovery_seconds".to_owned(), "back".to_owned())];
    let times = times.0.lock().unwrap();
    assert!(matches!(times[..], [took] if took > 0.0 && took < 60.0), "{times:?}");
}

/// Name, kind, unit and meaning.
fn documented() -> BTreeMap<String, [String; 3]> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `hopmq_"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let [name, kind, unit, meaning] = cells.try_into().unwrap();
        (name.trim_matches('`').to_owned(), [kind, unit, meaning])
    })
    .collect()
}

#[test]
fn the_page_names_what_there_is() {
    let recorder = recorded(async |_| {
        let broker = Broker::start().await.unwrap();
        connect(&broker, "page").await.close().await.unwrap();
    });
    let (described, documented) = (recorder.described.into_inner().unwrap(), documented());
    let names = |rows: &BTreeMap<String, [String; 3]>| rows.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&described), names(&documented));
    for (name, [kind, unit, meaning]) in &described {
        let [said_kind, said_unit, said_meaning] = &documented[name];
        assert_eq!((kind, unit), (said_kind, said_unit), "{name}");
        assert!(said_meaning.starts_with(meaning), "{name}: {meaning}"); // the page may say more
    }
    let (counters, gauges) = (recorder.counters.into_inner().unwrap(), recorder.gauges.into_inner().unwrap());
    let histograms = recorder.histograms.into_inner().unwrap();
    let keys = counters.keys().chain(gauges.keys()).chain(histograms.keys());
    let mut told: Vec<_> = keys.map(|(name, _)| name.clone()).collect();
    told.sort();
    assert_eq!(told, names(&described));
}
