//! What a client must not do, and what the server says to it.

use hopmq::ShortStr;
use hopmq_proto::amqp::{FrameKind, Method, basic, channel, confirm, connection, queue};

use super::raw::TUNE_OK;
use super::{Raw, Server};

/// A raw connection with one message delivered on channel 1 by a get, to be acked as 1.
async fn with_delivery(server: &Server) -> Raw {
    let mut raw = server.raw_channel().await;
    let queue = raw.declare_queue(1).await;
    let publish = basic::Publish { routing_key: queue.clone(), ..basic::Publish::default() };
    raw.publish(1, publish, b"x").await;
    let got = raw.call(1, basic::Get { queue, no_ack: false }).await;
    assert!(matches!(got, Method::BasicGetOk(_)), "{got:?}");
    raw.body().await;
    raw
}

pub async fn ack_twice(server: &Server) {
    let mut raw = with_delivery(server).await;
    for _ in 0..2 {
        raw.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    }
    raw.expect_channel_close(1, 406, "PRECONDITION_FAILED - unknown delivery tag 1").await;
    raw.expect_alive().await;
}

pub async fn unknown_tag(server: &Server) {
    let mut raw = with_delivery(server).await;
    for (number, method) in [
        (2, Method::from(basic::Ack { delivery_tag: 7, multiple: false })),
        (3, basic::Ack { delivery_tag: 7, multiple: true }.into()),
        (4, basic::Nack { delivery_tag: 7, multiple: false, requeue: true }.into()),
        (5, basic::Reject { delivery_tag: 7, requeue: false }.into()),
    ] {
        raw.open_channel(number).await;
        raw.send(number, method).await;
        raw.expect_channel_close(number, 406, "PRECONDITION_FAILED - unknown delivery tag 7").await;
    }
    raw.expect_alive().await;
}

pub async fn ack_of_another_channel(server: &Server) {
    let mut raw = with_delivery(server).await;
    raw.open_channel(2).await;
    raw.send(2, basic::Ack { delivery_tag: 1, multiple: false }).await;
    raw.expect_channel_close(2, 406, "PRECONDITION_FAILED - unknown delivery tag 1").await;
    raw.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    raw.expect_alive().await;
}

pub async fn ack_zero(server: &Server) {
    let mut raw = with_delivery(server).await;
    raw.send(1, basic::Ack { delivery_tag: 0, multiple: false }).await;
    raw.expect_channel_close(1, 406, "PRECONDITION_FAILED - unknown delivery tag 0").await;
}

pub async fn ack_zero_multiple_of_nothing(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.send(1, basic::Ack { delivery_tag: 0, multiple: true }).await;
    raw.declare_queue(1).await; // the channel lives
}

pub async fn trap_33_immediate(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.publish(1, basic::Publish { immediate: true, ..basic::Publish::default() }, b"x").await;
    raw.expect_connection_close(540, "NOT_IMPLEMENTED - immediate=true").await;
}

pub async fn trap_33_recover_without_requeue(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.send(1, basic::Recover { requeue: false }).await;
    raw.expect_connection_close(540, "NOT_IMPLEMENTED - requeue=false").await;
}

pub async fn trap_33_flow_is_not_implemented(server: &Server) {
    let mut raw = server.raw_channel().await;
    let answer = raw.call(1, channel::Flow { active: true }).await;
    assert_eq!(answer, channel::FlowOk { active: true }.into());
    raw.send(1, channel::Flow { active: false }).await;
    raw.expect_connection_close(540, "NOT_IMPLEMENTED - active=false").await;
}

pub async fn open_twice(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.send(1, channel::Open {}).await;
    raw.expect_connection_close(504, "CHANNEL_ERROR - second 'channel.open' seen").await;
}

pub async fn method_on_unopened_channel(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.send(2, queue::Declare { exclusive: true, ..queue::Declare::default() }).await;
    raw.expect_connection_close(504, "CHANNEL_ERROR - expected 'channel.open'").await;
}

/// After the server has closed a channel, what comes on it is not heard until the answer; then it is free.
pub async fn silence_after_channel_close(server: &Server) {
    let mut raw = server.raw_channel().await;
    let missing = ShortStr::try_from(server.name("missing")).unwrap();
    let look = queue::Declare { queue: missing.clone(), passive: true, ..queue::Declare::default() };
    for _ in 0..3 {
        raw.send(1, look.clone()).await;
        raw.publish(1, basic::Publish::default(), b"unheard").await;
    }
    raw.expect_channel_close(1, 404, &format!("NOT_FOUND - no queue '{missing}' in vhost '/'")).await;
    raw.open_channel(1).await;
    raw.declare_queue(1).await;
}

pub async fn passive_after_close(server: &Server) {
    let mut raw = server.raw_channel().await;
    let close = channel::Close { reply_code: 200, ..channel::Close::default() };
    assert_eq!(raw.call(1, close).await, channel::CloseOk {}.into());
    raw.send(1, queue::Declare { passive: true, ..queue::Declare::default() }).await;
    raw.expect_connection_close(504, "CHANNEL_ERROR - expected 'channel.open'").await;
}

pub async fn no_wait(server: &Server) {
    let mut raw = server.raw_channel().await;
    let name = ShortStr::try_from(server.name("queue")).unwrap();
    let declare =
        queue::Declare { queue: name.clone(), exclusive: true, no_wait: true, ..Default::default() };
    raw.send(1, declare).await;
    raw.send(1, queue::Purge { queue: name.clone(), no_wait: true }).await;
    raw.send(1, confirm::Select { no_wait: true }).await;
    let consume = basic::Consume { queue: name.clone(), no_wait: true, ..basic::Consume::default() };
    raw.send(1, basic::Consume { consumer_tag: ShortStr::from_static("tag"), ..consume }).await;
    let answer = raw.call(1, queue::Delete { queue: name, ..queue::Delete::default() }).await;
    assert_eq!(answer, queue::DeleteOk { message_count: 0 }.into(), "the first answer of all");
    let (_, cancel) = raw.method().await;
    let expected = basic::Cancel { consumer_tag: ShortStr::from_static("tag"), no_wait: true };
    assert_eq!(cancel, expected.into(), "and then the consumer's end");
}

pub async fn return_before_ack(server: &Server) {
    let mut raw = server.raw_channel().await;
    assert_eq!(raw.call(1, confirm::Select { no_wait: false }).await, confirm::SelectOk {}.into());
    let routing_key = ShortStr::try_from(server.name("nowhere")).unwrap();
    let publish = basic::Publish { routing_key, mandatory: true, ..basic::Publish::default() };
    raw.publish(1, publish.clone(), b"lost").await;
    let (_, method) = raw.method().await;
    let Method::BasicReturn(returned) = method else { panic!("{method:?}") };
    assert_eq!((returned.reply_code, returned.reply_text), (312, ShortStr::from_static("NO_ROUTE")));
    assert_eq!(returned.routing_key, publish.routing_key);
    assert_eq!(raw.body().await, "lost");
    let (_, ack) = raw.method().await;
    assert_eq!(ack, basic::Ack { delivery_tag: 1, multiple: false }.into());
}

pub async fn body_without_header(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.send(1, basic::Publish::default()).await;
    raw.send_frame(FrameKind::Body, 1, b"x").await;
    let text =
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
    raw.expect_connection_close(505, text).await;
}

pub async fn header_without_method(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.send_header(1, 1).await;
    let text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    raw.expect_connection_close(505, text).await;
}

pub async fn method_amid_content(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.send(1, basic::Publish::default()).await;
    raw.send_header(1, 10).await;
    raw.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    let text = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    raw.expect_connection_close(505, text).await;
}

/// Trap 12: heartbeats belong to channel 0.
pub async fn heartbeat_on_a_channel(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.write(&[8, 0, 1, 0, 0, 0, 0, 0xCE]).await;
    let (_, method) = raw.method().await;
    let Method::ConnectionClose(close) = method else { panic!("{method:?}") };
    assert_eq!(close.reply_code, 505);
}

pub async fn bad_frame_end(server: &Server) {
    let mut raw = server.raw_channel().await;
    raw.write(&[1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 10, 0xCD]).await;
    let (_, method) = raw.method().await;
    let Method::ConnectionClose(close) = method else { panic!("{method:?}") };
    assert_eq!(close.reply_code, 501);
}

/// Before the login there is nothing to have.
pub async fn no_connection_before_login(server: &Server) {
    let mut raw = server.raw().await;
    raw.greet().await;
    raw.send(0, connection::Open { virtual_host: ShortStr::from_static("/") }).await;
    match raw.frame().await {
        None => {}
        Some(frame) => {
            let method = Method::decode(&frame.payload).unwrap();
            let Method::ConnectionClose(close) = method else { panic!("{method:?}") };
            assert_eq!(close.reply_code, 503);
        }
    }
}

pub async fn trap_8_a_frame_larger_than_agreed(server: &Server) {
    let mut raw = server.raw().await;
    let config = server.config();
    raw.tune(&config, connection::TuneOk { frame_max: 4096, ..TUNE_OK }).await;
    raw.call(0, connection::Open { virtual_host: config.virtual_host }).await;
    raw.open_channel(1).await;
    raw.send_frame(FrameKind::Body, 1, &[0; 4097]).await;
    let (_, method) = raw.method().await;
    let Method::ConnectionClose(close) = method else { panic!("{method:?}") };
    assert_eq!(close.reply_code, 501);
}

/// What comes after a close is not heard. Of two that cross, the client must answer the server's; RabbitMQ does not
/// answer the other.
pub async fn trap_13_nothing_is_heard_after_a_close(server: &Server) {
    let close = connection::Close { reply_code: 200, ..connection::Close::default() };
    let mut raw = server.raw_channel().await;
    raw.send(0, close.clone()).await;
    raw.send(1, queue::Declare { exclusive: true, ..queue::Declare::default() }).await;
    assert_eq!(raw.method().await, (0, connection::CloseOk {}.into()));

    let mut raw = server.raw_channel().await;
    raw.send(1, channel::Open {}).await;
    raw.send(0, close).await;
    let (_, method) = raw.method().await;
    let Method::ConnectionClose(close) = method else { panic!("{method:?}") };
    assert_eq!(close.reply_code, 504);
    raw.send(0, connection::CloseOk {}).await;
    while let Some(frame) = raw.frame().await {
        assert_eq!(Method::decode(&frame.payload).unwrap(), connection::CloseOk {}.into());
    }
}
