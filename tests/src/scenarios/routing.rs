//! Which queues a message goes to.

use hopmq::{Channel, ExchangeKind, FieldTable, FieldValue, Properties, Queue};

use super::{Server, closes_channel, drain, routed};

/// A queue that is bound to `exchange`.
async fn bound(channel: &Channel, exchange: &str, key: &str, arguments: FieldTable) -> Queue {
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    channel.bind_queue_with(queue.name(), exchange, key, arguments).await.unwrap();
    queue
}

async fn exchange(server: &Server, channel: &Channel, kind: ExchangeKind) -> String {
    let name = server.name("exchange");
    channel.declare_exchange(&name, &kind).transient().auto_delete().await.unwrap();
    name
}

pub async fn default_exchange(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publisher.publish(queue.name(), "here").await.unwrap();
    let got = channel.get(queue.name()).await.unwrap().unwrap();
    assert_eq!((&*got.exchange(), &*got.routing_key(), got.body()), ("", queue.name(), &b"here"[..]));
}

pub async fn direct(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let exchange = exchange(server, &channel, ExchangeKind::Direct).await;
    let red = bound(&channel, &exchange, "red", FieldTable::new()).await;
    let both = bound(&channel, &exchange, "red", FieldTable::new()).await;
    channel.bind_queue(both.name(), &exchange, "blue").await.unwrap();
    for (key, reaches) in [("red", true), ("blue", true), ("Red", false), ("red.a", false), ("", false)] {
        assert_eq!(routed(&publisher, &exchange, key, &Properties::new()).await, reaches, "{key}");
    }
    assert_eq!(drain(&channel, red.name()).await, ["red"]);
    assert_eq!(drain(&channel, both.name()).await, ["red", "blue"]);
    channel.unbind_queue(both.name(), &exchange, "blue", FieldTable::new()).await.unwrap();
    assert!(!routed(&publisher, &exchange, "blue", &Properties::new()).await);
}

pub async fn fanout(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let exchange = exchange(server, &channel, ExchangeKind::Fanout).await;
    let one = bound(&channel, &exchange, "", FieldTable::new()).await;
    let two = bound(&channel, &exchange, "ignored", FieldTable::new()).await;
    for key in ["", "whatever"] {
        assert!(routed(&publisher, &exchange, key, &Properties::new()).await);
    }
    assert_eq!(drain(&channel, one.name()).await, ["", "whatever"]);
    assert_eq!(drain(&channel, two.name()).await, ["", "whatever"]);
}

pub async fn topic(server: &Server) {
    const KEYS: [&str; 9] = ["", "a", "b", "a.b", "b.a", "a.c.b", "a.c.c.b", "a.", "a..b"];
    const TABLE: [(&str, &[&str]); 12] = [
        ("#", &KEYS),
        ("#.#", &KEYS),
        ("*", &["a", "b"]),
        ("a", &["a"]),
        ("a.b", &["a.b"]),
        ("*.b", &["a.b"]),
        ("a.*", &["a.b", "a."]),
        ("a.#", &["a", "a.b", "a.c.b", "a.c.c.b", "a.", "a..b"]),
        ("#.b", &["b", "a.b", "a.c.b", "a.c.c.b", "a..b"]),
        ("a.#.b", &["a.b", "a.c.b", "a.c.c.b", "a..b"]),
        ("a.*.b", &["a.c.b", "a..b"]),
        ("*.#", &["a", "b", "a.b", "b.a", "a.c.b", "a.c.c.b", "a.", "a..b"]),
    ];
    let channel = server.channel().await;
    let exchange = exchange(server, &channel, ExchangeKind::Topic).await;
    let mut queues = Vec::new();
    for (pattern, _) in TABLE {
        queues.push(bound(&channel, &exchange, pattern, FieldTable::new()).await);
    }
    let publisher = channel.publisher().await.unwrap();
    for key in KEYS {
        publisher.publish(key, key).exchange(&exchange).await.unwrap();
    }
    for (queue, (pattern, expected)) in queues.iter().zip(TABLE) {
        assert_eq!(drain(&channel, queue.name()).await, expected, "{pattern}");
    }
}

/// Whether a message with `headers` passes a binding with `arguments`, for each pair.
async fn passes(server: &Server, arguments: FieldTable, table: &[(FieldTable, bool)]) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let exchange = exchange(server, &channel, ExchangeKind::Headers).await;
    bound(&channel, &exchange, "", arguments.clone()).await;
    for (headers, expected) in table {
        let properties = Properties::new().with_headers(headers.clone());
        let found = routed(&publisher, &exchange, "", &properties).await;
        assert_eq!(found, *expected, "{headers:?} through {arguments:?}");
    }
}

fn table() -> FieldTable {
    FieldTable::new()
}

pub async fn headers_all(server: &Server) {
    let two = table().with("a", 1).with("b", "two");
    let passing = [
        (two.clone(), true),
        (two.clone().with("c", 3), true),
        (table().with("a", 1_i64).with("b", "two"), true),
        (table().with("a", 1), false),
        (table().with("a", 2).with("b", "two"), false),
        (table().with("a", "1").with("b", "two"), false),
        (table(), false),
    ];
    passes(server, two.clone().with("x-match", "all"), &passing).await;
    passes(server, two, &passing).await;
    passes(server, table().with("x-match", "all"), &[(table(), true), (table().with("a", 1), true)]).await;
    let present = table().with("x-match", "all").with("a", FieldValue::Void);
    passes(server, present, &[(table().with("a", 5), true), (table().with("b", 5), false)]).await;
}

pub async fn headers_any(server: &Server) {
    let either = table().with("x-match", "any").with("a", 1).with("b", "two");
    let passing = [
        (table().with("a", 1), true),
        (table().with("b", "two").with("a", 7), true),
        (table().with("a", 2), false),
        (table(), false),
    ];
    passes(server, either, &passing).await;
    passes(server, table().with("x-match", "any"), &[(table(), false), (table().with("a", 1), false)]).await;
}

/// Names that start with `x-` count only where the binding says so.
pub async fn headers_with_x(server: &Server) {
    let binding = |how| table().with("x-match", how).with("x-a", 1).with("b", 2);
    let (x_only, b_only, both) =
        (table().with("x-a", 1), table().with("b", 2), table().with("x-a", 1).with("b", 2));
    for (how, expected) in [
        ("all", [false, true, true]),
        ("any", [false, true, true]),
        ("all-with-x", [false, false, true]),
        ("any-with-x", [true, true, true]),
    ] {
        let messages = [x_only.clone(), b_only.clone(), both.clone()];
        let rows: Vec<_> = messages.into_iter().zip(expected).collect();
        passes(server, binding(how), &rows).await;
    }
}

pub async fn unknown_match(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let bind = channel.bind_queue_with(queue.name(), "amq.headers", "", table().with("x-match", "some"));
    let text = "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or \
                any-with-x";
    closes_channel(&channel, bind, 406, text).await;
}

pub async fn each_queue_once(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let exchange = exchange(server, &channel, ExchangeKind::Topic).await;
    let queue = bound(&channel, &exchange, "a.*", FieldTable::new()).await;
    for pattern in ["a.*", "#", "*.b"] {
        channel.bind_queue(queue.name(), &exchange, pattern).await.unwrap();
    }
    publisher.publish("a.b", "once").exchange(&exchange).await.unwrap();
    assert_eq!(drain(&channel, queue.name()).await, ["once"]);
}

pub async fn exchange_to_exchange(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let outer = exchange(server, &channel, ExchangeKind::Topic).await;
    let inner = exchange(server, &channel, ExchangeKind::Direct).await;
    channel.bind_exchange(&inner, &outer, "red.#", FieldTable::new()).await.unwrap();
    let queue = bound(&channel, &inner, "red.a", FieldTable::new()).await;
    for (key, reaches) in [("red.a", true), ("red.b", false), ("blue", false)] {
        assert_eq!(routed(&publisher, &outer, key, &Properties::new()).await, reaches, "{key}");
    }
    let got = channel.get(queue.name()).await.unwrap().unwrap();
    assert_eq!(got.exchange(), outer.as_str(), "the exchange that it was published to");
    channel.unbind_exchange(&inner, &outer, "red.#", FieldTable::new()).await.unwrap();
    let text = format!("NOT_FOUND - no exchange '{outer}' in vhost '/'");
    let declare = channel.declare_exchange(&outer, &ExchangeKind::Topic).passive();
    closes_channel(&channel, declare, 404, &text).await; // it went with its last binding
}

pub async fn exchange_cycle(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let one = exchange(server, &channel, ExchangeKind::Fanout).await;
    let two = exchange(server, &channel, ExchangeKind::Fanout).await;
    for (destination, source) in [(&two, &one), (&one, &two), (&one, &one)] {
        channel.bind_exchange(destination, source, "", FieldTable::new()).await.unwrap();
    }
    assert!(!routed(&publisher, &one, "round", &Properties::new()).await);
    let queue = bound(&channel, &two, "", FieldTable::new()).await;
    channel.bind_queue(queue.name(), &one, "").await.unwrap();
    assert!(routed(&publisher, &one, "round", &Properties::new()).await);
    assert_eq!(drain(&channel, queue.name()).await, ["round"]);
    for exchange in [one, two] {
        channel.delete_exchange(&exchange).await.unwrap();
    }
}

/// What an exchange cannot route goes to its alternate exchange.
pub async fn alternate_exchange(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let last = exchange(server, &channel, ExchangeKind::Fanout).await;
    let first = server.name("exchange");
    let declare = channel.declare_exchange(&first, &ExchangeKind::Direct).transient().auto_delete();
    declare.alternate_exchange(&last).await.unwrap();
    let known = bound(&channel, &first, "known", FieldTable::new()).await;
    assert!(!routed(&publisher, &first, "unknown", &Properties::new()).await, "it routes nothing yet");
    let rest = bound(&channel, &last, "", FieldTable::new()).await;
    for key in ["known", "unknown"] {
        assert!(routed(&publisher, &first, key, &Properties::new()).await);
    }
    assert_eq!(drain(&channel, known.name()).await, ["known"]);
    assert_eq!(drain(&channel, rest.name()).await, ["unknown"]);
}
