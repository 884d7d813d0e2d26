use hopmq_proto::Instant;
use hopmq_proto::client::Connection;

use super::super::script::Script;
use super::looks::{Cuts, Looks};
use super::run::{Run, Setup};

/// A connection, its server and its owner, who does what the script says: commands, what the server hears, answers and
/// does of itself, time, bytes, the end of the stream.
///
/// Two octets say how the client is configured, what the server offers and how it ends; then come steps: an octet that
/// says what happens, and what it needs of the octets behind it. See `Run::step`.
///
/// Each token is resolved once, by an answer to its own question; the terminal event comes once and last. A confirm says
/// what the server said of this very message; a delivery is settled once; nothing is delivered to whom nobody knows. What
/// waits has a deadline, and is answered by a server that answers. A refused command changes nothing, the outbox keeps
/// its bounds, and what is written is AMQP. And all of it is the same, whoever looks, and however the input is cut.
///
/// # Panics
///
/// When it does not hold.
pub fn client_ops(data: &[u8]) {
    let [once, again] = [false, true].map(|curious| {
        let mut script = Script::new(data);
        let (setup, now) = (Setup::read(&mut script, true), Instant::from_nanos(1 << 40));
        let engine = Connection::new(setup.config.clone(), now);
        Run::new(engine, setup, now, Looks::new(curious, Cuts::Curious)).run(&mut script)
    });
    once.assert_same(&again);
}
