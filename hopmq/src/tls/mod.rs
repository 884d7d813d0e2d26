//! TLS in any transport: what a user asks of it, what can go wrong, and how it is spoken.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod client;
mod error;
mod options;
#[cfg(feature = "tls")]
mod server;
#[cfg(feature = "tls")]
mod stream;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::Secured;
#[cfg(feature = "tls")]
pub(crate) use client::Secured;
pub use error::TlsError;
pub use options::{Pem, ServerName, TlsOptions};
#[cfg(feature = "tls")]
pub use server::TlsListener;
#[cfg(feature = "tls")]
pub use stream::TlsStream;
