use std::fmt::Debug;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use hopmq::{
    CallError, Channel, CloseReason, CommandError, Error, Properties, PublishError, Publisher, Returned,
};

use super::sleep;

/// How long what the other side does not announce may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until something is so that nobody announces.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it never came that {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[track_caller]
fn assert_server_close(reason: &CloseReason, code: u16, text: &str) {
    match reason {
        CloseReason::Server(close) => {
            assert_eq!((close.code.0, &*close.text.to_string_lossy()), (code, text));
        }
        other => panic!("{other:?} in place of {code} {text}"),
    }
}

/// The server closes the channel because of this call, and says why to the call; the connection lives on.
pub async fn closes_channel<T: Debug>(
    channel: &Channel,
    call: impl IntoFuture<Output = Result<T, Error>>,
    code: u16,
    text: &str,
) {
    closes_connection(call, code, text).await;
    let later = channel.get("whatever").await.unwrap_err();
    assert_server_close(later.close_reason().unwrap(), code, text);
}

/// The server closes the connection (or the channel) because of this call.
pub async fn closes_connection<T: Debug>(
    call: impl IntoFuture<Output = Result<T, Error>>,
    code: u16,
    text: &str,
) {
    let error = call.await.unwrap_err();
    match error.close_reason() {
        Some(reason) => assert_server_close(reason, code, text),
        None => panic!("{error:?} in place of {code} {text}"),
    }
}

/// What became of a publish.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    Confirmed,
    Returned(Box<Returned>),
    /// Its channel ended first, with this code.
    Closed(u16),
}

pub fn fate(result: Result<(), PublishError>) -> Fate {
    let reason = match result {
        Ok(()) => return Fate::Confirmed,
        Err(PublishError::Returned(returned)) => return Fate::Returned(returned),
        Err(PublishError::Unconfirmed(CallError::Closed(reason))) => reason,
        Err(PublishError::NotSent { error: CommandError::Closed(reason), .. }) => reason,
        Err(other) => panic!("{other:?}"),
    };
    match &*reason {
        CloseReason::Server(close) => Fate::Closed(close.code.0),
        other => panic!("{other:?}"),
    }
}

/// Publishes each body to a queue, in order, and waits until the broker has them.
pub async fn publish_each<B: AsRef<str>>(
    channel: &Channel,
    queue: &str,
    bodies: impl IntoIterator<Item = B>,
) {
    let publisher = channel.publisher().mandatory().await.unwrap();
    let mut confirms = hopmq::Confirms::new();
    for body in bodies {
        confirms.push(publisher.publish(queue, body.as_ref().to_owned()).send().await.unwrap());
    }
    confirms.wait().await.unwrap();
}

/// How many messages are ready in a queue.
pub async fn ready(channel: &Channel, queue: &str) -> u32 {
    channel.declare_queue(queue).passive().await.unwrap().message_count()
}

/// Takes everything out of a queue: the bodies, each with `!` before it when it was redelivered.
pub async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(got) = channel.get(queue).await.unwrap() {
        let mark = if got.redelivered() { "!" } else { "" };
        bodies.push(format!("{mark}{}", String::from_utf8_lossy(got.body())));
        got.into_delivery().ack().unwrap();
    }
    bodies
}

/// Whether a message reaches a queue.
pub async fn routed(publisher: &Publisher, exchange: &str, key: &str, properties: &Properties) -> bool {
    match publisher.publish(key, key.to_owned()).exchange(exchange).properties(properties).mandatory().await {
        Ok(()) => true,
        Err(PublishError::Returned(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Polls a future `polls` times, as often as it is woken, then drops it. True when it was ready by then.
pub async fn drop_after(future: impl IntoFuture, polls: usize) -> bool {
    after_polls(future, polls).await.is_some()
}

/// The same, with what it gave when it was ready.
pub async fn after_polls<F: IntoFuture>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future.into_future());
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Sends a call, waits for `answered`, and drops the call without having looked at its answer.
pub async fn drop_when_answered(call: impl IntoFuture, answered: impl Future) {
    let call = call.into_future(); // sent here; a poll could take the answer, if it is there already
    answered.await;
    drop(call);
}
