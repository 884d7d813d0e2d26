//! What a client under test must do, so that one workload and one checker judge them all.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::history::{Outcome, QueueKind};

/// The exchange of every run, direct and durable, in the run's virtual host.
pub const EXCHANGE: &str = "chaos";

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct Dial {
    /// The places to try. A client that knows only one takes the last.
    pub endpoints: Vec<SocketAddr>,
    /// The virtual host.
    pub vhost: String,
    /// The connection's name.
    pub name: String,
    /// Seconds between heartbeats.
    pub heartbeat: u16,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long a publish, a confirm or a call may take, outages included.
    pub patience: Duration,
    /// For what the client does at random.
    pub seed: u64,
}

/// What is to become of publishes at a loss, where the client lets one choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLost {
    /// They are sent again.
    Resend,
    /// What was sent fails, what was not is held.
    Hold,
    /// They fail.
    Fail,
}

/// A queue, bound to [`EXCHANGE`] under `key`.
#[derive(Debug, Clone)]
pub struct QueueSpec {
    /// How long it lives.
    pub kind: QueueKind,
    /// Its name; empty where the server chooses.
    pub name: String,
    /// The key that it is bound under.
    pub key: String,
}

/// What publishes and consumes on one connection that recovers by itself.
pub trait Client: Clone + Send + Sync + 'static {
    /// What it is called.
    const NAME: &'static str;
    /// Whether it can be given several places to connect to.
    const SEVERAL_ENDPOINTS: bool;
    /// What publishes.
    type Publisher: Publisher;
    /// What consumes.
    type Consumer: Consumer;

    /// Connects.
    fn connect(dial: &Dial) -> impl Future<Output = Result<Self, String>> + Send;

    /// Opens a channel with confirms, declares [`EXCHANGE`], and publishes there, mandatory and persistent.
    fn publisher(&self, when_lost: WhenLost) -> impl Future<Output = Result<Self::Publisher, String>> + Send;

    /// Opens a channel, declares exchange, queue and binding, and consumes under `tag`.
    fn consumer(
        &self,
        queue: &QueueSpec,
        tag: &str,
        prefetch: u16,
    ) -> impl Future<Output = Result<Self::Consumer, String>> + Send;

    /// Closes the connection.
    fn close(self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Publishes with confirms, in order.
pub trait Publisher: Send + 'static {
    /// Resolves when it is known what became of a message.
    type Confirm: Future<Output = Outcome> + Send + 'static;

    /// Sends a message, or says why not.
    fn send(&mut self, key: &str, body: Bytes)
    -> impl Future<Output = Result<Self::Confirm, Outcome>> + Send;
}

/// Consumes.
pub trait Consumer: Send + 'static {
    /// Acknowledges a message.
    type Ack: Ack;

    /// The next message; why there are no more, otherwise.
    fn next(&mut self) -> impl Future<Output = Result<Taken<Self::Ack>, String>> + Send;
}

/// A message that was taken.
#[derive(Debug)]
pub struct Taken<A> {
    /// The body.
    pub body: Bytes,
    /// The server says that it was delivered before.
    pub redelivered: bool,
    /// The client that sent it says that it may have been sent before.
    pub possible_duplicate: bool,
    /// To be acknowledged by this.
    pub ack: A,
}

/// Acknowledges one message.
pub trait Ack: Send + 'static {
    /// Does so.
    fn ack(self) -> impl Future<Output = Result<(), String>> + Send;
}
