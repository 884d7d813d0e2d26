//! What every protocol shares: the [`Engine`] contract and the four small types it is written in.

mod deadlines;
mod instant;
mod outbox;

use bytes::BytesMut;

pub use deadlines::Deadlines;
pub use instant::Instant;
pub use outbox::{Chunks, Outbox};

/// A protocol over one ordered byte stream, without the stream.
///
/// The owner reads bytes and the clock, and hands both in; it takes bytes, events and the next deadline out. The
/// [crate documentation](crate) states the whole contract and drives an engine by hand.
///
/// * All work happens in `handle_*` and in the commands of the concrete engine. `poll_*` only pop, so any order of
///   calls is correct.
/// * After any `&mut` call, look again at [`outbox`](Engine::outbox), [`poll_event`](Engine::poll_event),
///   [`poll_timeout`](Engine::poll_timeout) and [`want`](Engine::want).
/// * Nothing here fails: a fault of the peer becomes bytes for the peer and an event for the owner.
pub trait Engine {
    /// What the engine tells its owner.
    type Event;

    /// Takes every whole frame out of `input` and leaves the incomplete tail for the next call. While it wants
    /// [`Want::Write`] it may leave whole frames, too, and is called with them again once it wants [`Want::ReadWrite`].
    fn handle_input(&mut self, input: &mut BytesMut, now: Instant);

    /// The peer will send nothing more. Whatever waits for a reply is resolved.
    fn handle_eof(&mut self, now: Instant);

    /// Acts on every deadline that is due at `now`. Calling it early or late is harmless.
    fn handle_timeout(&mut self, now: Instant);

    /// The next event, oldest first.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// When [`handle_timeout`](Engine::handle_timeout) must next be called, if ever.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The bytes to write, in order.
    fn outbox(&mut self) -> &mut Outbox;

    /// What the transport should do now.
    #[must_use]
    fn want(&self) -> Want;
}

/// An engine's whole demand on its transport, so that a driver has one `match` and no flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Want {
    /// Write the outbox, and read.
    ReadWrite,
    /// Write the outbox, but do not read for now: the owner has more unread events than its bound allows; or of a broker, the peer
    /// reads too little of what it asked for, or publishes amid an alarm.
    Write,
    /// Write what the outbox holds, then close the transport. The engine needs nothing more from it.
    Shutdown,
    /// Open a transport to the endpoint with this number. Each attempt has a number of its own: when it changes, or is
    /// wanted no more, the attempt is to be given up.
    Dial {
        /// Which endpoint.
        endpoint: usize,
        /// Which attempt.
        attempt: u32,
    },
    /// There is no transport, and none is wanted before the next deadline.
    Wait,
}
