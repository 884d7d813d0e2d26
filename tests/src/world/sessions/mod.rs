//! The seeded world of sessions: clients that come back, one broker that goes away, and a network that breaks at any byte.
//!
//! | | |
//! |---|---|
//! | [`run_session`], [`check_session`], [`replay_session`] | a world from its seed; twice, with equal traces; with its trace printed |
//! | `world`, `wire` | the clock, what happens next, and one transport: two pipes and the broker's end |
//! | `user`, `acts` | a session with what it is owed and holds, and what it does |
//! | `promises` | every message that was published, and what was promised of it |
//! | `finish` | the liveness that is demanded once the trouble is over |

mod acts;
mod finish;
mod promises;
mod run;
mod tally;
mod user;
mod wire;
#[allow(clippy::module_inception)]
mod world;

pub use run::{check_session, replay_session, run_session, run_session_script};
pub use tally::SessionTally;
