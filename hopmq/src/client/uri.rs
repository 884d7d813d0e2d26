use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fluent_uri::Uri;
use fluent_uri::pct_enc::encoder::{Path, Query, RegName, Userinfo};
use fluent_uri::pct_enc::{EStr, Encoder};
use hopmq_proto::amqp::{Credentials, Mechanism, ShortStr};
use hopmq_proto::client::{Heartbeat, RecoveryMode};
use thiserror::Error;

use super::ConnectOptions;
use crate::tls::{Pem, ServerName, TlsOptions};

/// What is wrong with a URI. It names the part and does not show it: a password that is not percent-encoded can end up in
/// any part.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// It does not begin with a scheme.
    #[error("invalid URI: it does not begin with amqp:// or amqps://")]
    NoScheme,
    /// Its scheme is neither `amqp` nor `amqps`.
    #[error("invalid URI: the scheme is {0:?}, not \"amqp\" or \"amqps\"")]
    Scheme(String),
    /// It has no host, or nothing between two commas.
    #[error("invalid URI: the host is missing")]
    NoHost,
    /// A part has a character that must be percent-encoded there.
    #[error("invalid URI: the {0} has a character that must be percent-encoded")]
    Syntax(&'static str),
    /// A port is not a number from 1 to 65535.
    #[error("invalid URI: the port of {host:?} is not a number from 1 to 65535")]
    Port {
        /// Whose, or `?` when there is an @ behind it, before which it may be a part of a password.
        host: String,
    },
    /// Its path has more than one segment. A slash in a virtual host's name is written `%2f`.
    #[error("invalid URI: the path has more than one segment (a slash in a virtual host is %2f)")]
    Path,
    /// An `@` behind the host, and none before it: most often a password with `/` or `?` in it.
    #[error("invalid URI: an @ behind the host (in user, password and names / is %2f, ? is %3f, @ is %40)")]
    At,
    /// It has a fragment. The character `#` is written `%23`.
    #[error("invalid URI: it has a fragment (the character # is %23)")]
    Fragment,
    /// Its user, password or virtual host, decoded, is not UTF-8 or too long.
    #[error("invalid URI: the {0} is not UTF-8 or longer than 255 bytes")]
    Text(&'static str),
    /// A query parameter that is not known, or has a value that is not.
    #[error("invalid URI: the parameter \"{name}\" {problem}")]
    Parameter {
        /// The name of the parameter, or `?` when it is no name, or there is an @ behind it that may end a password.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A URI cut into its parts (RFC 3986, appendix B), none of which has been looked at.
struct Parts<'a> {
    scheme: &'a str,
    userinfo: Option<&'a str>,
    /// Separated by commas, which RFC 3986 would take for part of one name.
    hosts: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::NoScheme)?;
        let no_authority =
            if matches!(scheme, "amqp" | "amqps") { UriError::NoHost } else { UriError::NoScheme };
        let rest = rest.strip_prefix("//").ok_or(no_authority)?;
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let behind = rest.find(['/', '?']).unwrap_or(rest.len());
        if rest.split_at(behind).1.contains('@') && !rest.split_at(behind).0.contains('@') {
            return Err(UriError::At);
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (userinfo, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(userinfo, hosts)| (Some(userinfo), hosts));
        Ok(Self { scheme, userinfo, hosts, path, query })
    }
}

impl Parts<'_> {
    /// Of a password with @ and / in it, a part is what looks like the host.
    fn has_at_behind_hosts(&self) -> bool {
        self.path.contains('@') || self.query.is_some_and(|query| query.contains('@'))
    }
}

impl FromStr for ConnectOptions {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let parts = Parts::of(text)?;
        let mut options = Self::new();
        match parts.scheme.to_ascii_lowercase().as_str() {
            "amqp" => {}
            "amqps" => options.tls = Some(TlsOptions::new()),
            scheme => return Err(UriError::Scheme(scheme.to_owned())),
        }
        if let Some(userinfo) = parts.userinfo {
            options.config.credentials = credentials(userinfo)?;
        }
        options.hosts = hosts(parts.hosts).map_err(|error| match error {
            UriError::Port { .. } if parts.has_at_behind_hosts() => UriError::Port { host: "?".to_owned() },
            error => error,
        })?;
        if let Some(vhost) = parts.path.strip_prefix('/') {
            options.config.virtual_host = virtual_host(vhost)?;
        }
        if let Some(query) = parts.query {
            Parameters::new(&mut options).read(query)?;
        }
        Ok(options)
    }
}

fn decode<E: Encoder>(part: &'static str, text: &str) -> Result<String, UriError> {
    let text = EStr::<E>::new(text).ok_or(UriError::Syntax(part))?;
    text.decode().to_string().map(String::from).map_err(|_| UriError::Text(part))
}

fn credentials(userinfo: &str) -> Result<Credentials, UriError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, "guest"));
    let user = decode::<Userinfo>("user", user)?;
    Ok(Credentials::new(&user, &decode::<Userinfo>("password", password)?))
}

fn hosts(list: &str) -> Result<Vec<(String, Option<u16>)>, UriError> {
    if !list.contains(',') {
        let (name, port) = host(list)?;
        return Ok(vec![(if name.is_empty() { "localhost".to_owned() } else { name }, port)]);
    }
    let named = |host: (String, _)| if host.0.is_empty() { Err(UriError::NoHost) } else { Ok(host) };
    list.split(',').map(|item| host(item).and_then(named)).collect()
}

/// One host with its port, if it has one.
fn host(text: &str) -> Result<(String, Option<u16>), UriError> {
    const PART: &str = "host or port";
    let uri = format!("amqp://{text}");
    let uri = Uri::parse(uri.as_str()).map_err(|_| UriError::Syntax(PART))?;
    let authority = uri.authority().ok_or(UriError::NoHost)?;
    let written = authority.host();
    let host = match written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.to_owned(),
        None => decode::<RegName>(PART, written)?,
    };
    let port = match authority.port().map(EStr::as_str).filter(|port| !port.is_empty()) {
        Some(port) => {
            let port = port.parse().ok().filter(|port| *port != 0);
            Some(port.ok_or_else(|| UriError::Port { host: host.clone() })?)
        }
        None => None,
    };
    Ok((host, port))
}

fn virtual_host(segment: &str) -> Result<ShortStr, UriError> {
    if segment.contains('/') {
        return Err(UriError::Path);
    }
    let decoded = decode::<Path>("virtual host", segment)?;
    ShortStr::try_from(decoded).map_err(|_| UriError::Text("virtual host"))
}

/// The query parameters, as they are read into the options.
struct Parameters<'a> {
    options: &'a mut ConnectOptions,
    seen: Vec<&'a str>,
    certificates: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl<'a> Parameters<'a> {
    fn new(options: &'a mut ConnectOptions) -> Self {
        Self { options, seen: Vec::new(), certificates: None, key: None }
    }

    fn read(mut self, query: &'a str) -> Result<(), UriError> {
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            // Behind a password with @ and ? in it, a part of it is what looks like a name.
            let shown = if query.contains('@') { "?" } else { name };
            let wrong = |problem| wrong(shown, problem);
            let value = EStr::<Query>::new(value).and_then(|value| value.decode().to_string().ok());
            let value = value.ok_or_else(|| wrong("is not percent-encoded UTF-8"))?;
            let is_again = self.seen.contains(&name) && name != "auth_mechanism";
            self.set(name, &value).map_err(wrong)?;
            if is_again {
                return Err(wrong("is given twice"));
            }
            self.seen.push(name);
        }
        let Self { options, certificates, key, .. } = self;
        match (certificates, key, &mut options.tls) {
            (Some(certificates), key, Some(tls)) => {
                let key = key.unwrap_or_else(|| certificates.clone());
                tls.identity = Some((Pem::File(certificates), Pem::File(key)));
            }
            (None, Some(_), _) => return Err(wrong("keyfile", "needs certfile too")),
            _ => {}
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let config = &mut self.options.config;
        match name {
            "heartbeat" => {
                let seconds: u16 = value.parse().map_err(|_| "is not a number of seconds from 0 to 65535")?;
                config.heartbeat = NonZeroU16::new(seconds).map_or(Heartbeat::Off, Heartbeat::Seconds);
            }
            "connection_timeout" => {
                let millis = value.parse().ok().filter(|millis| *millis > 0);
                let millis = millis.ok_or("is not a positive number of milliseconds")?;
                config.connect_timeout = Duration::from_millis(millis);
            }
            "channel_max" => {
                config.channel_max =
                    value.parse().map_err(|_| "is not a number of channels from 1 to 65535")?;
            }
            "frame_max" => {
                config.frame_max = value.parse().map_err(|_| "is not a number of bytes")?;
            }
            "name" | "connection_name" => {
                let name = ShortStr::try_from(value).map_err(|_| "is longer than 255 bytes")?;
                config.connection_name = Some(name);
            }
            "auth_mechanism" => {
                let mechanism = Mechanism::from_name(value.to_ascii_uppercase().as_bytes());
                config.mechanisms.push(mechanism.ok_or("is none of plain, amqplain and external")?);
            }
            name if name.starts_with("recovery") => return self.set_recovery(name, value),
            "password" => return Err("is not supported: decrypt the key file first"),
            _ => return self.set_tls(name, value),
        }
        Ok(())
    }

    fn set_recovery(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let recovery = &mut self.options.recovery;
        let millis = || {
            let millis = value.parse().ok().filter(|millis| *millis > 0);
            millis.map(Duration::from_millis).ok_or("is not a positive number of milliseconds")
        };
        match name {
            "recovery" => {
                recovery.mode = match value {
                    "off" => RecoveryMode::Off,
                    "on" => RecoveryMode::AfterFirstSuccess,
                    "always" => RecoveryMode::Always,
                    _ => return Err("is none of off, on and always"),
                };
            }
            "recovery_backoff" => recovery.backoff.initial = millis()?,
            "recovery_backoff_max" => recovery.backoff.max = millis()?,
            "recovery_timeout" if value == "0" => recovery.max_elapsed = None,
            "recovery_timeout" => recovery.max_elapsed = Some(millis()?),
            _ => return Err("is not known"),
        }
        Ok(())
    }

    fn set_tls(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let no_tls = &mut TlsOptions::new();
        let tls = self.options.tls.as_mut();
        let is_tls = tls.is_some();
        let tls = tls.unwrap_or(no_tls);
        match name {
            "cacertfile" => tls.authorities.push(Pem::File(path(value)?)),
            "certfile" => self.certificates = Some(path(value)?),
            "keyfile" => self.key = Some(path(value)?),
            "verify" => match value {
                "verify_peer" => {}
                "verify_none" => tls.accepts_any_certificate = true,
                _ => return Err("is neither verify_peer nor verify_none"),
            },
            "fail_if_no_peer_cert" => match value {
                "true" | "false" => {}
                _ => return Err("is neither true nor false"),
            },
            "server_name_indication" => {
                tls.server_name = match value {
                    "" => return Err("is empty"),
                    "disable" => ServerName::NotSent,
                    name => ServerName::Name(name.to_owned()),
                };
            }
            _ => return Err("is not known"),
        }
        if is_tls { Ok(()) } else { Err("needs the scheme amqps") }
    }
}

fn path(value: &str) -> Result<PathBuf, &'static str> {
    if value.is_empty() { Err("is empty") } else { Ok(value.into()) }
}

fn wrong(name: &str, problem: &'static str) -> UriError {
    let is_name = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
    UriError::Parameter { name: if is_name { name.to_owned() } else { "?".to_owned() }, problem }
}
