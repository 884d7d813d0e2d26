//! Chaos: real clients on a real RabbitMQ behind a network that goes wrong on purpose, and a checker.
//!
//! | | |
//! |---|---|
//! | [`plan`] | a run, drawn from its seed |
//! | [`proxy`], `pump`, `network`, [`node`] | what goes wrong: the network, the broker |
//! | [`client`], [`hopmq`] | what is tested, behind a trait, so that others are held to the same |
//! | `workload`, `ledger`, [`run`] | what a program does with its client, and one run of it |
//! | [`message`], [`history`], [`checker`] | what is sent, what happened, and what is wrong with that |
//! | [`judge`], [`place`] | what of that is certain as soon as it has happened |
//! | [`report`] | many runs, and their table |
//!
//! A seed decides what is done and when; a real network and a real broker decide the rest, so that a replay is like the
//! first run, and not the same.

pub mod checker;
pub mod client;
pub mod history;
pub mod hopmq;
pub mod judge;
mod ledger;
pub mod message;
mod network;
pub mod node;
pub mod place;
pub mod plan;
pub mod proxy;
mod pump;
pub mod report;
pub mod run;
mod workload;
