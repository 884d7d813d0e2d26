use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use crate::amqp::{Credentials, FieldTable, FieldValue, Mechanism, ShortStr};

/// What a client wants of its connection. [`Config::default`] is what most want, with user guest on a local server.
///
/// # Memory
///
/// Whatever the server sends, the engine holds no more than the sum of these, in bytes, give or take 24 KiB:
///
/// * for each open channel, `max_body_size` and one `frame_max` for the message that is being put together, and 256 for
///   each of `max_calls` and `max_unconfirmed`;
/// * the mandatory messages of each channel that have come back and are not confirmed yet: `max_unconfirmed` of them,
///   each as large as it was published;
/// * 4 times `max_event_bytes` and what is handed in at once, for events that are not taken yet;
/// * twice what waits in the outbox: `max_outbox` and one message, what the calls and settlements of the owner come to, and
///   at most 4 MiB of answers that a server which does not read is owed;
/// * 640 KiB for what the server says of itself in [`ServerInfo::properties`](super::ServerInfo), in a frame of 8 KiB;
/// * while a frame is decoded, 128 times that frame: a table of the shortest fields grows by so much.
///
/// A body that came whole in one frame is a slice of the buffer that it was read into, and keeps all of it in memory.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who logs in.
    pub credentials: Credentials,
    /// How to log in: the first of these that the server offers and that fits the credentials. Empty is PLAIN, else
    /// AMQPLAIN, for a password, and EXTERNAL for [`Credentials::External`].
    pub mechanisms: Vec<Mechanism>,
    /// The virtual host to open.
    pub virtual_host: ShortStr,
    /// A name for the connection, which RabbitMQ's tools show.
    pub connection_name: Option<ShortStr>,
    /// What else the client says of itself, in place of our own `product`, `version` and `platform` where they have the
    /// same name. `capabilities` are ours: they say what this client can do.
    pub client_properties: FieldTable,
    /// The highest channel number, 1 to 65535; the server may lower it.
    pub channel_max: NonZeroU16,
    /// The largest frame in bytes; the server may lower it. 0 is 16 MiB; less than 8192 is taken as 8192.
    pub frame_max: u32,
    /// How often heartbeats go both ways.
    pub heartbeat: Heartbeat,
    /// How long the handshake may take, from the creation of the engine.
    pub connect_timeout: Duration,
    /// How long a reply may take.
    pub call_timeout: Duration,
    /// How long a confirm may take. A consumer that lags far behind holds up the confirms behind its deliveries; this
    /// bounds that too.
    pub confirm_timeout: Duration,
    /// How long a publish may wait for room: for the outbox to be written, for confirms, for a server that takes no
    /// publishes. For those who wait; the engine itself refuses at once.
    pub publish_timeout: Duration,
    /// How long a close of the connection may take, and the last bytes behind it.
    pub close_timeout: Duration,
    /// The largest body to accept, in bytes. A larger one closes its channel with 311.
    pub max_body_size: usize,
    /// Publishes are refused while this many bytes or more wait to be written.
    pub max_outbox: usize,
    /// Publishes on a channel are refused while this many wait for their confirm, counted from the oldest.
    pub max_unconfirmed: usize,
    /// Calls on a channel are refused while this many wait for their reply.
    pub max_calls: usize,
    /// [`Want::Write`](crate::Want::Write) is answered while events of more than this many bytes wait to be polled.
    pub max_event_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            credentials: Credentials::new("guest", "guest"),
            mechanisms: Vec::new(),
            virtual_host: ShortStr::from_static("/"),
            connection_name: None,
            client_properties: FieldTable::new(),
            channel_max: NonZeroU16::new(2047).unwrap_or(NonZeroU16::MIN),
            frame_max: 131_072,
            heartbeat: Heartbeat::Server,
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            confirm_timeout: Duration::from_secs(60),
            publish_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(10),
            max_body_size: 128 << 20,
            max_outbox: 1 << 20,
            max_unconfirmed: 65_536,
            max_calls: 1024,
            max_event_bytes: 4 << 20,
        }
    }
}

/// How often heartbeats go both ways. See <https://www.rabbitmq.com/docs/heartbeats>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// As often as the server proposes.
    Server,
    /// At least this often, in seconds: the smaller of this and what the server proposes.
    Seconds(NonZeroU16),
    /// Never. A dead peer is then noticed by the deadlines of calls only.
    Off,
}

impl Heartbeat {
    /// The interval in seconds for `connection.tune-ok`, given the server's proposal; 0 is off.
    pub(super) fn negotiate(self, server: u16) -> u16 {
        match self {
            Self::Server => server,
            Self::Seconds(ours) if server == 0 => ours.get(),
            Self::Seconds(ours) => ours.get().min(server),
            Self::Off => 0,
        }
    }
}

/// What the client says it can do. Leaving one out silently changes what RabbitMQ sends.
const CAPABILITIES: [&str; 7] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "authentication_failure_close",
    "per_consumer_qos",
];

impl Config {
    /// With every limit that must let something through at 1 at least.
    pub(super) fn normalized(mut self) -> Self {
        self.max_outbox = self.max_outbox.max(1);
        self.max_unconfirmed = self.max_unconfirmed.max(1);
        self.max_calls = self.max_calls.max(1);
        self
    }

    pub(super) fn client_properties(&self) -> FieldTable {
        let capabilities = CAPABILITIES
            .into_iter()
            .fold(FieldTable::new(), |table, name| table.with(name, FieldValue::Bool(true)));
        let mut properties = FieldTable::new()
            .with("product", "HopMQ")
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("platform", "Rust");
        for (name, value) in self.client_properties.iter() {
            properties.set(name.clone(), value.clone());
        }
        let properties = properties.with("capabilities", capabilities);
        match &self.connection_name {
            Some(name) => properties.with("connection_name", name.clone()),
            None => properties,
        }
    }
}
