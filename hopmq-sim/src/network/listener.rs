use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hopmq::io::{self as traits, Peer};

use super::{HostId, Network, Stream};
use crate::wakers::{Wakers, keep};
use crate::world::World;

/// How many connections may wait to be accepted. The kernel does not answer who dials then, as Linux does not.
const BACKLOG: usize = 128;

/// What came to a port and was not accepted yet.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Which of the port's listeners it belongs to.
    serial: u64,
    lines: VecDeque<u64>,
    waker: Option<Waker>,
}

impl Backlog {
    /// Adds a connection, unless there are too many. Returns who waits for one.
    pub(super) fn push(&mut self, line: u64) -> Option<Option<Waker>> {
        if self.is_full() {
            return None;
        }
        self.lines.push_back(line);
        Some(self.waker.take())
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= BACKLOG
    }

    /// What was not accepted. Who waits for one is told.
    pub(super) fn into_lines(self, wakers: &mut Wakers) -> VecDeque<u64> {
        wakers.wake(self.waker);
        self.lines
    }
}

/// A port of a host where connections come in. Dropping it closes the port.
///
/// Connections open before they are accepted. When 128 wait, nobody answers who dials, until there is room.
pub struct Listener {
    world: Arc<World>,
    host: HostId,
    port: u16,
    serial: u64,
}

impl Listener {
    pub(crate) fn new(world: &Arc<World>, host: HostId, port: u16) -> io::Result<Self> {
        let mut state = world.lock();
        let serial = state.network.lines.next_number();
        if !state.network.is_up(host) {
            return Err(state.network.is_down(host));
        }
        let Some(machine) = state.network.hosts.get_mut(host.0) else {
            return Err(state.network.is_down(host));
        };
        if machine.ports.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        machine.ports.insert(port, Backlog { serial, lines: VecDeque::new(), waker: None });
        Ok(Self { world: world.clone(), host, port, serial })
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// When its host has crashed since.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        let (stream, _) = std::future::poll_fn(|cx| traits::Listener::poll_accept(self, cx)).await?;
        Ok(stream)
    }
}

impl Network {
    fn backlog(&mut self, listener: &Listener) -> Option<&mut Backlog> {
        let ports = &mut self.hosts.get_mut(listener.host.0)?.ports;
        ports.get_mut(&listener.port).filter(|backlog| backlog.serial == listener.serial)
    }
}

impl traits::Listener for Listener {
    type Transport = Stream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        let mut wakers = Wakers::default();
        let mut state = self.world.lock();
        let Some(backlog) = state.network.backlog(self) else {
            return Poll::Ready(Err(state.network.is_down(self.host)));
        };
        let was_full = backlog.is_full();
        let Some(number) = backlog.lines.pop_front() else {
            keep(&mut backlog.waker, cx.waker(), &mut wakers);
            drop(state);
            wakers.release();
            return Poll::Pending;
        };
        let address = state.network.lines.get(number).and_then(|line| {
            let host = line.side(0)?.host;
            Some(format!("{}:{}", state.network.name(host), line.port))
        });
        if was_full {
            state.network.wake_dials(&mut wakers);
        }
        drop(state);
        wakers.release();
        let stream = Stream::new(self.world.clone(), number, 1);
        // All hosts of a world are in one process.
        Poll::Ready(Ok((stream, Peer { address: address.unwrap_or_default(), is_loopback: true })))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut wakers = Wakers::default();
        let now = self.world.now();
        {
            let state = &mut *self.world.lock();
            if state.network.backlog(self).is_some()
                && let Some(machine) = state.network.hosts.get_mut(self.host.0)
                && let Some(backlog) = machine.ports.remove(&self.port)
            {
                for number in backlog.into_lines(&mut wakers) {
                    state.network.let_go(number, 1, &mut state.timers, now, &mut wakers);
                }
                state.network.wake_dials(&mut wakers);
            }
        }
        wakers.release();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("port", &self.port).finish_non_exhaustive()
    }
}
