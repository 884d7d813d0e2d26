//! TLS: what a user asks of it, what can go wrong, and what adapters make of it.

#[cfg(feature = "tls")]
mod client;
mod error;
mod options;

#[cfg(feature = "tls")]
pub use client::TlsClient;
pub use error::TlsError;
pub use options::{Pem, ServerName, TlsOptions};
