use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hopmq_proto::Instant;
use hopmq_proto::broker as proto;

use super::shared::{BrokerHost, Shared};
use crate::driver::Driver;
use crate::io::{Clock, Listener, Peer, Runtime, Timer, Transport};

/// How long to leave a listener alone that cannot accept, as when the process has too many files open.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Runs a connection to the broker over `transport`; drops it when the broker has been shut down.
pub(super) fn run<R: Runtime>(shared: &Arc<Shared>, runtime: &R, transport: impl Transport, peer: Peer) {
    let now = runtime.clock().now();
    let peer = proto::Peer { loopback: peer.is_loopback, name: peer.address };
    let mut state = shared.lock();
    if state.is_shut_down {
        return; // a shutdown on another thread must not miss it
    }
    let id = state.engine.accept(peer, now);
    drop(state);
    let host = BrokerHost::new(shared.clone(), id);
    runtime.spawn(Driver::new(host, transport, runtime.timer(), runtime.clock()));
}

/// Accepts connections until the broker is shut down.
pub(super) struct Accept<R: Runtime, L> {
    shared: Arc<Shared>,
    runtime: R,
    listener: L,
    timer: R::Timer,
    /// The broker's, when this began.
    life: u64,
    paused_until: Option<Instant>,
}

impl<R: Runtime, L: Listener> Accept<R, L> {
    /// A broker that was shut down accepts again.
    pub(super) fn new(shared: Arc<Shared>, runtime: R, listener: L) -> Self {
        let timer = runtime.timer();
        let mut state = shared.lock();
        state.is_shut_down = false;
        let life = state.life;
        drop(state);
        Self { shared, runtime, listener, timer, life, paused_until: None }
    }
}

/// Nothing in it is pinned.
impl<R: Runtime, L> Unpin for Accept<R, L> {}

impl<R: Runtime, L: Listener> Future for Accept<R, L> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.shared.lock();
        if state.is_shut_down || state.life != this.life {
            return Poll::Ready(());
        }
        if !state.watchers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.watchers.push(cx.waker().clone());
        }
        drop(state);
        loop {
            if let Some(until) = this.paused_until {
                if this.timer.poll_until(cx, until).is_pending() {
                    return Poll::Pending;
                }
                this.paused_until = None;
            }
            match this.listener.poll_accept(cx) {
                Poll::Ready(Ok((transport, peer))) => run(&this.shared, &this.runtime, transport, peer),
                Poll::Ready(Err(error)) if is_of_one_connection(&error) => {}
                Poll::Ready(Err(_)) => {
                    this.paused_until = Some(this.runtime.clock().now() + ACCEPT_AGAIN_AFTER);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Whether a connection failed before it was accepted, and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
