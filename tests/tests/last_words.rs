//! Servers that say why they go, and are gone before the client has read it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::amqp::{ShortStr, connection};
use hopmq_tests::scenarios::{Raw, current_thread};
use hopmq_tokio::io::Transport;
use hopmq_tokio::memory::{Pipe, pipe};
use hopmq_tokio::{CloseReason, Config, Connection, Lost, Properties, Tokio};
use tokio::sync::oneshot;
use tokio::time::Instant;

fn close() -> connection::Close {
    connection::Close {
        reply_code: 320,
        reply_text: ShortStr::from_static("CONNECTION_FORCED - for a restart"),
        class_id: 0,
        method_id: 0,
    }
}

/// What a client is told that writes after the server has said its last words and gone.
fn reason(last_words: impl AsyncFnOnce(&mut Raw)) -> CloseReason {
    current_thread().block_on(async {
        let (ours, theirs) = pipe();
        let (send, receive) = oneshot::channel();
        tokio::spawn(async move {
            let mut server = Raw::new(theirs);
            server.serve_channel().await;
            assert!(send.send(server).is_ok());
        });
        let connection = Connection::open(&Tokio::current(), ours, Config::default()).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        let mut server = receive.await.unwrap();
        last_words(&mut server).await; // there is room for them: nothing else runs before what follows
        drop(server);
        channel.publish("", "queue", &Properties::new(), "too late").await.unwrap();
        let reason = connection.closed().await;
        assert_eq!(channel.get("queue").await.unwrap_err().close_reason(), Some(&*reason));
        CloseReason::clone(&reason)
    })
}

/// The first cause is the one that counts (pain 19): what has come is read, though nothing can be written any more.
#[test]
fn are_read_though_writing_has_failed() {
    let CloseReason::Server(said) = reason(async |server| server.send(0, close()).await) else { panic!() };
    assert_eq!((said.code.0, &*said.text.to_string_lossy()), (320, "CONNECTION_FORCED - for a restart"));
}

/// More than is read at once.
#[test]
fn are_read_behind_everything_else() {
    let reason = reason(async |server| {
        for _ in 0..100 {
            server.send(0, connection::Blocked { reason: ShortStr::new(vec![b'x'; 255]).unwrap() }).await;
        }
        server.send(0, close()).await;
    });
    assert!(matches!(&reason, CloseReason::Server(said) if said.code.0 == 320), "{reason:?}");
}

#[test]
fn were_none() {
    let reason = reason(async |_| ());
    assert!(matches!(&reason, CloseReason::Lost(Lost::Eof)), "{reason:?}");
}

/// It takes nothing more once it is broken, and its peer is as silent as before.
struct OneWay(Pipe, Arc<AtomicBool>);

impl Transport for OneWay {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, input)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.1.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.0.poll_write(cx, chunks)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

#[test]
fn are_waited_for_a_second() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let (ours, theirs) = pipe();
        let broken = Arc::new(AtomicBool::new(false));
        let ours = OneWay(ours, broken.clone());
        let server = tokio::spawn(async {
            let mut server = Raw::new(theirs);
            server.serve_channel().await;
            server
        });
        let connection = Connection::open(&Tokio::current(), ours, Config::default()).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        let _silent = server.await.unwrap();
        broken.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        channel.publish("", "queue", &Properties::new(), "lost").await.unwrap();
        let CloseReason::Lost(Lost::Transport(said)) = &*connection.closed().await else { panic!() };
        assert_eq!((&**said, begin.elapsed()), ("connection reset", Duration::from_secs(1)));
    });
}
