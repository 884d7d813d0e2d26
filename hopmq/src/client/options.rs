use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use fluent_uri::Uri;
use fluent_uri::pct_enc::{EStr, Encoder};
use hopmq_proto::amqp::{Credentials, ShortStr};
use hopmq_proto::client::{Config, Heartbeat};

use super::UriError;

/// The port of AMQP without TLS.
const DEFAULT_PORT: u16 = 5672;

/// Where to connect, and as what.
///
/// Made from a URI, `amqp://user:password@host:port/vhost?heartbeat=30`, by the rules of
/// <https://www.rabbitmq.com/docs/uri-spec>: what is left out is guest, guest, localhost, 5672 and `/`; user, password and virtual
/// host are percent-decoded; `amqp://host/` means the virtual host with the empty name. Query parameters:
/// `heartbeat` (seconds, 0 for none), `connection_timeout` (milliseconds), `channel_max`.
///
/// ```
/// use hopmq::ConnectOptions;
///
/// let options: ConnectOptions = "amqp://app:s%40crets@[::1]:5673/orders?heartbeat=10".parse()?;
/// assert_eq!((options.host.as_str(), options.port), ("::1", 5673));
/// assert_eq!(options.config.virtual_host, "orders");
/// # Ok::<(), hopmq::UriError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Everything else.
    pub config: Config,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { host: "localhost".to_owned(), port: DEFAULT_PORT, config: Config::default() }
    }
}

impl ConnectOptions {
    /// Host and port as one would write them.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for ConnectOptions {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let uri = Uri::parse(text).map_err(|error| UriError::Syntax(error.to_string()))?;
        if !uri.scheme().as_str().eq_ignore_ascii_case("amqp") {
            return Err(UriError::Scheme(uri.scheme().as_str().to_owned()));
        }
        let authority = uri.authority().ok_or(UriError::NoHost)?;
        let mut options = Self::default();
        match decode("host", EStr::<fluent_uri::pct_enc::encoder::RegName>::new(authority.host())) {
            Some(Ok(host)) if host.is_empty() => {} // as absent
            Some(host) => options.host = host?,
            None => options.host = authority.host().trim_matches(['[', ']']).to_owned(),
        }
        if let Some(port) = authority.port().filter(|port| !port.as_str().is_empty()) {
            let number = port.as_str().parse().ok().filter(|port| *port != 0);
            options.port = number.ok_or_else(|| UriError::Port(port.as_str().to_owned()))?;
        }
        if let Some(userinfo) = authority.userinfo() {
            options.config.credentials = credentials(userinfo)?;
        }
        if let Some(vhost) = uri.path().as_str().strip_prefix('/') {
            options.config.virtual_host = virtual_host(vhost)?;
        }
        if let Some(query) = uri.query() {
            for parameter in query.split('&').filter(|parameter| !parameter.as_str().is_empty()) {
                options.set_parameter(parameter.as_str())?;
            }
        }
        Ok(options)
    }
}

impl ConnectOptions {
    fn set_parameter(&mut self, parameter: &str) -> Result<(), UriError> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let wrong = |problem| UriError::Parameter { name: name.to_owned(), problem };
        match name {
            "heartbeat" => {
                let seconds: u16 =
                    value.parse().map_err(|_| wrong("is not a number of seconds from 0 to 65535"))?;
                self.config.heartbeat = NonZeroU16::new(seconds).map_or(Heartbeat::Off, Heartbeat::Seconds);
            }
            "connection_timeout" => {
                let millis = value.parse().ok().filter(|millis| *millis > 0);
                let millis = millis.ok_or_else(|| wrong("is not a positive number of milliseconds"))?;
                self.config.connect_timeout = Duration::from_millis(millis);
            }
            "channel_max" => {
                let max = value.parse().map_err(|_| wrong("is not a number of channels from 1 to 65535"))?;
                self.config.channel_max = max;
            }
            _ => return Err(wrong("is not known")),
        }
        Ok(())
    }
}

/// Decodes percent-encoding, when there is something to decode.
fn decode<E: Encoder>(what: &'static str, text: Option<&EStr<E>>) -> Option<Result<String, UriError>> {
    Some(text?.decode().to_string().map(String::from).map_err(|_| UriError::Text(what)))
}

fn credentials<E: Encoder>(userinfo: &EStr<E>) -> Result<Credentials, UriError> {
    let (user, password) =
        userinfo.split_once(':').map_or((userinfo, None), |(user, pass)| (user, Some(pass)));
    let user = decode("user", Some(user)).unwrap_or_else(|| Ok(String::new()))?;
    let password = decode("password", password).unwrap_or_else(|| Ok("guest".to_owned()))?;
    Ok(Credentials::new(&user, &password))
}

fn virtual_host(segment: &str) -> Result<ShortStr, UriError> {
    let segment = EStr::<fluent_uri::pct_enc::encoder::Path>::new(segment);
    let path = segment.map(EStr::as_str).unwrap_or_default();
    if path.contains('/') {
        return Err(UriError::Path(path.to_owned()));
    }
    let decoded = decode("virtual host", segment).unwrap_or_else(|| Ok(String::new()))?;
    ShortStr::try_from(decoded).map_err(|_| UriError::Text("virtual host"))
}
