use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use hopmq::io::{Listener, Peer};
use hopmq::memory::{Pipe, pipe};
use hopmq::{Channel, CloseReason, Config, ConnectError, ConnectOptions, Connection, FieldValue, Recovery};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::line::{End, Line};
use super::{Embedded, On, Raw, Task, eventually};

/// The RabbitMQ that `HOPMQ_RABBITMQ` names: the one of Debian 12, 3.10.
pub fn rabbitmq_uri() -> String {
    uri_in("HOPMQ_RABBITMQ")
}

/// The RabbitMQ that `HOPMQ_RABBITMQ4` names: the one of Debian 13, 4.0.
pub fn rabbitmq4_uri() -> String {
    uri_in("HOPMQ_RABBITMQ4")
}

fn uri_in(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} must be the URI of a RabbitMQ; tests/run starts one"))
}

/// The broker that a scenario runs against.
#[derive(Debug)]
pub struct Server {
    /// Where the scenario runs, and the embedded broker with it.
    on: On,
    place: Place,
    /// Unless it is RabbitMQ.
    embedded: Option<Box<dyn Embedded>>,
    /// Makes this run's names different from those of any other on the same server.
    run: u64,
    names: AtomicU32,
}

/// Who a server is, for what differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Embedded,
    RabbitMq3,
    RabbitMq4,
}

#[derive(Debug)]
enum Place {
    Tcp(Box<ConnectOptions>),
    Memory(UnboundedSender<Pipe>),
}

impl Server {
    fn new(on: On, place: Place, embedded: Option<Box<dyn Embedded>>) -> Self {
        let run = RandomState::new().build_hasher().finish();
        Self { on, place, embedded, run, names: AtomicU32::new(0) }
    }

    /// The server at a URI.
    pub fn at(on: On, uri: &str) -> Self {
        Self::new(on, Place::Tcp(Box::new(uri.parse().unwrap())), None)
    }

    /// The embedded broker, over TCP.
    pub async fn embedded(on: On) -> Self {
        let (broker, uri) = on.broker().await;
        Self::new(on, Place::Tcp(Box::new(uri.parse().unwrap())), Some(broker))
    }

    /// The embedded broker, without a socket.
    pub async fn memory(on: On) -> Self {
        let (door, visitors) = unbounded_channel();
        let broker = on.broker_in_memory(Door(visitors));
        Self::new(on, Place::Memory(door), Some(broker))
    }

    /// The embedded broker, unless it is RabbitMQ.
    pub fn broker(&self) -> Option<&dyn Embedded> {
        self.embedded.as_deref()
    }

    /// Runs a part of the scenario beside the rest.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        self.on.spawn(future)
    }

    /// The configuration that logs in.
    pub fn config(&self) -> Config {
        match &self.place {
            Place::Tcp(options) => options.config.clone(),
            Place::Memory(_) => Config::default(),
        }
    }

    /// A connection that ends with its transport.
    pub async fn connect(&self) -> Connection {
        self.try_connect(self.config()).await.unwrap()
    }

    pub async fn try_connect(&self, config: Config) -> Result<Connection, Arc<CloseReason>> {
        match (&self.place, &self.embedded) {
            (Place::Tcp(options), _) => {
                let mut options = (**options).clone();
                options.config = config;
                self.on.connect(options.recovery(Recovery::off())).await.map_err(|error| match error {
                    ConnectError::Refused { reason, .. } => reason,
                    error => panic!("{error}"),
                })
            }
            (Place::Memory(_), broker) => broker.as_ref().unwrap().connect_with(config).await,
        }
    }

    /// Asks the server who it is.
    pub async fn version(&self) -> Version {
        let connection = self.connect().await;
        let server = connection.server();
        let properties = &server.properties;
        let says = |name| properties.get(name).and_then(FieldValue::as_str).unwrap();
        match (says("product"), says("version").split('.').next()) {
            ("HopMQ", _) => Version::Embedded,
            ("RabbitMQ", Some("3")) => Version::RabbitMq3,
            ("RabbitMQ", Some("4")) => Version::RabbitMq4,
            other => panic!("{other:?}"),
        }
    }

    /// A channel on a connection of its own.
    pub async fn channel(&self) -> Channel {
        self.connect().await.open_channel().await.unwrap()
    }

    /// A way in that can be cut.
    pub fn line(&self) -> Line {
        let end = match &self.place {
            Place::Tcp(options) => End::Tcp(options.endpoints().swap_remove(0)),
            Place::Memory(door) => End::Memory(door.clone()),
        };
        Line::new(self.on, end)
    }

    /// A connection whose every frame the scenario writes and reads itself, before its first byte.
    pub async fn raw(&self) -> Raw {
        match &self.place {
            Place::Tcp(options) => Raw::over(self.on.dial(&options.endpoints()[0]).await.unwrap()),
            Place::Memory(door) => {
                let (ours, theirs) = pipe();
                door.send(theirs).unwrap();
                Raw::new(ours)
            }
        }
    }

    /// A raw connection, logged in, with channel 1 open.
    pub async fn raw_channel(&self) -> Raw {
        let mut raw = self.raw().await;
        raw.log_in(&self.config()).await;
        raw.open_channel(1).await;
        raw
    }

    /// A name that nothing else has.
    pub fn name(&self, what: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{what}-{number}-{:016x}", self.run)
    }

    /// After a scenario, with all its handles dropped: nothing may be left of them.
    pub async fn finish(self) {
        let Some(broker) = self.embedded else { return };
        eventually("every connection has ended", async || broker.connections() == 0).await;
    }
}

/// Where raw connections come in that have no socket.
struct Door(UnboundedReceiver<Pipe>);

impl Listener for Door {
    type Transport = Pipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Pipe, Peer)>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(pipe)) => {
                Poll::Ready(Ok((pipe, Peer { address: "memory".to_owned(), is_loopback: true })))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending, // nobody comes any more
        }
    }
}
