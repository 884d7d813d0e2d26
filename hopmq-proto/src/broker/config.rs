use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// How a [`Broker`](super::Broker) behaves, and the bounds it keeps.
///
/// The default is a RabbitMQ as it comes: user `guest`, who may come from this machine only, on virtual host `/`.
///
/// ```
/// use hopmq_proto::broker::{Config, User};
///
/// let mut config = Config::default();
/// config.vhosts.push("orders".into());
/// config.users.push(User::new("shop", "secret").on(["orders"]));
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The product that the server properties name.
    pub product: String,
    /// The version that the server properties name. Clients branch on RabbitMQ's, so it is like one of those.
    pub version: String,
    /// The cluster name that the server properties name.
    pub cluster_name: String,
    /// Feeds the generated names of queues and consumers and the addresses of replies, which cannot be guessed without
    /// it. The same seed and input give the same names. Where the owner has randomness, as the runtime's broker has, 0
    /// stands for a seed of its choice.
    pub seed: u64,
    /// Who may log in.
    pub users: Vec<User>,
    /// The virtual hosts.
    pub vhosts: Vec<String>,
    /// How many channels a connection may open; 1 to 65535.
    pub channel_max: u16,
    /// The largest frame in bytes; at least 4096.
    pub frame_max: u32,
    /// The heartbeat interval to propose; zero for none.
    pub heartbeat: Duration,
    /// How long a peer may take from its first byte to an open virtual host.
    pub handshake_timeout: Duration,
    /// How long a peer may take to answer a close.
    pub close_timeout: Duration,
    /// The largest message body in bytes.
    pub max_message_size: u64,
    /// Bytes that may wait for one slow reader before its deliveries are held back.
    ///
    /// One message more may be queued. At four times as much, nothing more is read from that connection.
    pub max_outbox_bytes: usize,
    /// How many consumers a channel may have.
    pub max_consumers_per_channel: usize,
    /// How many deliveries to the consumers of a channel may be unacknowledged, whatever the prefetch.
    pub max_unacked_per_channel: usize,
    /// How many queues a virtual host may have.
    pub max_queues_per_vhost: usize,
    /// How many exchanges a virtual host may have.
    pub max_exchanges_per_vhost: usize,
    /// How many bindings a virtual host may have.
    pub max_bindings_per_vhost: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            product: "HopMQ".into(),
            version: "4.0.5".into(),
            cluster_name: "hopmq".into(),
            seed: 0,
            users: vec![User::guest()],
            vhosts: vec!["/".into()],
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            max_message_size: 128 * 1024 * 1024,
            max_outbox_bytes: 1024 * 1024,
            max_consumers_per_channel: 10_000,
            max_unacked_per_channel: 1_000_000,
            max_queues_per_vhost: 100_000,
            max_exchanges_per_vhost: 100_000,
            max_bindings_per_vhost: 1_000_000,
        }
    }
}

/// Who may log in, and to which virtual hosts. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// The virtual hosts this user may open.
    pub vhosts: Vec<String>,
    /// Only from this machine.
    pub loopback_only: bool,
}

impl User {
    /// A user on virtual host `/` who may come from anywhere.
    #[must_use]
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self { name: name.into(), password: password.into(), vhosts: vec!["/".into()], loopback_only: false }
    }

    /// RabbitMQ's default user: `guest` with password `guest`, from this machine only.
    #[must_use]
    pub fn guest() -> Self {
        Self { loopback_only: true, ..Self::new("guest", "guest") }
    }

    /// The virtual hosts this user may open, in place of `/`.
    #[must_use]
    pub fn on<V: Into<String>>(mut self, vhosts: impl IntoIterator<Item = V>) -> Self {
        self.vhosts = vhosts.into_iter().map(Into::into).collect();
        self
    }

    /// Whether `password` is this user's. Takes as long for a wrong one of the same length.
    pub(super) fn has_password(&self, password: &[u8]) -> bool {
        let own = self.password.as_bytes();
        let differing = own.iter().zip(password).fold(0, |differing, (a, b)| differing | (a ^ b));
        own.len() == password.len() && differing == 0
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("vhosts", &self.vhosts).finish_non_exhaustive()
    }
}
