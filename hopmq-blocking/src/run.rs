use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use hopmq::io::Clock as _;
use mio::{Events, Token};

use crate::runtime::{Handle, Task};
use crate::tcp::TcpDialer;

/// What wakes the thread from elsewhere; sockets have [`SOCKET`](crate::tcp::SOCKET). Which it was does not matter.
const WAKER: Token = Token(0);

/// The work of one connection: reading, writing, heartbeats, deadlines. It is done while [`run`](Io::run) runs.
///
/// Dropping it drops the connection: everything that waits on it ends with [`Lost::Transport`](crate::Lost), and so
/// does every later call.
#[must_use = "nothing moves on the connection unless it is run"]
pub struct Io {
    handle: Handle,
    tasks: Vec<Task>,
    poll: mio::Poll,
    events: Events,
}

impl Io {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let handle = Handle::new(mio::Waker::new(poll.registry(), WAKER)?);
        Ok(Self { handle, tasks: Vec::new(), poll, events: Events::with_capacity(2) })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Opens sockets that wake this when they are ready.
    pub(crate) fn dialer(&self) -> io::Result<TcpDialer> {
        Ok(TcpDialer::new(self.poll.registry().try_clone()?, self.handle.clone()))
    }

    /// Does the connection's work on this thread, until the connection has ended and its last bytes are written:
    /// after [`close`](crate::Connection::close), when the last handle is dropped, or when it is lost.
    ///
    /// # Errors
    ///
    /// When the system does not let it wait for the socket. The connection is lost then. A connection that ends for
    /// any other reason is no error here: its handles tell.
    pub fn run(mut self) -> io::Result<()> {
        while !self.tasks.is_empty() {
            self.turn()?;
        }
        Ok(())
    }

    /// [Runs](Io::run) on a new thread, which ends when the connection has ended.
    ///
    /// # Errors
    ///
    /// When the system gives no thread. The connection is lost then.
    pub fn spawn(self) -> io::Result<JoinHandle<io::Result<()>>> {
        thread::Builder::new().name("hopmq".to_owned()).spawn(move || self.run())
    }

    /// Runs until `future` is ready.
    pub(crate) fn run_until<F: Future>(&mut self, future: F) -> io::Result<F::Output> {
        let waker = Waker::from(self.handle.sleep.clone());
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.handle.take_new(&mut self.tasks);
                return Ok(output);
            }
            self.turn()?;
        }
    }

    /// Sleeps until there is something to do, unless there is already, and does it.
    fn turn(&mut self) -> io::Result<()> {
        let sleep = self.handle.sleep.clone();
        if sleep.fall_asleep() {
            let timeout = sleep.timers.next().map(|deadline| deadline - self.handle.clock.now());
            match self.poll.poll(&mut self.events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        sleep.get_up();
        sleep.timers.ring(self.handle.clock.now());
        if sleep.take_woken() || !self.events.is_empty() {
            self.events.clear();
            let waker = Waker::from(sleep);
            self.handle.take_new(&mut self.tasks);
            self.tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        Ok(())
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}
