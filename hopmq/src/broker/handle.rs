use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use hopmq_proto::broker::{self as proto, QueueStats};
use hopmq_proto::client;

use super::accept::{Accept, run};
use super::listen::Place;
use super::shared::Shared;
use crate::client::Connection;
use crate::io::{Clock, Listener, Peer, Runtime};
use crate::memory::pipe;

/// A broker inside this process, which behaves as RabbitMQ does, reply codes and texts included.
///
/// It has all four kinds of exchanges and bindings between them, alternate exchanges, confirms, returns, prefetch, requeue
/// in position, direct reply-to, users and virtual hosts. It keeps everything in memory. What it does not have yet:
/// transactions, which it answers with 540; and time to live, dead letters, length limits, priorities, quorum queues and
/// streams: it takes and compares the arguments that ask for them, and does nothing else with them. Nor does it run short of
/// anything by itself: [`block`](Self::block) has it say so.
///
/// Cloning it gives another handle to the same broker. When the last handle is dropped, the broker shuts down: it
/// accepts no more, and closes its connections with 320 `CONNECTION_FORCED`.
#[derive(Clone)]
pub struct Broker<R: Runtime> {
    pub(super) inner: Arc<Inner<R>>,
}

/// Shuts the broker down when it is dropped.
pub(super) struct Inner<R: Runtime> {
    shared: Arc<Shared>,
    pub(super) runtime: R,
    pub(super) place: OnceLock<Place>,
}

impl<R: Runtime> Drop for Inner<R> {
    fn drop(&mut self) {
        self.shared.shutdown(self.runtime.clock().now());
    }
}

impl<R: Runtime> Broker<R> {
    /// A broker without messages, whose connections run on `runtime`. It listens nowhere yet.
    #[must_use]
    pub fn new(runtime: R, config: proto::Config) -> Self {
        let shared = Shared::new(config, &runtime);
        Self { inner: Arc::new(Inner { shared, runtime, place: OnceLock::new() }) }
    }

    /// Accepts connections from `listener`, in the background, until the broker shuts down. One that was shut down runs again
    /// then, with what it has.
    pub fn serve(&self, listener: impl Listener) {
        let Inner { shared, runtime, .. } = &*self.inner;
        runtime.spawn(Accept::new(shared.clone(), runtime.clone(), listener));
    }

    /// Opens a connection to this broker in memory, without a socket, as user guest.
    ///
    /// # Errors
    ///
    /// Why the connection did not open.
    pub async fn connect(&self) -> Result<Connection, Arc<client::CloseReason>> {
        self.connect_with(client::Config::default()).await
    }

    /// Opens a connection to this broker in memory, as `config` says.
    ///
    /// # Errors
    ///
    /// Why the connection did not open, most often the credentials or the virtual host in `config`.
    pub async fn connect_with(&self, config: client::Config) -> Result<Connection, Arc<client::CloseReason>> {
        let Inner { shared, runtime, .. } = &*self.inner;
        let (ours, theirs) = pipe();
        run(shared, runtime, ours, Peer { address: "memory".to_owned(), is_loopback: true });
        Connection::open(runtime, theirs, config).await
    }

    /// The address it listens on, if it does; the first one, if there are several.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.place.get().map(|place| place.address)
    }

    /// The URI to connect to, of [`local_addr`](Self::local_addr); without a host when it listens nowhere.
    #[must_use]
    pub fn uri(&self) -> String {
        match self.inner.place.get() {
            Some(Place { scheme, address }) => format!("{scheme}://{address}"),
            None => "amqp:".to_owned(),
        }
    }

    /// What a queue holds, if it is there.
    #[must_use]
    pub fn queue(&self, virtual_host: &str, name: &str) -> Option<QueueStats> {
        self.inner.shared.lock().engine.queue(virtual_host, name)
    }

    /// How many connections it has.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.shared.lock().engine.connections()
    }

    /// Loses every connection and whatever is not on its disk, at once, as a broker that is killed and started again; what is
    /// left, [`proto::Broker::crash`] says. It goes on listening.
    ///
    /// Its ends of the connections are closed without another word. This is for tests of what comes back, and how.
    pub fn crash(&self, disk: proto::Disk) {
        self.inner.shared.crash(disk);
    }

    /// Closes every connection with 320 `CONNECTION_FORCED` and this reason, as an administrator does
    /// (`rabbitmqctl close_all_connections`). New ones may come.
    pub fn close_connections(&self, reason: &str) {
        let now = self.inner.runtime.clock().now();
        self.inner.shared.change(|engine| engine.close_connections(reason, now));
    }

    /// Holds publishers back until it [unblocks](Self::unblock), as RabbitMQ does while it is short of memory or disk:
    /// whoever publishes is told `reason` with `connection.blocked`, and nothing is read from it any more. What does not
    /// publish goes on (<https://www.rabbitmq.com/docs/alarms>). A [crash](Self::crash) ends it, a
    /// [shutdown](Self::shutdown) does not.
    ///
    /// ```
    /// # use hopmq::io::Runtime;
    /// # use hopmq::{Broker, PublishError, Publisher};
    /// # async fn example(broker: Broker<impl Runtime>, publisher: Publisher) -> Result<(), PublishError> {
    /// broker.block("low on memory");
    /// let first = publisher.publish("orders", "hello").send().await?; // it has been sent, and waits at the broker
    /// // ... and soon connection.is_blocked(): what is published from now on waits here ...
    /// broker.unblock();
    /// first.await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn block(&self, reason: &str) {
        self.inner.shared.change(|engine| engine.block(reason));
    }

    /// Takes publishes again.
    pub fn unblock(&self) {
        self.inner.shared.change(proto::Broker::unblock);
    }

    /// Refuses what is published, until it [accepts](Self::accept_publishes) it again: what a queue would have taken is
    /// not stored, and is nacked where there are confirms. Without them it is lost in silence. RabbitMQ does this when a
    /// queue fails or a quorum queue has lost its majority
    /// (<https://www.rabbitmq.com/docs/confirms#server-sent-nacks>). A [crash](Self::crash) ends it.
    pub fn refuse_publishes(&self) {
        self.inner.shared.change(proto::Broker::refuse_publishes);
    }

    /// Takes what is published again.
    pub fn accept_publishes(&self) {
        self.inner.shared.change(proto::Broker::accept_publishes);
    }

    /// Accepts no more, closes every connection with 320 `CONNECTION_FORCED`, and waits until the last is gone. Queues and messages
    /// stay: whoever lets it [`serve`](Self::serve) or listen again finds them.
    ///
    /// Dropping the future stops waiting; the broker shuts down all the same.
    pub async fn shutdown(&self) {
        let Inner { shared, runtime, .. } = &*self.inner;
        shared.shutdown(runtime.clock().now());
        poll_fn(|cx| {
            let mut state = shared.lock();
            if state.engine.connections() == 0 {
                return Poll::Ready(());
            }
            if !state.watchers.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.watchers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl<R: Runtime> fmt::Debug for Broker<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("connections", &self.connections()).finish_non_exhaustive()
    }
}
