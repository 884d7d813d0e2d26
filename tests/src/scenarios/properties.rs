//! Message properties and headers: the broker carries them, and changes nothing.

use hopmq::{
    Channel, CommandError, FieldTable, FieldValue, LongStr, Properties, PublishError, TraceContext, WireError,
};

use super::{Fate, Server, Version, closes_channel, fate};

/// Sends properties through a queue, and takes them back by get and by consumer.
async fn round_trip(channel: &Channel, sent: &Properties) {
    carried(channel, sent, sent).await;
}

/// What was sent arrives as `expected`.
async fn carried(channel: &Channel, sent: &Properties, expected: &Properties) {
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    for _ in 0..2 {
        publisher.publish(queue.name(), "body").properties(sent).await.unwrap();
    }
    let got = channel.get(queue.name()).await.unwrap().unwrap();
    assert_eq!(got.properties().unwrap(), *expected);
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let delivery = consumer.next().await.unwrap();
    assert_eq!((delivery.properties().unwrap(), delivery.body()), (expected.clone(), &b"body"[..]));
}

pub async fn none(server: &Server) {
    let channel = server.channel().await;
    round_trip(&channel, &Properties::new()).await;
    round_trip(&channel, &Properties::new().with_headers(FieldTable::new())).await;
    round_trip(&channel, &Properties::new().persistent()).await;
}

pub async fn all_fourteen(server: &Server) {
    let properties = Properties::new()
        .with_content_type("text/plain")
        .and_then(|p| p.with_content_encoding("utf-8"))
        .map(|p| p.with_headers(FieldTable::new().with("n", 1)))
        .map(|p| p.with_delivery_mode(1))
        .map(|p| p.with_priority(9))
        .and_then(|p| p.with_correlation_id("correlation, größer"))
        .and_then(|p| p.with_reply_to("reply"))
        .and_then(|p| p.with_expiration("3600000"))
        .and_then(|p| p.with_message_id("x".repeat(255)))
        .map(|p| p.with_timestamp(1_700_000_000))
        .and_then(|p| p.with_kind("kind"))
        .and_then(|p| p.with_user_id("guest"))
        .and_then(|p| p.with_app_id(""))
        .and_then(|p| p.with_cluster_id("cluster"))
        .unwrap();
    round_trip(&server.channel().await, &properties).await;
}

/// A trace goes on with who consumes, whatever else is in the headers.
pub async fn trace_context(server: &Server) {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
    let context = TraceContext::parse(parent, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE").unwrap();
    let mut properties = Properties::new().with_header("zoo", 1).unwrap().with_header("a", "b").unwrap();
    context.inject(&mut properties);
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    publisher.publish(queue.name(), "traced").properties(&properties).await.unwrap();
    publisher.publish(queue.name(), "untraced").await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let traced = consumer.next().await.unwrap();
    assert_eq!(TraceContext::of_message(&traced), Some(context));
    assert_eq!(traced.properties().unwrap().headers.unwrap().len(), 4);
    assert_eq!(TraceContext::of_message(&consumer.next().await.unwrap()), None);
}

/// RabbitMQ 4 sorts headers by name, only those in the outermost table.
pub fn as_carried(mut properties: Properties, by: Version) -> Properties {
    if by == Version::RabbitMq4
        && let Some(headers) = &properties.headers
    {
        let mut entries: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        entries.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        properties.headers = Some(entries.into_iter().collect());
    }
    properties
}

fn every_type() -> FieldTable {
    FieldTable::new()
        .with("true", true)
        .with("false", false)
        .with("i8", i8::MIN)
        .with("u8", u8::MAX)
        .with("i16", i16::MIN)
        .with("u16", u16::MAX)
        .with("i32", i32::MIN)
        .with("u32", u32::MAX)
        .with("i64", i64::MIN)
        .with("f32", 1.5_f32)
        .with("f64", -2.25_f64)
        .with("decimal", FieldValue::Decimal { scale: 2, value: 314 })
        .with("string", "grüße")
        .with("empty string", "")
        .with("long string", "x".repeat(10_000))
        .with("bytes", FieldValue::Bytes(LongStr::new(vec![0, 255, 254]).unwrap()))
        .with("timestamp", FieldValue::Timestamp(1_700_000_000))
        .with("void", FieldValue::Void)
        .with("empty table", FieldTable::new())
        .with("empty array", Vec::<FieldValue>::new())
}

pub async fn every_field_type(server: &Server) {
    let values: Vec<_> = every_type().iter().map(|(_, value)| value.clone()).collect();
    let headers = every_type().with("table", every_type()).with("array", values);
    let sent = Properties::new().with_headers(headers);
    let expected = as_carried(sent.clone(), server.version().await);
    carried(&server.channel().await, &sent, &expected).await;
}

/// A table with an array with a table, and so on.
fn nested(pairs: usize) -> Properties {
    let innermost = FieldTable::new().with("innermost", 1);
    let headers =
        (0..pairs).fold(innermost, |table, _| FieldTable::new().with("in", vec![FieldValue::from(table)]));
    Properties::new().with_headers(headers)
}

pub async fn headers_deep(server: &Server) {
    let channel = server.channel().await;
    round_trip(&channel, &nested(15)).await;
    let publisher = channel.publisher().await.unwrap();
    let too_deep = nested(20);
    let refused = publisher.publish("key", "body").properties(&too_deep).await;
    let Err(PublishError::NotSent { error, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(error, CommandError::Wire(WireError::TableTooDeep));
}

pub async fn bytes_that_are_no_text(server: &Server) {
    let bytes = LongStr::new(vec![b'a', 0xff, 0xfe, 0]).unwrap();
    let headers = FieldTable::new().with("string", FieldValue::String(bytes));
    let properties = Properties::new()
        .with_headers(headers)
        .with_message_id(vec![0xff, 0x80])
        .and_then(|p| p.with_kind(vec![0]))
        .unwrap();
    round_trip(&server.channel().await, &properties).await;
}

/// They must fit into one frame: the client refuses them, and the channel lives on.
pub async fn headers_too_large(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let large = |size| Properties::new().with_headers(FieldTable::new().with("large", "x".repeat(size)));
    let refused = publisher.publish(queue.name(), "body").properties(&large(131_072)).await;
    let Err(PublishError::NotSent { error: CommandError::Wire(error), body }) = refused else {
        panic!("{refused:?}");
    };
    assert!(matches!(error, WireError::FrameTooLarge { .. }), "{error:?}");
    assert_eq!(body, "body");
    round_trip(&channel, &large(131_000)).await;
}

pub async fn user_id_must_be_own(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let properties = Properties::new().with_user_id("somebody").unwrap();
    assert_eq!(fate(publisher.publish("key", "x").properties(&properties).await), Fate::Closed(406));
    let text = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'";
    closes_channel(&channel, channel.get("whatever"), 406, text).await;
}

pub async fn expiration_must_be_a_number(server: &Server) {
    let connection = server.connect().await;
    for (expiration, why) in
        [("abc", "no_integer"), ("12x", "{leftover_string,\"x\"}"), ("-1", "{value_negative,-1}")]
    {
        let channel = connection.open_channel().await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        let properties = Properties::new().with_expiration(expiration).unwrap();
        assert_eq!(fate(publisher.publish("key", "x").properties(&properties).await), Fate::Closed(406));
        let text = format!("PRECONDITION_FAILED - invalid expiration '{expiration}': {why}");
        closes_channel(&channel, channel.get("whatever"), 406, &text).await;
    }
}
