use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no TLS with a server.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// This program was built without the feature `tls` of its adapter.
    #[error("TLS is not built in: it needs the feature \"tls\"")]
    NotBuilt,
    /// A file of certificates or a key cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A PEM text does not hold what it should.
    #[error("{pem} {problem}")]
    Pem {
        /// Which: a file, or what it was given as.
        pem: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificates and keys cannot be used.
    #[error("unusable certificates: {0}")]
    Config(String),
    /// The name that the server should prove is not one that a certificate can have.
    #[error("\"{0}\" is no name that a certificate could prove")]
    ServerName(String),
    /// The server's certificate does not prove that it is the one that was asked for.
    #[error("the certificate of {name} is not accepted: {problem}")]
    Verify {
        /// The name that the server had to prove.
        name: String,
        /// Why it has not.
        problem: String,
    },
    /// The server does not agree on how to speak TLS, or does not speak it.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
}
