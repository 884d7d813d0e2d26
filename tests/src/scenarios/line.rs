//! A client's way to the server that can be cut, go silent and be closed, without a socket of its own.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use hopmq::io::{Dialer, Transport};
use hopmq::memory::{Pipe, pipe};
use hopmq::{ConnectError, ConnectOptions, Connection, Endpoint};
use tokio::sync::mpsc::UnboundedSender;

use super::On;

/// The host that nobody is at.
pub const NOWHERE: &str = "nowhere";

/// Where a line leads.
#[derive(Debug, Clone)]
pub(super) enum End {
    Tcp(Endpoint),
    Memory(UnboundedSender<Pipe>),
}

/// A way to a server. Cloning it gives another handle to the same one.
#[derive(Debug, Clone)]
pub struct Line {
    on: On,
    end: End,
    switch: Arc<Mutex<Switch>>,
}

#[derive(Debug, Default)]
struct Switch {
    /// How often it was cut: what is older than the last cut is no more.
    cuts: u32,
    is_down: bool,
    is_silent: bool,
    readers: Vec<Waker>,
}

impl Line {
    pub(super) fn new(on: On, end: End) -> Self {
        Self { on, end, switch: Arc::default() }
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap()
    }

    /// Connects through it, as the options say apart from the place.
    pub async fn connect(&self, options: ConnectOptions) -> Result<Connection, ConnectError> {
        self.on.connect_through(self.clone(), options).await
    }

    /// Ends every connection through it, for both sides.
    pub fn cut(&self) {
        let mut switch = self.switch();
        switch.cuts += 1;
        switch.is_silent = false;
        let readers = std::mem::take(&mut switch.readers);
        drop(switch);
        readers.into_iter().for_each(Waker::wake);
    }

    /// From now on nobody gets through; what is open stays so.
    pub fn set_down(&self, is_down: bool) {
        self.switch().is_down = is_down;
    }

    /// Until the next cut nothing moves.
    pub fn fall_silent(&self) {
        self.switch().is_silent = true;
    }

    /// How many dialers and connections have it, besides this handle.
    pub fn users(&self) -> usize {
        Arc::strong_count(&self.switch) - 1
    }
}

impl Dialer for Line {
    type Transport = Leg;

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Leg> {
        if self.switch().is_down || endpoint.host == NOWHERE {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let way = match &self.end {
            End::Tcp(endpoint) => self.on.dial(endpoint).await?,
            End::Memory(door) => {
                let (ours, theirs) = pipe();
                door.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Box::new(ours)
            }
        };
        let cuts = self.switch().cuts;
        Ok(Leg { way: Some(way), cuts, switch: self.switch.clone() })
    }
}

/// One connection through a [`Line`].
pub struct Leg {
    way: Option<Box<dyn Transport>>,
    cuts: u32,
    switch: Arc<Mutex<Switch>>,
}

impl Leg {
    /// What carries it now: `Ready` when it was cut.
    fn way(&mut self, cx: &Context<'_>) -> Poll<Option<&mut Box<dyn Transport>>> {
        let mut switch = self.switch.lock().unwrap();
        if switch.cuts != self.cuts {
            self.way = None; // the server's end of it ends too
            return Poll::Ready(None);
        }
        switch.readers.retain(|reader| !reader.will_wake(cx.waker()));
        switch.readers.push(cx.waker().clone());
        if switch.is_silent { Poll::Pending } else { Poll::Ready(self.way.as_mut()) }
    }
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg").field("cuts", &self.cuts).finish_non_exhaustive()
    }
}

impl Transport for Leg {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        match std::task::ready!(self.way(cx)) {
            None => Poll::Ready(Ok(0)),
            Some(way) => way.poll_read(cx, input),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match std::task::ready!(self.way(cx)) {
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(way) => way.poll_write(cx, chunks),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match std::task::ready!(self.way(cx)) {
            None => Poll::Ready(Ok(())),
            Some(way) => way.poll_shutdown(cx),
        }
    }
}
