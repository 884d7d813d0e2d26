//! Chaos: real clients on a real RabbitMQ behind a network that goes wrong on purpose, and a checker.
//!
//! | | |
//! |---|---|
//! | `plan` | a run, drawn from its seed |
//! | `proxy`, `pump`, `node` | what goes wrong: the network, the broker |
//! | `client` | what is tested, behind a trait, so that others are held to the same |
//! | `message`, `history`, `checker` | what is sent, what happened, and what is wrong with that |

pub mod checker;
pub mod client;
pub mod history;
pub mod message;
pub mod node;
pub mod plan;
pub mod proxy;
mod pump;
