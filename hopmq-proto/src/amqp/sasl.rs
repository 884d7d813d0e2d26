use core::fmt;

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use super::table::{read_entries, write_entries};
use super::{FieldTable, FieldValue, LongStr, Reader, Secret, Writer};

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// User and password, RFC 4616.
    Plain,
    /// User and password in a field table; AMQP's own.
    AmqPlain,
    /// The identity that the transport has proved: a TLS client certificate.
    External,
}

impl Mechanism {
    /// All of them, the one to prefer first.
    pub const ALL: [Self; 3] = [Self::Plain, Self::AmqPlain, Self::External];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }

    /// The mechanism with this name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().as_bytes() == name)
    }

    /// Whether a server's list of mechanisms, separated by spaces, has this one.
    #[must_use]
    pub fn is_offered(self, mechanisms: &[u8]) -> bool {
        mechanisms.split(|octet| *octet == b' ').any(|name| name == self.name().as_bytes())
    }
}

/// What a client logs in with. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password, for PLAIN or AMQPLAIN.
    Password {
        /// The user.
        user: LongStr,
        /// The password, or a token.
        password: Secret,
    },
    /// Nothing: the transport has proved who the client is.
    External,
}

impl Credentials {
    /// A user and a password.
    ///
    /// ```
    /// use hopmq_proto::amqp::Credentials;
    ///
    /// let credentials = Credentials::new("guest", "secret");
    /// assert!(!format!("{credentials:?}").contains("secret"));
    /// ```
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self::Password {
            user: LongStr::copy(user.as_bytes()),
            password: Secret::new(LongStr::copy(password.as_bytes())),
        }
    }

    /// The first of the `preferred` mechanisms that the server offers and that fits, with its initial response.
    ///
    /// Without a preference: PLAIN or AMQPLAIN for a password, EXTERNAL for nothing. `offered` is the server's list,
    /// separated by spaces.
    #[must_use]
    pub fn choose(&self, preferred: &[Mechanism], offered: &[u8]) -> Option<(Mechanism, Secret)> {
        let fitting: &[Mechanism] = match self {
            _ if !preferred.is_empty() => preferred,
            Self::Password { .. } => &[Mechanism::Plain, Mechanism::AmqPlain],
            Self::External => &[Mechanism::External],
        };
        let offered = fitting.iter().filter(|mechanism| mechanism.is_offered(offered));
        offered.copied().find_map(|mechanism| Some((mechanism, self.response(mechanism)?)))
    }

    /// The initial response, or `None` when the mechanism does not fit these credentials: PLAIN can carry no NUL, and
    /// only EXTERNAL needs no password.
    #[must_use]
    pub fn response(&self, mechanism: Mechanism) -> Option<Secret> {
        let mut out = BytesMut::new();
        match (mechanism, self) {
            (Mechanism::Plain, Self::Password { user, password }) => {
                if has_nul(user.as_bytes()) || has_nul(password.expose().as_bytes()) {
                    return None;
                }
                out.put_u8(0);
                out.put_slice(user.as_bytes());
                out.put_u8(0);
                out.put_slice(password.expose().as_bytes());
            }
            (Mechanism::AmqPlain, Self::Password { user, password }) => {
                let table =
                    FieldTable::new().with("LOGIN", user.clone()).with("PASSWORD", password.expose().clone());
                write_entries(&mut Writer::new(&mut out), &table, 1);
            }
            (Mechanism::External, _) => {}
            (Mechanism::Plain | Mechanism::AmqPlain, Self::External) => return None,
        }
        LongStr::new(out.freeze()).ok().map(Secret::new)
    }

    /// What a client's initial response says; the server's side of [`response`](Credentials::response).
    ///
    /// # Errors
    ///
    /// When the response does not follow the mechanism.
    pub fn parse(mechanism: Mechanism, response: &Secret) -> Result<Self, SaslError> {
        let bytes = response.expose().as_bytes();
        match mechanism {
            Mechanism::Plain => parse_plain(bytes),
            Mechanism::AmqPlain => parse_amqplain(bytes),
            Mechanism::External => Ok(Self::External),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Self::External => f.write_str("External"),
        }
    }
}

/// A login response that does not follow its mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the login response does not follow {mechanism}", mechanism = .0.name())]
pub struct SaslError(pub Mechanism);

/// `authzid NUL user NUL password`; the first is ignored, as RabbitMQ does.
fn parse_plain(bytes: &[u8]) -> Result<Credentials, SaslError> {
    let mut parts = bytes.splitn(3, |octet| *octet == 0);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(user), Some(password)) if !has_nul(password) => Ok(Credentials::Password {
            user: LongStr::copy(user),
            password: Secret::new(LongStr::copy(password)),
        }),
        _ => Err(SaslError(Mechanism::Plain)),
    }
}

fn has_nul(bytes: &[u8]) -> bool {
    bytes.contains(&0)
}

/// The entries of a table, without its length.
fn parse_amqplain(bytes: &[u8]) -> Result<Credentials, SaslError> {
    let table = read_entries(Reader::new(bytes), 1).map_err(|_| SaslError(Mechanism::AmqPlain))?;
    match (table.get("LOGIN"), table.get("PASSWORD")) {
        (Some(FieldValue::String(user)), Some(FieldValue::String(password))) => {
            Ok(Credentials::Password { user: user.clone(), password: Secret::new(password.clone()) })
        }
        _ => Err(SaslError(Mechanism::AmqPlain)),
    }
}
