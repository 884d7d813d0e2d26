//! The micro-benchmarks: what the engines do all day, without a socket, a thread or a clock. And [`job`], what the whole client does
//! beside its peers.
//!
//! Each is one line in [`WORKLOADS`]. `benches/time.rs` runs them against the clock and `benches/instructions.rs` under
//! valgrind, so both measure the very same work.

pub mod job;
mod pair;
mod workloads;

use std::fmt;

use workloads::{Confirms, ack, assemble, broker, confirm, deliver, publish, table_decode, table_encode};

/// A piece of work that is ready to run. It can run once; then another must be prepared.
pub type Run = Box<dyn FnMut()>;

/// A piece of work to measure.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// What it is.
    pub name: &'static str,
    /// How many messages one run handles.
    pub messages: u32,
    /// Does everything that is not to be measured, with engines that have done the same work before: their buffers
    /// have grown.
    pub prepare: fn() -> Run,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// How many messages most runs handle: with 1000, a microsecond per run is a nanosecond per message.
const MANY: u32 = 1000;
/// How many messages of 1 MiB a run handles.
const FEW: u32 = 10;

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

/// Every piece of work.
#[rustfmt::skip] // a table
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "publish-16B", messages: MANY, prepare: || publish(16, Confirms::Off, false) },
    Workload { name: "publish-1KiB", messages: MANY, prepare: || publish(KIB, Confirms::Off, false) },
    Workload { name: "publish-confirm-16B", messages: MANY, prepare: || publish(16, Confirms::On, false) },
    Workload { name: "publish-confirm-1KiB", messages: MANY, prepare: || publish(KIB, Confirms::On, false) },
    Workload { name: "publish-mandatory-16B", messages: MANY, prepare: || publish(16, Confirms::On, true) },
    Workload { name: "publish-mandatory-1KiB", messages: MANY, prepare: || publish(KIB, Confirms::On, true) },
    Workload { name: "confirm-all-at-once", messages: MANY, prepare: || confirm(true) },
    Workload { name: "confirm-one-by-one", messages: MANY, prepare: || confirm(false) },
    Workload { name: "deliver-16B", messages: MANY, prepare: || deliver(16) },
    Workload { name: "deliver-1KiB", messages: MANY, prepare: || deliver(KIB) },
    Workload { name: "assemble-1MiB", messages: FEW, prepare: || assemble(MIB) },
    Workload { name: "ack", messages: MANY, prepare: ack },
    Workload { name: "broker-16B", messages: MANY, prepare: || broker(16) },
    Workload { name: "broker-1KiB", messages: MANY, prepare: || broker(KIB) },
    Workload { name: "table-encode", messages: MANY, prepare: table_encode },
    Workload { name: "table-decode", messages: MANY, prepare: table_decode },
];
