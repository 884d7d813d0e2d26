//! The only loop there is: it carries bytes, time and events between an engine and a transport.

use std::future::Future;
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::{Engine, Instant, Outbox, Want};

use crate::io::{Clock, Timer, Transport};

/// How much to read at once, at first; twice as much after each read that filled it.
const READ_MIN: usize = 16 * 1024;
/// How much to read at once at most.
const READ_MAX: usize = 256 * 1024;
/// How much to take from an engine's outbox at once. What has been taken can no longer be overtaken by a heartbeat.
const WIRE_LIMIT: usize = 256 * 1024;
/// How many chunks to hand to one vectored write.
const MAX_CHUNKS: usize = 64;
/// How many passes before other tasks get a turn.
const PASSES: usize = 32;
/// How long to wait for the peer's last words, when nothing can be written to it any more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An engine behind its lock, with the handles that wait for its events.
pub(crate) trait Host: Send + Unpin + 'static {
    /// One pass under the lock: gives `input` and the time to the engine, its events to whoever waits for them, and
    /// its bytes to `wire`. Keeps `waker`, to be woken when a handle has given the engine something to do.
    fn pass(&mut self, waker: &Waker, input: Input<'_>, wire: &mut Outbox, now: Instant) -> Pass;

    /// The driver is gone, and the transport with it, whether the engine had ended or not.
    fn ended(&mut self, now: Instant);
}

/// What has come from the transport.
pub(crate) enum Input<'a> {
    Bytes(&'a mut BytesMut),
    Eof,
    Failed(io::Error),
}

/// What a pass has left to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    pub(crate) want: Want,
    pub(crate) deadline: Option<Instant>,
}

/// Gives everything that is due to the engine in `owner` and takes everything that it has. `on_event` hands out the
/// events.
pub(crate) fn run_engine<O, E: Engine>(
    owner: &mut O,
    engine_of: fn(&mut O) -> &mut E,
    wire: &mut Outbox,
    now: Instant,
    mut on_event: impl FnMut(&mut O, E::Event),
) -> Pass {
    loop {
        while let Some(event) = engine_of(owner).poll_event() {
            on_event(owner, event);
        }
        let engine = engine_of(owner);
        engine.outbox().move_to(wire, WIRE_LIMIT);
        match engine.poll_timeout() {
            Some(deadline) if deadline <= now => engine.handle_timeout(now),
            deadline => return Pass { want: engine.want(), deadline },
        }
    }
}

/// One transport of a connection: a future that ends when the engine needs it no more and its last bytes are written.
pub(crate) struct Driver<H: Host, T, M, C: Clock> {
    host: H,
    transport: T,
    timer: M,
    clock: C,
    /// Read, but not yet a whole frame.
    input: BytesMut,
    /// How much to read at once.
    read_size: usize,
    /// Taken from the engine, but not yet written.
    wire: Outbox,
    /// The transport may hold back some of what was written.
    is_held_back: bool,
    /// Nothing can be written any more.
    mute: Option<Mute>,
    /// What the last pass has left to do.
    left: Pass,
    state: State,
}

/// Writing has failed. The peer may have said why before it went, and that is the cause that counts: what it has sent is
/// still read, to its end.
struct Mute {
    error: io::Error,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// The end of the stream, or its failure, has been handed to the engine.
    Broken,
    /// Everything is written and our direction is closed: wait for the peer to close its own, so that the last bytes
    /// are not cut off by a reset.
    Lingering,
}

impl<H: Host, T: Transport, M: Timer, C: Clock> Driver<H, T, M, C> {
    pub(crate) fn new(host: H, transport: T, timer: M, clock: C) -> Self {
        Self {
            host,
            transport,
            timer,
            clock,
            input: BytesMut::new(),
            read_size: READ_MIN,
            wire: Outbox::new(),
            is_held_back: false,
            mute: None,
            left: Pass { want: Want::ReadWrite, deadline: None },
            state: State::Running,
        }
    }

    /// Hands what was read to the engine, and takes what it has to write.
    fn pass(&mut self, waker: &Waker) -> Pass {
        let now = self.clock.now();
        self.left = self.host.pass(waker, Input::Bytes(&mut self.input), &mut self.wire, now);
        self.left
    }

    /// Reads before a deadline that is over is held against the peer, up to a bound: a task that was not run for a while,
    /// in a machine that was paused or too busy, finds the answer, the heartbeat or the end of the stream that came
    /// meanwhile.
    fn read_what_came_before(&mut self, cx: &mut Context<'_>) {
        let Pass { want, deadline: Some(deadline) } = self.left else { return };
        if want == Want::ReadWrite && deadline <= self.clock.now() {
            while self.input.len() < READ_MAX && self.read(cx) {}
        }
    }

    fn fail(&mut self, waker: &Waker, input: Input<'_>) {
        if self.state == State::Running {
            self.state = State::Broken;
            self.wire = Outbox::new();
            let now = self.clock.now();
            // What was read comes before the end of it, and may have been the end for the engine.
            let left = self.host.pass(waker, Input::Bytes(&mut self.input), &mut self.wire, now);
            if let Want::ReadWrite | Want::Write = left.want {
                self.host.pass(waker, input, &mut self.wire, now);
            }
        }
    }

    /// Writes until everything is written or the transport takes no more. True when it wrote something, or failed to.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut wrote = false;
        while self.can_write() && !self.wire.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_CHUNKS];
            let mut count = 0;
            for (slice, chunk) in slices.iter_mut().zip(self.wire.chunks()) {
                *slice = IoSlice::new(chunk);
                count += 1;
            }
            match self.transport.poll_write(cx, slices.get(..count).unwrap_or_default()) {
                Poll::Ready(Ok(0)) => self.fall_mute(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.wire.consume(n),
                Poll::Ready(Err(error)) => self.fall_mute(error),
                Poll::Pending => break,
            }
            wrote = true;
        }
        self.is_held_back |= wrote;
        if self.is_held_back && self.can_write() {
            match self.transport.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.is_held_back = false,
                Poll::Ready(Err(error)) => self.fall_mute(error),
                Poll::Pending => {}
            }
        }
        if self.mute.is_some() {
            self.wire = Outbox::new();
        }
        wrote
    }

    fn can_write(&self) -> bool {
        self.state == State::Running && self.mute.is_none()
    }

    fn fall_mute(&mut self, error: io::Error) {
        self.mute = Some(Mute { error, until: self.clock.now() + LAST_WORDS });
    }

    /// Waits until `deadline`, or until the last words are due. True when it is time.
    fn is_due(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> bool {
        let last_words = self.mute.as_ref().map(|mute| mute.until);
        let Some(earliest) = deadline.into_iter().chain(last_words).min() else { return false };
        let due = self.timer.poll_until(cx, earliest).is_ready();
        if due && last_words == Some(earliest) {
            let error = self.mute.take().map(|mute| mute.error);
            self.fail(cx.waker(), error.map_or(Input::Eof, Input::Failed));
        }
        due
    }

    /// Reads once. True when it read something, or the end.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.state != State::Running {
            return false;
        }
        self.input.reserve(self.read_size);
        match self.transport.poll_read(cx, &mut self.input) {
            Poll::Ready(Ok(0)) => self.fail(cx.waker(), Input::Eof),
            Poll::Ready(Ok(n)) if n >= self.read_size => self.read_size = READ_MAX.min(n * 2),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => self.fail(cx.waker(), Input::Failed(error)),
            Poll::Pending => return false,
        }
        true
    }

    /// The engine needs nothing more. True when nothing is left to do.
    fn close(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else { return true };
        if self.timer.poll_until(cx, deadline).is_ready() || self.state == State::Broken {
            return true;
        }
        if self.state == State::Running && self.wire.is_empty() {
            match self.transport.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.state = State::Lingering,
                Poll::Ready(Err(_)) => return true,
                Poll::Pending => {}
            }
        }
        self.state == State::Lingering && self.linger(cx)
    }

    /// Reads and drops what still comes. True at the end of the stream.
    fn linger(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..PASSES {
            self.input.clear();
            self.input.reserve(READ_MIN);
            match self.transport.poll_read(cx, &mut self.input) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return false,
            }
        }
        cx.waker().wake_by_ref();
        false
    }
}

/// Nothing in a driver is pinned.
impl<H: Host, T, M, C: Clock> Unpin for Driver<H, T, M, C> {}

impl<H: Host, T: Transport, M: Timer, C: Clock> Future for Driver<H, T, M, C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.read_what_came_before(cx);
        for _ in 0..PASSES {
            let pass = this.pass(cx.waker());
            let wrote = this.write(cx);
            let read = pass.want == Want::ReadWrite && this.read(cx);
            if let Want::Dial { .. } | Want::Wait = pass.want {
                return Poll::Ready(()); // this transport is of no use any more
            }
            if pass.want == Want::Shutdown {
                if this.close(cx, pass.deadline) {
                    return Poll::Ready(());
                }
                if !wrote {
                    return Poll::Pending;
                }
                continue;
            }
            let due = this.is_due(cx, pass.deadline);
            if !(wrote || read || due) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<H: Host, T, M, C: Clock> Drop for Driver<H, T, M, C> {
    fn drop(&mut self) {
        let now = self.clock.now();
        self.host.ended(now);
    }
}

#[cfg(test)]
mod tests;
