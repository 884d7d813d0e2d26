//! What a runtime adapter provides: a byte stream, a clock, a place to run, a way out and a way in.
//!
//! Everything else is shared. An adapter implements these traits on its runtime's types, in about 200 lines.

use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::Instant;

pub use crate::addresses::open_first;
use crate::client::Endpoint;

/// An ordered, reliable stream of bytes in both directions.
pub trait Transport: Send + Unpin + 'static {
    /// Reads into the spare capacity of `input`, which the caller has reserved. 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// When the stream has failed.
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes some of `chunks`, in order, and says how many bytes.
    ///
    /// # Errors
    ///
    /// When the stream has failed.
    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Writes what the stream itself holds back of what was written, if it does: TLS is one that does. Called after writes,
    /// until it is ready.
    ///
    /// # Errors
    ///
    /// When the stream has failed.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends our direction of the stream: the peer reads what was written, and then the end.
    ///
    /// # Errors
    ///
    /// When the stream has failed.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time since an epoch of the clock's choice. It never goes back.
    fn now(&self) -> Instant;
}

/// One alarm.
pub trait Timer: Send + Unpin + 'static {
    /// Ready once the clock has reached `deadline`. Each call moves the alarm.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;
}

/// Where the futures of connections run.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Its clock.
    type Clock: Clock + Clone;
    /// Its alarm.
    type Timer: Timer;

    /// The clock that its timers run by.
    fn clock(&self) -> Self::Clock;

    /// A new alarm.
    fn timer(&self) -> Self::Timer;

    /// Runs `future` to its end, concurrently.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Waits for this long. Where it is dropped, nothing is left behind.
    ///
    /// A service that is to sleep on every runtime, and in a simulated world, takes a `Runtime` and sleeps with it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use hopmq::io::Runtime;
    ///
    /// async fn poll(runtime: impl Runtime) {
    ///     loop {
    ///         // ... look whether there is something to do ...
    ///         runtime.sleep(Duration::from_secs(60)).await;
    ///     }
    /// }
    /// ```
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let (mut timer, deadline) = (self.timer(), self.clock().now() + duration);
        poll_fn(move |cx| timer.poll_until(cx, deadline))
    }

    /// What `future` gives within this time; `None` when it takes longer, and it is dropped then. Of two that are ready at the
    /// same time, `future` is the first.
    fn timeout<F: Future + Send>(
        &self,
        duration: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + Send {
        let (mut timer, deadline) = (self.timer(), self.clock().now() + duration);
        async move {
            let mut future = pin!(future);
            poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => timer.poll_until(cx, deadline).map(|()| None),
            })
            .await
        }
    }

    /// A number that nobody can guess, another one at each call: from the system.
    ///
    /// All that is random comes from here: the jitter of a connection's pauses, the order of shuffled endpoints, the names that a
    /// broker makes up. So a simulator draws it from its own seed.
    fn seed(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

/// A runtime that can listen on TCP: what [`Broker`](crate::Broker)s with an address run on.
pub trait Network: Runtime {
    /// What it listens with.
    type Listener: Listener;

    /// The runtime of the task that calls this.
    ///
    /// # Panics
    ///
    /// Outside the runtime, where the runtime is of the kind that minds.
    fn current() -> Self;

    /// Listens on `address`, where port 0 is a free one; gives the address that has come of it, too.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    fn bind(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;
}

/// Where a client's connections go out. A connection keeps its dialer for as long as it lives, to come back after a loss.
pub trait Dialer: Send + Sync + 'static {
    /// What it opens.
    type Transport: Transport;

    /// Opens a stream to `endpoint`. TLS comes on top where it is asked for, and is no concern of a dialer. The caller sets
    /// the deadline, and drops the future when it has passed. Where a name has several addresses, [`open_first`] tries them.
    fn dial(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Self::Transport>> + Send;
}

/// A dialer that several connections share.
impl<D: Dialer> Dialer for Arc<D> {
    type Transport = D::Transport;

    fn dial(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Self::Transport>> + Send {
        (**self).dial(endpoint)
    }
}

/// Where a broker's connections come in.
pub trait Listener: Send + Unpin + 'static {
    /// What it accepts.
    type Transport: Transport;

    /// The next connection, and who is at the other end.
    ///
    /// # Errors
    ///
    /// When one connection could not be accepted; the next may be.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Transport, Peer)>>;
}

/// Who is at the other end of an accepted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The address, for people.
    pub address: String,
    /// It is on this machine.
    pub is_loopback: bool,
}
