//! Connections: who may open them, and how they end.

use std::sync::Arc;

use hopmq::{
    CallError, CloseReason, Config, ConnectionEvent, ConsumerEnd, Credentials, Error, FieldValue, Properties,
    PublishError, ShortStr,
};

use super::{Server, closes_connection, eventually, ready, routed};

async fn refused(server: &Server, config: Config, code: u16, text: &str) {
    let reason = server.try_connect(config).await.unwrap_err();
    let CloseReason::Server(close) = &*reason else { panic!("{reason:?}") };
    assert_eq!((close.code.0, &*close.text.to_string_lossy()), (code, text));
}

const LOGIN_REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details \
                             see the broker logfile.";

pub async fn wrong_password(server: &Server) {
    let config = Config { credentials: Credentials::new("guest", "wrong"), ..server.config() };
    refused(server, config, 403, LOGIN_REFUSED).await;
}

pub async fn wrong_user(server: &Server) {
    let config = Config { credentials: Credentials::new("nobody", "guest"), ..server.config() };
    refused(server, config, 403, LOGIN_REFUSED).await;
}

/// Trap 4: the connection is closed while it is being opened, and that is what the connect call says.
pub async fn missing_vhost(server: &Server) {
    let vhost = server.name("vhost");
    let config = Config { virtual_host: ShortStr::try_from(&vhost).unwrap(), ..server.config() };
    refused(server, config, 530, &format!("NOT_ALLOWED - vhost {vhost} not found")).await;
    let config = Config { virtual_host: ShortStr::empty(), ..server.config() };
    refused(server, config, 530, "NOT_ALLOWED - vhost  not found").await;
}

pub async fn server_says_who_it_is(server: &Server) {
    let connection = server.connect().await;
    let info = connection.server();
    for name in ["product", "version", "platform", "copyright", "information", "cluster_name"] {
        assert!(info.properties.get(name).and_then(FieldValue::as_str).is_some(), "{name}");
    }
    let Some(FieldValue::Table(capabilities)) = info.properties.get("capabilities") else {
        panic!("no capabilities");
    };
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
        "per_consumer_qos",
    ] {
        assert_eq!(capabilities.get(name), Some(&FieldValue::Bool(true)), "{name}");
    }
    assert_eq!((info.channel_max, info.frame_max, info.heartbeat), (2047, 131_072, 60));
    let small = Config { frame_max: 8192, ..server.config() };
    let connection = server.try_connect(small).await.unwrap();
    assert_eq!(connection.server().frame_max, 8192);
}

/// One call breaks the connection, and everything on it tells that cause.
pub async fn the_first_cause_ends_everything(server: &Server) {
    const TEXT: &str = "NOT_ALLOWED - attempt to reuse consumer tag 'mine'";
    let connection = server.connect().await;
    let (bad, other) = (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let queue = bad.declare_queue("").exclusive().await.unwrap();
    let mut consumer = other.consume(queue.name()).await.unwrap();
    let publisher = other.publisher().await.unwrap();
    let _first = bad.consume(queue.name()).tag("mine").await.unwrap();

    closes_connection(bad.consume(queue.name()).tag("mine"), 530, TEXT).await;
    closes_connection(other.get(queue.name()), 530, TEXT).await;
    closes_connection(connection.open_channel(), 530, TEXT).await;
    closes_connection(connection.close(), 530, TEXT).await;
    let reason = connection.close_reason().unwrap();
    assert!(consumer.next().await.is_none());
    assert_eq!(consumer.end(), Some(ConsumerEnd::Closed(reason)));
    let late = publisher.publish("key", "late").await.unwrap_err();
    assert!(matches!(late, PublishError::NotSent { .. }), "{late:?}");
    assert_eq!(late.close_reason(), connection.close_reason().as_deref());
}

pub async fn closing_ends_everything(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    assert_eq!(connection.close_reason(), None);
    connection.close().await.unwrap();
    assert!(consumer.next().await.is_none());
    let requested = Arc::new(CloseReason::Requested);
    assert_eq!(consumer.end(), Some(ConsumerEnd::Closed(requested.clone())));
    assert_eq!(connection.close_reason(), Some(requested));
    let late = channel.get("whatever").await.unwrap_err();
    assert_eq!(late.close_reason(), Some(&CloseReason::Requested));
    let again = connection.close().await.unwrap_err();
    assert_eq!(again.close_reason(), Some(&CloseReason::Requested));
}

pub async fn closing_sends_what_was_published(server: &Server) {
    let watcher = server.channel().await;
    let queue = watcher.declare_queue("").exclusive().await.unwrap();
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    for n in 0..500 {
        channel.publish("", queue.name(), &Properties::new(), vec![0; n]).await.unwrap();
    }
    let publisher = channel.publisher().await.unwrap();
    let last = publisher.publish(queue.name(), vec![0; 500_000]).send().await.unwrap();
    connection.close().await.unwrap();
    match last.await {
        Ok(()) => {}
        Err(PublishError::Unconfirmed(CallError::Closed(reason))) => {
            assert_eq!(*reason, CloseReason::Requested);
        }
        other => panic!("{other:?}"),
    }
    eventually("all have come", async || ready(&watcher, queue.name()).await == 501).await;
}

pub async fn dropping_all_handles_closes(server: &Server) {
    let watcher = server.channel().await;
    let publisher = watcher.publisher().await.unwrap();
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let consumer = channel.consume(queue.name()).await.unwrap();
    drop(connection);
    drop(channel);
    assert!(
        routed(&publisher, "", queue.name(), &Properties::new()).await,
        "the consumer holds the connection"
    );
    drop(consumer);
    eventually("the exclusive queue is gone", async || {
        !routed(&publisher, "", queue.name(), &Properties::new()).await
    })
    .await;
}

pub async fn abort_ends_everything(server: &Server) {
    let watcher = server.channel().await;
    let probe = watcher.publisher().await.unwrap();
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let aborted = Arc::new(CloseReason::Aborted);
    let call = channel.get(queue.name());
    connection.abort();
    if let Err(error) = call.await {
        assert_eq!(error.close_reason(), Some(&CloseReason::Aborted)); // or it was answered before
    }
    let late = channel.get(queue.name()).await.unwrap_err();
    assert_eq!(late.close_reason(), Some(&CloseReason::Aborted));
    assert!(consumer.next().await.is_none());
    assert_eq!(consumer.end(), Some(ConsumerEnd::Closed(aborted.clone())));
    assert_eq!(connection.close_reason(), Some(aborted));
    let late = connection.close().await.unwrap_err();
    assert_eq!(late.close_reason(), Some(&CloseReason::Aborted));
    connection.abort();
    eventually("the exclusive queue is gone", async || {
        !routed(&probe, "", queue.name(), &Properties::new()).await
    })
    .await;
}

pub async fn events_tell_the_end(server: &Server) {
    let connection = server.connect().await;
    let (mut events, closed) = (connection.events(), connection.closed());
    let channel = connection.open_channel().await.unwrap();
    channel.declare_queue("").exclusive().await.unwrap();
    drop(channel);
    drop(connection); // neither listener keeps it open
    let requested = Arc::new(CloseReason::Requested);
    assert_eq!(events.next().await, Some(ConnectionEvent::Closed(requested.clone())));
    assert_eq!(events.next().await, None);
    assert_eq!(closed.await, requested);
}

/// Both take it when nothing has changed. Where the server checks it, a wrong one closes the connection.
pub async fn update_secret(server: &Server) {
    let connection = server.connect().await;
    let (first, second) =
        (connection.update_secret("guest", "a test"), connection.update_secret("guest", ""));
    second.await.unwrap();
    first.await.unwrap();
    drop(connection.update_secret("guest", "nobody waits"));
    connection.update_secret("guest", "somebody waits").await.unwrap();
    let long = connection.update_secret("guest", &"r".repeat(256)).await.unwrap_err();
    assert!(matches!(long, Error::Argument { argument: "reason", .. }), "{long:?}");
    connection.open_channel().await.unwrap();
}
