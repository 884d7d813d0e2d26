//! Declaring, deleting and binding exchanges.

use hopmq::{ExchangeKind, FieldTable, ShortStr};
use hopmq_proto::amqp::{Method, exchange};

use super::{Server, closes_channel, routed};

const NO_DEFAULT: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";

pub async fn predeclared(server: &Server) {
    let channel = server.channel().await;
    for (name, kind) in [
        ("amq.direct", ExchangeKind::Direct),
        ("amq.fanout", ExchangeKind::Fanout),
        ("amq.topic", ExchangeKind::Topic),
        ("amq.headers", ExchangeKind::Headers),
        ("amq.match", ExchangeKind::Headers),
    ] {
        channel.declare_exchange(name, &kind).durable().await.unwrap();
    }
    channel.declare_exchange("amq.rabbitmq.trace", &ExchangeKind::Topic).passive().await.unwrap();
}

pub async fn declare_again(server: &Server) {
    let channel = server.channel().await;
    let exchange = server.name("exchange");
    for _ in 0..2 {
        channel.declare_exchange(&exchange, &ExchangeKind::Topic).durable().await.unwrap();
    }
    channel.declare_exchange(&exchange, &ExchangeKind::Fanout).passive().await.unwrap();
    channel.delete_exchange(&exchange).await.unwrap();
}

pub async fn inequivalent(server: &Server) {
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    let exchange = server.name("exchange");
    owner.declare_exchange(&exchange, &ExchangeKind::Direct).durable().await.unwrap();
    for (argument, received, current) in [
        ("type", "fanout", "direct"),
        ("durable", "false", "true"),
        ("auto_delete", "true", "false"),
        ("internal", "true", "false"),
    ] {
        let channel = connection.open_channel().await.unwrap();
        let kind = if argument == "type" { ExchangeKind::Fanout } else { ExchangeKind::Direct };
        let declare = channel.declare_exchange(&exchange, &kind);
        let declare = if argument == "durable" { declare.transient() } else { declare.durable() };
        let declare = match argument {
            "auto_delete" => declare.auto_delete(),
            "internal" => declare.internal(),
            _ => declare,
        };
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange '{exchange}' in vhost '/': received \
             '{received}' but current is '{current}'"
        );
        closes_channel(&channel, declare, 406, &text).await;
    }
    owner.delete_exchange(&exchange).await.unwrap();
}

pub async fn passive_missing(server: &Server) {
    let channel = server.channel().await;
    let exchange = server.name("missing");
    let text = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
    let declare = channel.declare_exchange(&exchange, &ExchangeKind::Direct).passive();
    closes_channel(&channel, declare, 404, &text).await;
}

pub async fn reserved_names(server: &Server) {
    let connection = server.connect().await;
    let exchange = format!("amq.{}", server.name("mine"));
    let text = format!("ACCESS_REFUSED - exchange name '{exchange}' contains reserved prefix 'amq.*'");
    let channel = connection.open_channel().await.unwrap();
    let declare = channel.declare_exchange(&exchange, &ExchangeKind::Direct).durable();
    closes_channel(&channel, declare, 403, &text).await;

    let text = "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed";
    let channel = connection.open_channel().await.unwrap();
    closes_channel(&channel, channel.delete_exchange("amq.direct"), 403, text).await;
}

pub async fn default_is_protected(server: &Server) {
    let connection = server.connect().await;
    let queue = server.name("queue");
    let owner = connection.open_channel().await.unwrap();
    owner.declare_queue(&queue).exclusive().await.unwrap();

    let channel = connection.open_channel().await.unwrap();
    closes_channel(&channel, channel.bind_queue(&queue, "", "key"), 403, NO_DEFAULT).await;
    let channel = connection.open_channel().await.unwrap();
    let unbind = channel.unbind_queue(&queue, "", &queue, FieldTable::new());
    closes_channel(&channel, unbind, 403, NO_DEFAULT).await;
    let channel = connection.open_channel().await.unwrap();
    closes_channel(&channel, channel.delete_exchange(""), 403, NO_DEFAULT).await;
    let channel = connection.open_channel().await.unwrap();
    let declare = channel.declare_exchange("", &ExchangeKind::Direct).durable();
    closes_channel(&channel, declare, 403, NO_DEFAULT).await;
    let channel = connection.open_channel().await.unwrap();
    let bind = channel.bind_exchange("amq.fanout", "", "key", FieldTable::new());
    closes_channel(&channel, bind, 403, NO_DEFAULT).await;
}

pub async fn internal(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let (inside, outside) = (server.name("inside"), server.name("outside"));
    channel.declare_exchange(&inside, &ExchangeKind::Fanout).durable().internal().await.unwrap();
    channel.declare_exchange(&outside, &ExchangeKind::Fanout).durable().await.unwrap();
    channel.bind_exchange(&inside, &outside, "", FieldTable::new()).await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    channel.bind_queue(queue.name(), &inside, "").await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    assert!(routed(&publisher, &outside, "key", &Default::default()).await);

    let direct = connection.open_channel().await.unwrap();
    direct.publish(&inside, "", &Default::default(), "x").await.unwrap();
    let text = format!("ACCESS_REFUSED - cannot publish to internal exchange '{inside}' in vhost '/'");
    closes_channel(&direct, direct.get(queue.name()), 403, &text).await;
    channel.delete_exchange(&inside).await.unwrap();
    channel.delete_exchange(&outside).await.unwrap();
}

pub async fn auto_delete(server: &Server) {
    let channel = server.channel().await;
    let exchange = server.name("exchange");
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    channel.declare_exchange(&exchange, &ExchangeKind::Fanout).transient().auto_delete().await.unwrap();
    for key in ["one", "two"] {
        channel.bind_queue(queue.name(), &exchange, key).await.unwrap();
    }
    channel.unbind_queue(queue.name(), &exchange, "one", FieldTable::new()).await.unwrap();
    channel
        .declare_exchange(&exchange, &ExchangeKind::Fanout)
        .passive()
        .await
        .expect("it has a binding left");
    channel.delete_queue(queue.name()).await.unwrap();
    let text = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
    let declare = channel.declare_exchange(&exchange, &ExchangeKind::Fanout).passive();
    closes_channel(&channel, declare, 404, &text).await;
}

pub async fn delete_missing(server: &Server) {
    let channel = server.channel().await;
    channel.delete_exchange(&server.name("missing")).await.unwrap();
}

pub async fn delete_if_unused(server: &Server) {
    let mut raw = server.raw_channel().await;
    let name = ShortStr::try_from(server.name("exchange")).unwrap();
    let queue = raw.declare_queue(1).await;
    let declare = exchange::Declare {
        exchange: name.clone(),
        kind: ShortStr::from_static("direct"),
        ..exchange::Declare::default()
    };
    raw.call(1, declare).await;
    let bind = hopmq_proto::amqp::queue::Bind { queue, exchange: name.clone(), ..Default::default() };
    raw.call(1, bind).await;
    raw.open_channel(2).await;
    let delete = exchange::Delete { exchange: name.clone(), if_unused: true, no_wait: false };
    raw.send(2, delete).await;
    let text = format!("PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use");
    raw.expect_channel_close(2, 406, &text).await;
    let delete = exchange::Delete { exchange: name, ..exchange::Delete::default() };
    assert_eq!(raw.call(1, delete).await, Method::ExchangeDeleteOk(exchange::DeleteOk {}));
}

/// With an exchange go its bindings.
pub async fn delete_unbinds(server: &Server) {
    let channel = server.channel().await;
    let exchange = server.name("exchange");
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    channel.declare_exchange(&exchange, &ExchangeKind::Fanout).durable().await.unwrap();
    channel.bind_queue(queue.name(), &exchange, "").await.unwrap();
    assert!(routed(&publisher, &exchange, "", &Default::default()).await);
    channel.delete_exchange(&exchange).await.unwrap();
    channel.declare_exchange(&exchange, &ExchangeKind::Fanout).durable().await.unwrap();
    assert!(!routed(&publisher, &exchange, "", &Default::default()).await);
    channel.delete_exchange(&exchange).await.unwrap();
}

pub async fn bind_needs_both_ends(server: &Server) {
    let connection = server.connect().await;
    let missing = server.name("missing");
    let no_exchange = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
    let no_queue = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");

    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    closes_channel(&channel, channel.bind_queue(queue.name(), &missing, ""), 404, &no_exchange).await;
    let channel = connection.open_channel().await.unwrap();
    closes_channel(&channel, channel.bind_queue(&missing, "amq.direct", ""), 404, &no_queue).await;
    for (destination, source) in [("amq.fanout", &*missing), (&missing, "amq.fanout")] {
        let channel = connection.open_channel().await.unwrap();
        let bind = channel.bind_exchange(destination, source, "", FieldTable::new());
        closes_channel(&channel, bind, 404, &no_exchange).await;
    }
}

pub async fn unbind_what_is_not_bound(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let missing = server.name("missing");
    for (queue, exchange) in
        [(queue.name(), "amq.direct"), (queue.name(), &*missing), (&missing, "amq.direct")]
    {
        channel.unbind_queue(queue, exchange, "key", FieldTable::new()).await.unwrap();
    }
    channel.unbind_exchange("amq.fanout", "amq.direct", &missing, FieldTable::new()).await.unwrap();
    channel.unbind_exchange("amq.fanout", &missing, "key", FieldTable::new()).await.unwrap();
}

pub async fn delete_of_a_handle_if_unused(server: &Server) {
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    let exchange = server.name("exchange");
    let queue = owner.declare_queue("").exclusive().await.unwrap();
    owner.declare_exchange(&exchange, &ExchangeKind::Fanout).durable().await.unwrap();
    owner.bind_queue(queue.name(), &exchange, "").await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let text = format!("PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use");
    closes_channel(&channel, channel.delete_exchange_if_unused(&exchange), 406, &text).await;
    owner.unbind_queue(queue.name(), &exchange, "", FieldTable::new()).await.unwrap();
    owner.delete_exchange_if_unused(&exchange).await.unwrap();
}
