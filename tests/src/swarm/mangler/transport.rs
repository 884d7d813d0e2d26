//! The mangler, around another transport.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, BytesMut};
use hopmq_sim::io::{Dialer, Transport};
use hopmq_sim::{Endpoint, Random, Stream};

use super::super::client::{Client, Shared};
use super::super::phase::Phase;
use super::Habits;
use super::confirms::Confirms;
use super::frames::{
    CONNECTION_BLOCKED, CONNECTION_CLOSE, CONNECTION_CLOSE_OK, CONNECTION_OPEN_OK, CONNECTION_UNBLOCKED,
    Frame, interleave, take,
};

/// How much is held of what is written.
const HELD_AT_MOST: usize = 64 * 1024;
const READ_AT_ONCE: usize = 16 * 1024;

/// Dials from a host, and mangles what goes there and back.
pub(in crate::swarm) struct MangledDialer {
    client: Arc<Client>,
    habits: Habits,
    random: Mutex<Random>,
}

impl MangledDialer {
    pub(in crate::swarm) fn new(client: Arc<Client>, habits: Habits) -> Self {
        let random = Mutex::new(client.random());
        Self { client, habits, random }
    }
}

impl Dialer for MangledDialer {
    type Transport = Mangled;

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Mangled> {
        let inner = Dialer::dial(&self.client.host, endpoint).await?;
        let seed = self.random.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        Ok(Mangled::new(inner, self.client.shared.clone(), self.habits, Random::new(seed)))
    }
}

/// What the server is made to seem to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// The handshake is not over.
    New,
    Open,
    /// It takes no publishes for so many frames.
    Blocked(u64),
    /// It closes the connection, and says nothing more.
    Closing,
    /// Both have said that it is closed.
    Closed,
}

/// A transport whose frames are rearranged.
pub(in crate::swarm) struct Mangled {
    inner: Stream,
    shared: Arc<Shared>,
    habits: Habits,
    random: Random,
    server: Server,
    confirms: Confirms,
    /// From the server: what has come, and what can be read of it.
    came: BytesMut,
    ready: BytesMut,
    is_at_end: bool,
    reader: Option<Waker>,
    /// To the server: what was written, and what of that is to be sent.
    written: BytesMut,
    out: BytesMut,
}

impl Mangled {
    fn new(inner: Stream, shared: Arc<Shared>, habits: Habits, random: Random) -> Self {
        Self {
            inner,
            shared,
            habits,
            random,
            server: Server::New,
            confirms: Confirms::default(),
            came: BytesMut::new(),
            ready: BytesMut::new(),
            is_at_end: false,
            reader: None,
            written: BytesMut::new(),
            out: BytesMut::new(),
        }
    }

    /// Some bytes, or a few only.
    fn portion(&mut self, most: usize) -> usize {
        if self.habits.tiny { most.min(self.random.between(1, 9) as usize) } else { most }
    }

    /// Rearranged as far as both directions are alike.
    fn write_all(&mut self, mut frames: Vec<Frame>, to_server: bool) {
        let Self { habits, random, .. } = self;
        if habits.interleaves {
            frames = interleave(frames, random);
        }
        let is_open = self.server != Server::New;
        let mut bytes = std::mem::take(if to_server { &mut self.out } else { &mut self.ready });
        for frame in frames {
            let (first, second) =
                if random.percent(habits.splits) { frame.split(random) } else { (None, frame) };
            for piece in first.into_iter().chain([second]) {
                if is_open && random.percent(habits.heartbeats) {
                    Frame::heartbeat().write(&mut bytes);
                }
                piece.write(&mut bytes);
            }
        }
        *(if to_server { &mut self.out } else { &mut self.ready }) = bytes;
    }

    // From the server.

    fn on_input(&mut self) {
        let mut header = BytesMut::new();
        let mut frames = take(&mut self.came, &mut header);
        self.ready.unsplit(header);
        if matches!(self.server, Server::Closing | Server::Closed) {
            return;
        }
        if self.habits.confirms {
            frames = self.confirms.mangle(frames, &mut self.random);
        }
        let mut seem = Vec::with_capacity(frames.len());
        for frame in frames {
            let id = frame.id();
            if id == Some(CONNECTION_CLOSE) || id == Some(CONNECTION_CLOSE_OK) {
                // It does so itself; let it.
                self.habits = Habits { closes: 0, blocks: 0, ..self.habits };
            }
            seem.push(frame);
            if self.server == Server::New && id == Some(CONNECTION_OPEN_OK) {
                self.server = Server::Open;
                continue;
            }
            self.seem(&mut seem);
            if self.server == Server::Closing {
                break;
            }
        }
        self.write_all(seem, false);
    }

    /// What the server might say, too.
    fn seem(&mut self, frames: &mut Vec<Frame>) {
        let is_calm = self.shared.phases.now() > Phase::Trouble;
        match self.server {
            Server::Open if is_calm => {}
            Server::Open if self.random.percent(self.habits.blocks) => {
                self.shared.ledger.count(|tally| tally.blocked += 1);
                frames.push(Frame::method(0, CONNECTION_BLOCKED, b"\x03low"));
                self.server = Server::Blocked(self.random.between(1, 3));
            }
            Server::Blocked(0) => {
                frames.push(Frame::method(0, CONNECTION_UNBLOCKED, b""));
                self.server = Server::Open;
            }
            Server::Blocked(left) => self.server = Server::Blocked(left - 1),
            Server::Open if self.random.percent(self.habits.closes) => {
                self.shared.ledger.count(|tally| tally.forced += 1);
                // 320, CONNECTION_FORCED, for no method.
                frames.push(Frame::method(0, CONNECTION_CLOSE, b"\x01\x40\x06forced\x00\x00\x00\x00"));
                self.server = Server::Closing;
            }
            _ => {}
        }
    }

    // To the server.

    fn on_output(&mut self) {
        let mut header = BytesMut::new();
        let frames = take(&mut self.written, &mut header);
        self.out.unsplit(header);
        if self.server == Server::Closing {
            self.close(&frames);
        } else if self.server != Server::Closed {
            if frames.iter().any(|frame| frame.id() == Some(CONNECTION_CLOSE)) && self.random.percent(50) {
                self.habits.closes = 100; // the two closes cross, when anything more comes
            }
            self.write_all(frames, true);
        }
    }

    /// A server that closes listens for nothing else.
    fn close(&mut self, frames: &[Frame]) {
        for frame in frames {
            if frame.id() == Some(CONNECTION_CLOSE) {
                Frame::method(0, CONNECTION_CLOSE_OK, b"").write(&mut self.ready);
            } else if frame.id() == Some(CONNECTION_CLOSE_OK) {
                self.server = Server::Closed;
                self.is_at_end = true;
                self.out.clear();
            } else {
                continue;
            }
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }

    /// Sends what there is to send, as far as it can be.
    fn pump(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let count = self.portion(self.out.len());
            match self.inner.poll_write(cx, &[IoSlice::new(&self.out[..count])]) {
                Poll::Ready(Ok(count)) => drop(self.out.split_to(count)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for Mangled {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            if !self.ready.is_empty() {
                let count = self.portion(self.ready.len().min(input.capacity() - input.len()));
                input.put_slice(&self.ready.split_to(count));
                return Poll::Ready(Ok(count));
            }
            if self.is_at_end {
                return Poll::Ready(Ok(0));
            }
            self.came.reserve(READ_AT_ONCE);
            match self.inner.poll_read(cx, &mut self.came) {
                Poll::Ready(Ok(0)) => self.is_at_end = true,
                Poll::Ready(Ok(_)) => self.on_input(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.out.len() > HELD_AT_MOST {
            match self.pump(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let before = self.written.len();
        chunks.iter().for_each(|chunk| self.written.put_slice(chunk));
        let count = self.written.len() - before;
        self.on_output();
        match self.pump(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pump(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.pump(cx) {
            Poll::Ready(Ok(())) => self.inner.poll_shutdown(cx),
            other => other,
        }
    }
}
