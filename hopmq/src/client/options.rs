use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use hopmq_proto::amqp::{Credentials, FieldValue, Mechanism, ShortStr, WireError};
use hopmq_proto::client::{Config, Heartbeat, Recovery};

use super::Endpoint;
use super::provider::{CredentialsProvider, Provider};
use crate::tls::TlsOptions;

/// The port of AMQP.
const PORT: u16 = 5672;
/// The port of AMQP in TLS.
const TLS_PORT: u16 = 5671;

/// Where to connect, and as what: from a URI, or built, or first one and then the other.
///
/// ```
/// use std::time::Duration;
/// use hopmq::{ConnectOptions, Credentials};
///
/// let options = ConnectOptions::new()
///     .endpoint("rabbit-1", 5672)
///     .endpoint("rabbit-2", 5672)
///     .credentials(Credentials::new("app", "s@crets"))
///     .virtual_host("orders")
///     .connection_name("orders-1")
///     .connect_timeout(Duration::from_secs(5));
///
/// let same: ConnectOptions = "amqp://app:s%40crets@rabbit-1,rabbit-2/orders?name=orders-1&connection_timeout=5000".parse()?;
/// assert_eq!(same.endpoints(), options.endpoints());
/// # Ok::<(), hopmq::UriError>(())
/// ```
///
/// # The URI
///
/// `amqp://user:password@host:port,host:port/vhost?heartbeat=30`, by the rules of
/// <https://www.rabbitmq.com/docs/uri-spec>, and `amqps` for TLS. What is left out is guest, guest, localhost, 5672
/// (`amqps`: 5671) and `/`. User, password, virtual host and parameters are percent-decoded; `amqp://host/` means the
/// virtual host with the empty name. Several hosts are tried in order, see [`endpoints`](ConnectOptions::endpoints).
///
/// | parameter | value |
/// |---|---|
/// | `recovery` | `on` to come back after a loss, which is the default, `off`, or `always`: also when there is no server at first |
/// | `recovery_backoff` | milliseconds from a round of attempts to the next, at first |
/// | `recovery_backoff_max` | milliseconds from a round of attempts to the next, at most |
/// | `recovery_timeout` | milliseconds from a loss until it is given up, 0 for never; an hour unless it is said |
/// | `heartbeat` | seconds between heartbeats, 0 for none |
/// | `connection_timeout` | milliseconds until the connection must be open |
/// | `channel_max` | highest channel number, from 1 |
/// | `frame_max` | largest frame in bytes, 0 for 16 MiB |
/// | `name`, `connection_name` | what RabbitMQ's tools show |
/// | `auth_mechanism` | `plain`, `amqplain` or `external`; once for each, the one to prefer first |
/// | `cacertfile` | PEM file of the authorities to trust, in place of the system's |
/// | `certfile`, `keyfile` | PEM files of the client's certificates and key; the key may be in `certfile` |
/// | `verify` | `verify_peer`, which is the default, or `verify_none`: [any server](TlsOptions::danger_accept_invalid_certificates) |
/// | `server_name_indication` | the name that the server has to prove, in place of the host; `disable` sends none |
/// | `fail_if_no_peer_cert` | `true` or `false`; means nothing to a client |
///
/// From `cacertfile` on they need `amqps`. `password`, for encrypted keys, is not supported. Anything else is an error.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Each with its own port, or the common one.
    pub(super) hosts: Vec<(String, Option<u16>)>,
    /// The port of the hosts that have none of their own.
    port: Option<u16>,
    pub(super) tls: Option<TlsOptions>,
    /// Asked in place of `config.credentials`.
    pub(super) provider: Option<Provider>,
    pub(super) recovery: Recovery,
    /// What could not be put into `config`.
    invalid: Option<(&'static str, WireError)>,
    /// Everything that concerns AMQP itself: limits, deadlines, and what has a method here too.
    pub config: Config,
}

impl ConnectOptions {
    /// User guest with password guest on this machine, the virtual host `/`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to connect: these in order, until one lets us in. Without any it is localhost.
    ///
    /// They share `connect_timeout`: each gets its part of the time that is left, so that one that does not answer
    /// leaves some for the others.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let port = self.port.unwrap_or(if self.tls.is_some() { TLS_PORT } else { PORT });
        let endpoint =
            |(host, own): &(String, Option<u16>)| Endpoint { host: host.clone(), port: own.unwrap_or(port) };
        if self.hosts.is_empty() {
            return vec![endpoint(&("localhost".to_owned(), None))];
        }
        self.hosts.iter().map(endpoint).collect()
    }

    /// How to connect with TLS, if so.
    #[must_use]
    pub const fn tls_options(&self) -> Option<&TlsOptions> {
        self.tls.as_ref()
    }

    /// How a connection comes back after a loss.
    #[must_use]
    pub const fn recovery_options(&self) -> &Recovery {
        &self.recovery
    }

    /// What could not be put into `config`, and why: a name that is too long for AMQP. A connect fails with it.
    ///
    /// # Errors
    ///
    /// The option, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, WireError)> {
        self.invalid.map_or(Ok(()), Err)
    }

    /// The only host: a name or an address, IPv6 without brackets.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts = vec![(host.into(), None)];
        self
    }

    /// The port of every host that was not given one of its own: 5672 by default, with TLS 5671.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// One more place to connect to, to be tried after those before.
    #[must_use]
    pub fn endpoint(mut self, host: impl Into<String>, port: u16) -> Self {
        self.hosts.push((host.into(), Some(port)));
        self
    }

    /// The places to connect to, in place of those before.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        self.hosts = endpoints.into_iter().map(|Endpoint { host, port }| (host, Some(port))).collect();
        self
    }

    /// Connects with TLS.
    #[must_use]
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Who logs in.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.config.credentials = credentials;
        self
    }

    /// Who says who logs in: asked at each connect, and again before what it gave expires. The new secret is then given to
    /// the server, by `connection.update-secret`; [`events`](crate::Connection::events) tell how that went.
    ///
    /// It is asked again when the connection is lost and comes back. Its futures run on the runtime, in turn with the
    /// connection's own, so they must not block.
    #[must_use]
    pub fn credentials_provider(mut self, provider: impl CredentialsProvider) -> Self {
        self.provider = Some(Provider(Arc::new(provider)));
        self
    }

    /// Logs in as whom the client's certificate says, by SASL EXTERNAL.
    #[must_use]
    pub fn external(self) -> Self {
        self.credentials(Credentials::External)
    }

    /// How to log in: the first of these that the server offers and that fits the credentials.
    #[must_use]
    pub fn mechanisms(mut self, mechanisms: impl IntoIterator<Item = Mechanism>) -> Self {
        self.config.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// The virtual host to open; at most 255 bytes.
    #[must_use]
    pub fn virtual_host(mut self, name: &str) -> Self {
        if let Some(name) = self.short("virtual_host", name) {
            self.config.virtual_host = name;
        }
        self
    }

    /// A name that RabbitMQ's tools show; at most 255 bytes.
    #[must_use]
    pub fn connection_name(mut self, name: &str) -> Self {
        if let Some(name) = self.short("connection_name", name) {
            self.config.connection_name = Some(name);
        }
        self
    }

    /// Something else that the client says of itself; the name has at most 255 bytes.
    #[must_use]
    pub fn client_property(mut self, name: &str, value: impl Into<FieldValue>) -> Self {
        if let Err(error) = self.config.client_properties.insert(name, value) {
            self.invalid.get_or_insert(("client_property", error));
        }
        self
    }

    /// How often heartbeats go both ways; by default as often as the server proposes.
    #[must_use]
    pub const fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.config.heartbeat = heartbeat;
        self
    }

    /// The highest channel number; the server may lower it.
    #[must_use]
    pub const fn channel_max(mut self, max: NonZeroU16) -> Self {
        self.config.channel_max = max;
        self
    }

    /// The largest frame in bytes; the server may lower it. 0 is 16 MiB; less than 8192 is taken as 8192.
    #[must_use]
    pub const fn frame_max(mut self, bytes: u32) -> Self {
        self.config.frame_max = bytes;
        self
    }

    /// Whether and how a connection that is lost comes back; by default it does, once it was open, and is given up after an
    /// hour. See [`Recovery`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use hopmq::{Backoff, ConnectOptions, Recovery, RecoveryMode};
    ///
    /// let never = Recovery { mode: RecoveryMode::Off, ..Recovery::default() };
    /// let options = ConnectOptions::new().recovery(never);
    ///
    /// let backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5), ..Backoff::default() };
    /// let patient = Recovery { mode: RecoveryMode::Always, backoff, ..Recovery::default() };
    /// let options = ConnectOptions::new().recovery(patient);
    /// ```
    #[must_use]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// How long it may take until the connection is open, all endpoints together: name look-up, TCP, TLS and login.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// How long a reply may take: a declare, a consume, a get, the opening and closing of a channel; 30 s by default.
    #[must_use]
    pub const fn call_timeout(mut self, timeout: Duration) -> Self {
        self.config.call_timeout = timeout;
        self
    }

    /// How long a publish may wait for room; 60 s by default. See [`Config::publish_timeout`].
    #[must_use]
    pub const fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.config.publish_timeout = timeout;
        self
    }

    /// How long a confirm may take; 60 s by default. See [`Config::confirm_timeout`].
    #[must_use]
    pub const fn confirm_timeout(mut self, timeout: Duration) -> Self {
        self.config.confirm_timeout = timeout;
        self
    }

    /// How long a close of the connection may take; 10 s by default.
    #[must_use]
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    fn short(&mut self, option: &'static str, text: &str) -> Option<ShortStr> {
        ShortStr::try_from(text).map_err(|error| self.invalid.get_or_insert((option, error))).ok()
    }
}
