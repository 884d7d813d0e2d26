//! TLS: what a user asks of it, and what can go wrong.

mod error;
mod options;

pub use error::TlsError;
pub use options::{Pem, ServerName, TlsOptions};
