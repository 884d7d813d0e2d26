use std::fmt;
use std::path::PathBuf;

/// What a client asks of TLS. [`TlsOptions::new`] is what most want: the server's certificate must be for the host that
/// was connected to, and signed by an authority that the system trusts.
///
/// ```
/// use hopmq::{ConnectOptions, Pem, TlsOptions};
///
/// let tls = TlsOptions::new()
///     .ca(Pem::File("/etc/orders/ca.pem".into()))
///     .identity(Pem::File("/etc/orders/client.pem".into()), Pem::File("/etc/orders/client.key".into()));
/// let options = ConnectOptions::new().host("rabbit.example.com").tls(tls);
/// assert_eq!(options.endpoints()[0].to_string(), "rabbit.example.com:5671");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Who may sign the server's certificate. Empty is: whom the system trusts.
    pub(crate) authorities: Vec<Pem>,
    /// Certificates and key of this client, for servers that ask who it is.
    pub(crate) identity: Option<(Pem, Pem)>,
    pub(crate) server_name: ServerName,
    pub(crate) accepts_any_certificate: bool,
}

/// Certificates or a key as PEM text. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// In this file, which is read at each connect.
    File(PathBuf),
    /// Here.
    Text(Vec<u8>),
}

/// Which name the server is asked for and has to prove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ServerName {
    /// The host that is connected to. An address is to be proved too, but is not asked for: SNI is for names.
    #[default]
    Host,
    /// This one, whatever the host.
    Name(String),
    /// Nobody is asked for (no SNI), and the host is to be proved.
    NotSent,
}

impl TlsOptions {
    /// The system's authorities, the host's name, no client certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates in `authorities` to sign the server's, and no longer those that the system trusts.
    /// More calls add more.
    #[must_use]
    pub fn ca(mut self, authorities: Pem) -> Self {
        self.authorities.push(authorities);
        self
    }

    /// The certificates of this client, its own first, and its key, for servers that ask for them (mutual TLS). With
    /// [`ConnectOptions::external`](crate::ConnectOptions::external) they are the login too.
    ///
    /// Both may be in one file. An encrypted key is an error at connect.
    #[must_use]
    pub fn identity(mut self, certificates: Pem, key: Pem) -> Self {
        self.identity = Some((certificates, key));
        self
    }

    /// Which name the server is asked for and has to prove.
    #[must_use]
    pub fn server_name(mut self, name: ServerName) -> Self {
        self.server_name = name;
        self
    }

    /// Takes any server for the right one: whoever is between can then read and change everything. For tests.
    #[must_use]
    pub fn danger_accept_invalid_certificates(mut self) -> Self {
        self.accepts_any_certificate = true;
        self
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.debug_tuple("Text").finish_non_exhaustive(),
        }
    }
}
