//! What the tests share: scenarios for both brokers, the seeded world, the swarm, the bodies of the fuzz targets, chaos.

pub mod blocking;
pub mod capture;
pub mod carried;
pub mod certificates;
pub mod chaos;
pub mod closed_port;
pub mod door;
pub mod fuzz;
pub mod leaks;
pub mod node;
mod pending;
pub mod programs;
pub mod purity;
pub mod scenarios;
pub mod seeds;
pub mod sources;
pub mod swarm;
pub mod world;

// Its examples need OpenTelemetry, which nothing but tests depends on.
#[cfg(doctest)]
#[doc = include_str!("../../docs/observability.md")]
struct Observability;
