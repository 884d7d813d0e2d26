//! A client's way to the server that can be cut, go silent and be closed, without a socket of its own.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use hopmq_tokio::io::{Dialer, Transport};
use hopmq_tokio::memory::{Pipe, pipe};
use hopmq_tokio::{ConnectError, ConnectOptions, Connection, Endpoint, Stream, Tokio};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

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
    pub(super) fn new(end: End) -> Self {
        Self { end, switch: Arc::default() }
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap()
    }

    /// Connects through it, as the options say apart from the place.
    pub async fn connect(&self, options: ConnectOptions) -> Result<Connection, ConnectError> {
        Connection::connect(&Tokio::current(), self.clone(), options).await
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
            End::Tcp(Endpoint { host, port }) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Way::Tcp(Stream(stream))
            }
            End::Memory(door) => {
                let (ours, theirs) = pipe();
                door.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Way::Memory(ours)
            }
        };
        let cuts = self.switch().cuts;
        Ok(Leg { way: Some(way), cuts, switch: self.switch.clone() })
    }
}

#[derive(Debug)]
enum Way {
    Tcp(Stream<TcpStream>),
    Memory(Pipe),
}

/// One connection through a [`Line`].
#[derive(Debug)]
pub struct Leg {
    way: Option<Way>,
    cuts: u32,
    switch: Arc<Mutex<Switch>>,
}

impl Leg {
    /// What carries it now: `Ready` when it was cut.
    fn way(&mut self, cx: &Context<'_>) -> Poll<Option<&mut Way>> {
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

impl Transport for Leg {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        match std::task::ready!(self.way(cx)) {
            None => Poll::Ready(Ok(0)),
            Some(Way::Tcp(stream)) => stream.poll_read(cx, input),
            Some(Way::Memory(pipe)) => pipe.poll_read(cx, input),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match std::task::ready!(self.way(cx)) {
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(Way::Tcp(stream)) => stream.poll_write(cx, chunks),
            Some(Way::Memory(pipe)) => pipe.poll_write(cx, chunks),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match std::task::ready!(self.way(cx)) {
            None => Poll::Ready(Ok(())),
            Some(Way::Tcp(stream)) => stream.poll_shutdown(cx),
            Some(Way::Memory(pipe)) => pipe.poll_shutdown(cx),
        }
    }
}
