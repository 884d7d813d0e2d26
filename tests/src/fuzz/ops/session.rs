use std::time::Duration;

use hopmq_proto::Instant;
use hopmq_proto::client::{Backoff, Recovery, RecoveryMode, Session};

use super::super::script::Script;
use super::looks::{Cuts, Looks};
use super::run::{Run, Setup};

/// The same as [`client_ops`](super::client_ops) for a session: its transports are dialled, refused, lost and closed, and
/// its third octet says how it comes back.
///
/// Beyond what holds of a connection, a delivery of before a loss can be settled no more, a publish that is given back
/// as not sent was never sent, and a session that is not over always wants something: to dial, or to wait, up to a
/// deadline. How the input is cut may matter to what a recovery says first.
///
/// # Panics
///
/// When it does not hold.
pub fn session_ops(data: &[u8]) {
    let [once, again] = [false, true].map(|curious| {
        let mut script = Script::new(data);
        let (setup, now) = (Setup::read(&mut script, false), Instant::from_nanos(1 << 40));
        let how = script.next();
        let endpoints = usize::from(how & 1) + 1;
        let engine = Session::new(setup.config.clone(), recovery(how), endpoints, how.into(), now);
        let cuts = if how & 1 == 0 { Cuts::Nobody } else { Cuts::Both };
        Run::new(engine, setup, now, Looks::new(curious, cuts)).run(&mut script)
    });
    once.assert_same(&again);
}

fn recovery(how: u8) -> Recovery {
    let mode = [RecoveryMode::AfterFirstSuccess, RecoveryMode::Always, RecoveryMode::Off];
    Recovery {
        mode: mode[[0, 1, 1, 2][usize::from(how >> 1 & 3)]],
        backoff: Backoff {
            initial: Duration::from_millis(if how & 8 == 0 { 100 } else { 0 }),
            ..Backoff::default()
        },
        max_rounds: (how & 0x30 == 0x30).then_some(2),
        max_elapsed: (how & 0x30 == 0x20).then_some(Duration::from_secs(30)),
        max_unconfirmed_bytes: if how & 0x40 == 0 { 64 << 20 } else { 5000 },
        message_ids: how & 0x80 != 0,
        shuffle: how & 0x40 != 0,
        ..Recovery::default()
    }
}
