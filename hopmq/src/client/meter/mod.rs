//! What a connection has done, counted for the facade `metrics`. Without that feature it is nothing: a type without a size,
//! and functions without a body.
//!
//! Counting is adding to a plain integer under the connection's lock. What has come together is told to the recorder once
//! for each pass of the driver, without the lock.

#[cfg(not(feature = "metrics"))]
mod absent;
#[cfg(feature = "metrics")]
mod present;

#[cfg(not(feature = "metrics"))]
pub(crate) use absent::{Counts, Meter};
#[cfg(feature = "metrics")]
pub(crate) use present::{Counts, Meter};
