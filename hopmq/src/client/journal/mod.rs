//! What happens to a connection, told to whoever has subscribed with `tracing`. Without that feature it is nothing: types
//! without a size, and functions without a body.
//!
//! Under the connection's lock it is only noted what is to be told, and that only at levels that somebody listens to. It is told
//! when the lock has been released: a subscriber may be slow, and may use the connection itself.

#[cfg(not(feature = "tracing"))]
mod absent;
#[cfg(feature = "tracing")]
mod note;
#[cfg(feature = "tracing")]
mod present;

#[cfg(not(feature = "tracing"))]
pub(crate) use absent::{Journal, Scope, Telling};
#[cfg(feature = "tracing")]
pub(crate) use present::{Journal, Scope, Telling};
