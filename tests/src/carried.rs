//! Every property and every type of a header, through a broker to another client, and back from it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use hopmq_tokio::{Channel, FieldTable, FieldValue, LongStr, Properties, ShortStr};

use crate::programs;
use crate::scenarios::properties::as_carried;
use crate::scenarios::{On, Server, drain};

/// The other client: how it is started, what it makes of what it has read, and what it sends by itself.
struct Other {
    program: Box<dyn Fn() -> Command>,
    messages: Vec<Properties>,
    made_of: fn(&Properties) -> Properties,
    own: Properties,
    own_body: &'static str,
}

/// Python's pika, through the broker at `uri`.
pub async fn through_pika(uri: &str) {
    let program = Box::new(|| programs::judge("pika_echo.py"));
    let messages = messages().collect();
    let own = own_of_pika();
    through(uri, Other { program, messages, made_of: made_of_pika, own, own_body: "from pika" }).await;
}

/// C's rabbitmq-c, through the broker at `uri`. It changes nothing, but cannot read a header whose name is empty.
pub async fn through_rabbitmq_c(uri: &str) {
    let built = Built::new();
    let program = built.0.clone();
    let program = Box::new(move || Command::new(&program));
    let without_name =
        |properties: &Properties| properties.headers.as_ref().is_some_and(|it| it.get("").is_some());
    let messages = messages().filter(|properties| !without_name(properties)).collect();
    let own = own_of_rabbitmq_c();
    through(uri, Other { program, messages, made_of: Properties::clone, own, own_body: "from rabbitmq-c" })
        .await;
}

async fn through(uri: &str, other: Other) {
    let server = Server::at(On::Tokio, uri);
    let version = server.version().await;
    let channel = server.channel().await;
    let (there, back) = (server.name("there"), server.name("back"));
    for queue in [&there, &back] {
        channel.declare_queue(queue).durable().await.unwrap();
    }

    let sent = &other.messages;
    let publisher = channel.publisher().mandatory().await.unwrap();
    for (properties, n) in sent.iter().zip(0..) {
        publisher.publish(&there, body(n)).properties(properties).await.unwrap();
    }
    other.run(&["echo", uri, &there, &back, &sent.len().to_string()]);
    for (properties, n) in sent.iter().zip(0..) {
        let expected = as_carried((other.made_of)(&as_carried(properties.clone(), version)), version);
        assert_got(&channel, &back, &expected, &body(n)).await;
    }

    other.run(&["send", uri, &back]);
    assert_got(&channel, &back, &as_carried(other.own.clone(), version), other.own_body.as_bytes()).await;
    for queue in [&there, &back] {
        assert_eq!(drain(&channel, queue).await, [""; 0]);
        channel.delete_queue(queue).await.unwrap();
    }
}

impl Other {
    fn run(&self, arguments: &[&str]) {
        let output = (self.program)().args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn assert_got(channel: &Channel, queue: &str, properties: &Properties, body: &[u8]) {
    let got = channel.get(queue).await.unwrap().unwrap();
    assert_eq!(got.properties().unwrap(), *properties);
    assert_eq!(got.body(), body);
    got.into_delivery().ack().unwrap();
}

fn body(n: usize) -> Vec<u8> {
    (0..n * 37).map(|at| at.to_le_bytes()[0]).collect()
}

fn short(text: &str) -> ShortStr {
    ShortStr::try_from(text).unwrap()
}

fn bytes(bytes: &[u8]) -> LongStr {
    LongStr::new(bytes.to_vec()).unwrap()
}

fn all_fourteen() -> Properties {
    Properties {
        content_type: Some(short("text/plain")),
        content_encoding: Some(short("utf-8")),
        headers: Some(FieldTable::new()),
        delivery_mode: Some(2),
        priority: Some(255),
        correlation_id: Some(short("correlation")),
        reply_to: Some(short("reply")),
        expiration: Some(short("3600000")),
        message_id: Some(short(&"x".repeat(255))),
        timestamp: Some(u64::MAX),
        kind: Some(short("kind")),
        user_id: Some(short("guest")),
        app_id: Some(short("")),
        cluster_id: Some(short("cluster")),
    }
}

/// None, each alone, and all.
fn each_property() -> Vec<Properties> {
    let Properties {
        content_type,
        content_encoding,
        headers,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        timestamp,
        kind,
        user_id,
        app_id,
        cluster_id,
    } = all_fourteen();
    let none = Properties::new;
    vec![
        none(),
        Properties { content_type, ..none() },
        Properties { content_encoding, ..none() },
        Properties { headers, ..none() },
        Properties { delivery_mode, ..none() },
        Properties { priority, ..none() },
        Properties { correlation_id, ..none() },
        Properties { reply_to, ..none() },
        Properties { expiration, ..none() },
        Properties { message_id, ..none() },
        Properties { timestamp, ..none() },
        Properties { kind, ..none() },
        Properties { user_id, ..none() },
        Properties { app_id, ..none() },
        Properties { cluster_id, ..none() },
        all_fourteen(),
    ]
}

/// Every type, with its extremes; floats are finite, for RabbitMQ has no others. pika can carry no time that is later
/// than the year 9999, and no float beyond 64 bits.
fn values() -> Vec<FieldValue> {
    let mut values: Vec<FieldValue> = vec![
        true.into(),
        false.into(),
        i8::MIN.into(),
        i8::MAX.into(),
        0_u8.into(),
        u8::MAX.into(),
        i16::MIN.into(),
        i16::MAX.into(),
        u16::MAX.into(),
        i32::MIN.into(),
        i32::MAX.into(),
        u32::MAX.into(),
        i64::MIN.into(),
        i64::MAX.into(),
        (-0.0_f32).into(),
        1.5_f32.into(),
        (-1e18_f32).into(),
        f32::from_bits(1).into(),
        (-2.25_f64).into(),
        1e18_f64.into(),
        f64::from_bits(1).into(),
        "".into(),
        "grüße".into(),
        "x".repeat(10_000).into(),
        FieldValue::String(bytes(b"a\0\xff\xfe")),
        FieldValue::Bytes(bytes(b"")),
        FieldValue::Bytes(bytes(b"\0\xff\xfe")),
        FieldValue::Timestamp(0),
        FieldValue::Timestamp(253_402_300_799),
        FieldValue::Void,
        FieldTable::new().into(),
        Vec::<FieldValue>::new().into(),
    ];
    for (scale, value) in [(0, 0), (0, 100), (2, 314), (2, 300), (3, 0), (0, 0x7fff_ffff), (255, u32::MAX)] {
        values.push(FieldValue::Decimal { scale, value });
    }
    values
}

fn messages() -> impl Iterator<Item = Properties> {
    let mut messages = each_property();
    let values = values();
    let mut all = FieldTable::new();
    for (value, n) in values.iter().zip(0..) {
        let headers = FieldTable::new().with("value", value.clone());
        messages.push(Properties::new().with_headers(headers));
        all.insert(format!("{n:02}"), value.clone()).unwrap();
    }
    let nested = all.clone().with("table", all.clone()).with("array", values);
    let deep = (0..15).fold(FieldTable::new().with("in", 1), |inner, _| {
        FieldTable::new().with("in", vec![FieldValue::Void, inner.into()])
    });
    messages.extend([all, nested, deep].map(|headers| Properties::new().with_headers(headers)));
    // Names may be anything of up to 255 bytes.
    for name in ["", &"x".repeat(255), "schlüssel", "\0"] {
        let headers = [(short(name), FieldValue::I32(1))].into_iter().collect();
        messages.push(Properties::new().with_headers(headers));
    }
    let not_text = ShortStr::new(b"\xff\xfe".to_vec()).unwrap();
    let headers = [(not_text.clone(), FieldValue::I32(1))].into_iter().collect();
    messages.push(Properties { message_id: Some(not_text), headers: Some(headers), ..Properties::new() });
    messages.into_iter()
}

/// pika keeps the values and not their types: an integer comes back as `I` or `l`, a float (which it reads into an
/// integer) as `l`, a decimal in lowest terms, a string that is not UTF-8 as `x`.
fn made_of_pika(read: &Properties) -> Properties {
    Properties { headers: read.headers.as_ref().map(pika_table), ..read.clone() }
}

fn pika_table(table: &FieldTable) -> FieldTable {
    table.iter().map(|(name, value)| (name.clone(), pika_value(value))).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "that is what pika does")]
fn pika_value(value: &FieldValue) -> FieldValue {
    match value {
        FieldValue::I64(_) => value.clone(),
        FieldValue::F32(n) => FieldValue::I64(*n as i64),
        FieldValue::F64(n) => FieldValue::I64(*n as i64),
        FieldValue::Decimal { scale, value } => in_lowest_terms(*scale, value.cast_signed()),
        FieldValue::String(text) if text.as_str().is_err() => FieldValue::Bytes(text.clone()),
        FieldValue::Array(values) => FieldValue::Array(values.iter().map(pika_value).collect()),
        FieldValue::Table(table) => FieldValue::Table(pika_table(table)),
        other => match other.as_i64() {
            Some(n) => i32::try_from(n).map_or(FieldValue::I64(n), FieldValue::I32),
            None => other.clone(),
        },
    }
}

fn in_lowest_terms(mut scale: u8, mut value: i32) -> FieldValue {
    while scale > 0 && value % 10 == 0 {
        (scale, value) = (scale - 1, value / 10);
    }
    FieldValue::Decimal { scale, value: value.cast_unsigned() }
}

fn own_of_pika() -> Properties {
    let everything = FieldTable::new()
        .with("bool", true)
        .with("int", i32::MIN)
        .with("long", i64::MAX)
        .with("decimal", FieldValue::Decimal { scale: 2, value: (-314_i32).cast_unsigned() })
        .with("string", "grüße")
        .with("bytes", FieldValue::Bytes(bytes(b"\0\xff")))
        .with("timestamp", FieldValue::Timestamp(1_767_323_045))
        .with("void", FieldValue::Void);
    let values: Vec<_> = everything.iter().map(|(_, value)| value.clone()).collect();
    let none: Vec<FieldValue> = vec![FieldTable::new().into(), Vec::<FieldValue>::new().into()];
    let headers = everything.clone().with("table", everything).with("array", values).with("none", none);
    Properties { headers: Some(headers), ..all_fourteen() }
}

fn own_of_rabbitmq_c() -> Properties {
    let everything = FieldTable::new()
        .with("t", true)
        .with("b", i8::MIN)
        .with("B", u8::MAX)
        .with("s", i16::MIN)
        .with("u", u16::MAX)
        .with("I", i32::MIN)
        .with("i", u32::MAX)
        .with("l", i64::MIN)
        .with("L", i64::MAX) // read as `l`
        .with("f", f32::MIN)
        .with("d", 5e-324_f64)
        .with("D", FieldValue::Decimal { scale: 255, value: u32::MAX })
        .with("S", "grüße")
        .with("x", FieldValue::Bytes(bytes(b"a\0\xff\xfe")))
        .with("T", FieldValue::Timestamp(u64::MAX))
        .with("V", FieldValue::Void);
    let values: Vec<_> = everything.iter().map(|(_, value)| value.clone()).collect();
    let headers = everything
        .clone()
        .with("F", everything)
        .with("A", values)
        .with("no F", FieldTable::new())
        .with("no A", Vec::<FieldValue>::new());
    Properties { headers: Some(headers), message_id: Some(short("id")), ..all_fourteen() }
}

/// The C program, compiled, for as long as it is needed.
struct Built(PathBuf);

impl Built {
    fn new() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/rabbitmq_c.c");
        let beside = std::env::current_exe().unwrap();
        let program = beside.with_file_name(format!("rabbitmq_c-{}", std::process::id()));
        let mut compiler = Command::new("cc");
        compiler
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&program, &source])
            .arg("-lrabbitmq");
        let output = compiler.output().expect("a C compiler");
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "needs librabbitmq-dev, which tests/run installs\n{complained}");
        Self(program)
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
