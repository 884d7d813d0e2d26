//! Typed arguments: what is declared differently a second time is refused, which proves that it was carried.

use std::time::Duration;

use hopmq::{Channel, DeadLetterStrategy, DeclareQueue, ExchangeKind, LeaderLocator, Overflow, Specified};

use super::{Server, Version, closes_channel, closes_connection};

type Declare = DeclareQueue<Specified>;

/// An argument, and what RabbitMQ says of its first and its second value.
struct Case {
    name: &'static str,
    set: fn(Declare, bool) -> Declare,
    values: [&'static str; 2],
}

const fn case(name: &'static str, set: fn(Declare, bool) -> Declare, values: [&'static str; 2]) -> Case {
    Case { name, set, values }
}

fn either<T>(second: bool, [one, two]: [T; 2]) -> T {
    if second { two } else { one }
}

fn either_time(second: bool) -> Duration {
    either(second, [Duration::from_secs(60), Duration::from_micros(60_500)])
}

const TIMES: [&str; 2] = ["60000", "61"];

/// Declares a queue with each argument, and once more with another value.
async fn each(server: &Server, base: fn(&Channel, &str) -> Declare, cases: &[Case]) {
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    for Case { name, set, values: [current, received] } in cases {
        let queue = server.name("queue");
        set(base(&owner, &queue), false).await.unwrap();
        set(base(&owner, &queue), false).await.unwrap();
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{name}' for queue '{queue}' in vhost '/': received '{received}' \
             but current is '{current}'"
        );
        let channel = connection.open_channel().await.unwrap();
        closes_channel(&channel, set(base(&channel, &queue), true), 406, &text).await;
        owner.delete_queue(&queue).await.unwrap();
    }
}

pub async fn of_queues(server: &Server) {
    let cases = [
        case("x-message-ttl", |d, b| d.message_ttl(either_time(b)), TIMES),
        case("x-expires", |d, b| d.expires(either_time(b)), TIMES),
        case("x-max-length", |d, b| d.max_length(either(b, [5, 6])), ["5", "6"]),
        case("x-max-length-bytes", |d, b| d.max_length_bytes(either(b, [5 << 32, 6])), ["21474836480", "6"]),
        case(
            "x-overflow",
            |d, b| d.overflow(either(b, [Overflow::DropHead, Overflow::RejectPublish])),
            ["drop-head", "reject-publish"],
        ),
        case(
            "x-overflow",
            |d, b| d.overflow(either(b, [Overflow::RejectPublishDlx, Overflow::DropHead])),
            ["reject-publish-dlx", "drop-head"],
        ),
        case("x-dead-letter-exchange", |d, b| d.dead_letter_exchange(either(b, ["a", "b"])), ["a", "b"]),
        case(
            "x-dead-letter-routing-key",
            |d, b| d.dead_letter_exchange("").dead_letter_routing_key(either(b, ["a", "b"])),
            ["a", "b"],
        ),
        case("x-max-priority", |d, b| d.max_priority(either(b, [5, 10])), ["5", "10"]),
    ];
    each(server, |channel, queue| channel.declare_queue(queue).durable().classic(), &cases).await;
}

pub async fn of_quorum_queues(server: &Server) {
    let cases = [
        case("x-delivery-limit", |d, b| d.delivery_limit(either(b, [5, 6])), ["5", "6"]),
        case(
            "x-dead-letter-strategy",
            |d, b| {
                let strategies = [DeadLetterStrategy::AtLeastOnce, DeadLetterStrategy::AtMostOnce];
                let declare = d.dead_letter_exchange("").overflow(Overflow::RejectPublish);
                declare.dead_letter_strategy(either(b, strategies))
            },
            ["at-least-once", "at-most-once"],
        ),
        case(
            "x-queue-leader-locator",
            |d, b| d.leader_locator(either(b, [LeaderLocator::Balanced, LeaderLocator::ClientLocal])),
            ["balanced", "client-local"],
        ),
        case(
            "x-quorum-initial-group-size",
            |d, b| d.quorum_initial_group_size(either(b, [1, 3])),
            ["1", "3"],
        ),
    ];
    each(server, |channel, queue| channel.declare_queue(queue).quorum(), &cases).await;
}

pub async fn of_streams(server: &Server) {
    let cases = [
        case("x-max-age", |d, b| d.max_age(either_time(b)), ["60s", "1s"]),
        case("x-max-length-bytes", |d, b| d.max_length_bytes(either(b, [5 << 32, 6])), ["21474836480", "6"]),
        case(
            "x-stream-max-segment-size-bytes",
            |d, b| d.max_segment_size_bytes(either(b, [100_000, 200_000])),
            ["100000", "200000"],
        ),
        case("x-initial-cluster-size", |d, b| d.initial_cluster_size(either(b, [1, 3])), ["1", "3"]),
        case(
            "x-queue-leader-locator",
            |d, b| d.leader_locator(either(b, [LeaderLocator::ClientLocal, LeaderLocator::Balanced])),
            ["client-local", "balanced"],
        ),
    ];
    each(server, |channel, queue| channel.declare_queue(queue).stream(), &cases).await;
}

pub async fn types_of_queues(server: &Server) {
    let types = [
        ("classic", (|d| d.durable().classic()) as fn(DeclareQueue) -> Declare),
        ("quorum", |d| d.quorum()),
        ("stream", |d| d.stream()),
    ];
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    for (current, declare) in types {
        let queue = server.name("queue");
        declare(owner.declare_queue(&queue)).await.unwrap();
        for (received, other) in types {
            if received == current {
                continue;
            }
            let text = format!(
                "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '{queue}' in vhost '/': received \
                 '{received}' but current is '{current}'"
            );
            let channel = connection.open_channel().await.unwrap();
            closes_channel(&channel, other(channel.declare_queue(&queue)), 406, &text).await;
        }
        owner.delete_queue(&queue).await.unwrap();
    }
}

/// RabbitMQ has no such exchange without the plugin; newer ones close the channel only.
pub async fn delayed_is_an_exchange_of_a_plugin(server: &Server) {
    let channel = server.channel().await;
    let exchange = server.name("exchange");
    let declare = channel.declare_exchange(&exchange, &ExchangeKind::Topic).delayed().durable();
    let (code, name) = match server.version().await {
        Version::RabbitMq3 => (503, "COMMAND_INVALID"),
        Version::RabbitMq4 | Version::Embedded => (406, "PRECONDITION_FAILED"),
    };
    closes_connection(declare, code, &format!("{name} - unknown exchange type 'x-delayed-message'")).await;
}
