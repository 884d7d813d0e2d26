use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use hopmq::io::Transport;

use super::HostId;
use super::line::{Line, both, hosts};
use super::link::Path;
use super::way::{Arrived, Last, Sink, Way};
use crate::random::Random;
use crate::timers::Timers;
use crate::trace::{Said, Talk, Trace, What};
use crate::wakers::Wakers;
use crate::watches::{Does, Watches};
use crate::world::{State, World};

/// One end of a connection through the simulated network: what [`Host::dial`](crate::Host::dial) gives and
/// [`Listener`](crate::Listener)s accept. Dropping it closes the connection, as a kernel does for a process.
pub struct Stream {
    world: Arc<World>,
    line: u64,
    side: usize,
}

/// An end with what it needs, under the lock.
struct View<'a> {
    /// What it writes, and what it reads.
    own: &'a mut Way,
    other: &'a mut Way,
    /// What both have said.
    talk: &'a mut Talk,
    /// What the network is like from here, and to here.
    there: Path,
    back: Path,
    /// Somebody is there to answer.
    has_kernel: bool,
    timers: &'a mut Timers,
    trace: &'a mut Trace,
    watches: &'a mut Watches,
    random: &'a mut Random,
}

impl Stream {
    pub(super) const fn new(world: Arc<World>, line: u64, side: usize) -> Self {
        Self { world, line, side }
    }

    /// Works on this end, unless its host has crashed since.
    fn with<T>(&self, work: impl FnOnce(View<'_>, &mut Wakers) -> T) -> io::Result<T> {
        let mut wakers = Wakers::default();
        let result = {
            let state = &mut *self.world.lock();
            self.view(state).map(|view| work(view, &mut wakers))
        };
        wakers.release();
        result.ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    fn view<'a>(&self, state: &'a mut State) -> Option<View<'a>> {
        let network = &mut state.network;
        let line = network.lines.get(self.line)?;
        if line.side(self.side)?.is_gone {
            return None;
        }
        let [here, there]: [HostId; 2] = hosts(line, self.side)?;
        let (path, back) = (network.path(here, there), network.path(there, here));
        let has_kernel = network.has_kernel(there);
        let Line { ways, talk, .. } = network.lines.get_mut(self.line)?;
        let [own, other] = both(ways, self.side);
        let (timers, random) = (&mut state.timers, &mut network.random);
        let (trace, watches) = (&mut state.trace, &mut state.watches);
        Some(View { own, other, talk, there: path, back, has_kernel, timers, trace, watches, random })
    }
}

impl Transport for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        let now = self.world.now();
        let room = input.capacity() - input.len();
        let line = self.line;
        self.with(|view, wakers| match view.other.arrived(now, &view.back) {
            Arrived::Bytes(count) => {
                let count = count.min(room);
                view.trace.mix(line << 32 ^ count as u64);
                view.other.read(count, input, wakers);
                let hosts = [view.other.to, view.other.from];
                view.watches.saw_bytes(Does::Receives, hosts, count, now, wakers);
                Poll::Ready(Ok(count))
            }
            Arrived::End => Poll::Ready(Ok(0)),
            Arrived::Reset => {
                let (from, to) = (view.other.from, view.other.to);
                view.trace.add(now, What::Reset { line, from, to });
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            Arrived::Nothing => {
                view.other.wait_to_read(cx.waker(), view.timers, now, wakers);
                Poll::Pending
            }
        })
        .unwrap_or_else(|gone| Poll::Ready(Err(gone)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let now = self.world.now();
        let (line, side) = (self.line, self.side);
        self.with(|view, wakers| {
            let View { own, other, talk, there, back, has_kernel, timers, trace, watches, random } = view;
            if own.is_ended() || other.is_reset(now) {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if chunks.iter().all(|chunk| chunk.is_empty()) {
                return Poll::Ready(Ok(0));
            }
            if own.room() == 0 {
                own.wait_to_write(cx.waker(), wakers);
                other.wait_for_reset(cx.waker(), timers, now, wakers);
                return Poll::Pending;
            }
            let mut said = trace.is_read().then(Said::default);
            let count = own.write(chunks, &there, now, random, |bytes| {
                trace.mix_bytes(bytes);
                if let Some(said) = &mut said {
                    talk.hear(side, bytes, said);
                }
            });
            let (from, to) = (own.from, own.to);
            trace.add(now, What::Bytes { line, side, from, to, count: count as u64, said });
            watches.saw_bytes(Does::Sends, [own.from, own.to], count, now, wakers);
            if let Some(Sink::Answering(_)) = own.sink
                && has_kernel
                && !there.is_partitioned
            {
                other.finish(Last::Reset, &back, now + there.link.delay(random), random);
                other.arm(timers, now, wakers);
            }
            own.arm(timers, now, wakers);
            Poll::Ready(Ok(count))
        })
        .unwrap_or_else(|gone| Poll::Ready(Err(gone)))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.world.now();
        let line = self.line;
        Poll::Ready(self.with(|view, wakers| {
            let View { own, there, timers, trace, random, .. } = view;
            if !own.is_ended() {
                trace.add(now, What::End { line, from: own.from, to: own.to });
                own.finish(Last::End, &there, now, random);
                own.arm(timers, now, wakers);
            }
        }))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut wakers = Wakers::default();
        let now = self.world.now();
        {
            let state = &mut *self.world.lock();
            let line = self.line;
            if let Some(View { own, trace, .. }) = self.view(state)
                && !own.is_ended()
            {
                trace.add(now, What::End { line, from: own.from, to: own.to });
            }
            state.network.let_go(self.line, self.side, &mut state.timers, now, &mut wakers);
        }
        wakers.release();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("number", &self.line).field("side", &self.side).finish_non_exhaustive()
    }
}
