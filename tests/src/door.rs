//! A way into a broker in memory, dialled and accepted like any other: a paused clock would jump while a socket is
//! waited for.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hopmq_tokio::Endpoint;
use hopmq_tokio::io::{Dialer, Listener, Peer, Transport};
use hopmq_tokio::memory::{Pipe, pipe};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Where clients come in.
#[derive(Debug)]
pub struct Door {
    visitors: UnboundedSender<Pipe>,
    /// How many bytes the next client can send before the line goes dead.
    reach: AtomicUsize,
}

/// Who has come in.
#[derive(Debug)]
pub struct Visitors(UnboundedReceiver<Pipe>);

/// Both sides of a door.
pub fn door() -> (Door, Visitors) {
    let (visitors, coming) = unbounded_channel();
    (Door { visitors, reach: AtomicUsize::new(usize::MAX) }, Visitors(coming))
}

impl Door {
    /// From now on what clients send behind so many bytes is lost on the way, and nobody is told.
    pub fn set_reach(&self, bytes: usize) {
        self.reach.store(bytes, Ordering::Relaxed);
    }
}

impl Dialer for Door {
    type Transport = Line;

    async fn dial(&self, _: &Endpoint) -> io::Result<Line> {
        let (pipe, theirs) = pipe();
        self.visitors.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Line { pipe, reach: self.reach.load(Ordering::Relaxed) })
    }
}

impl Listener for Visitors {
    type Transport = Pipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Pipe, Peer)>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(pipe)) => {
                Poll::Ready(Ok((pipe, Peer { address: "memory".to_owned(), is_loopback: true })))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// The client's end of a connection through a [`Door`].
#[derive(Debug)]
pub struct Line {
    pipe: Pipe,
    reach: usize,
}

impl Transport for Line {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut bytes::BytesMut) -> Poll<io::Result<usize>> {
        self.pipe.poll_read(cx, input)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let all = chunks.iter().map(|chunk| chunk.len()).sum();
        if self.reach == usize::MAX {
            return self.pipe.poll_write(cx, chunks);
        }
        let chunk = chunks.iter().find(|chunk| !chunk.is_empty());
        let Some(heard) = chunk.and_then(|chunk| chunk.get(..self.reach.min(chunk.len()))) else {
            return Poll::Ready(Ok(0));
        };
        if heard.is_empty() {
            return Poll::Ready(Ok(all));
        }
        let written = self.pipe.poll_write(cx, &[io::IoSlice::new(heard)]);
        if let Poll::Ready(Ok(n)) = written {
            self.reach -= n;
        }
        written
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reach == 0 { Poll::Ready(Ok(())) } else { self.pipe.poll_shutdown(cx) }
    }
}
