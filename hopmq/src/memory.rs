//! A transport without a socket: two ends joined in memory.

use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, BytesMut};

use crate::io::Transport;

/// How many bytes one direction holds before its writer must wait.
const CAPACITY: usize = 256 * 1024;

/// One end of a pair made by [`pipe`]. Dropping it ends both directions.
#[derive(Debug)]
pub struct Pipe {
    incoming: Arc<Mutex<Half>>,
    outgoing: Arc<Mutex<Half>>,
}

#[derive(Debug, Default)]
struct Half {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Two ends of a stream: what is written to one is read from the other.
#[must_use]
pub fn pipe() -> (Pipe, Pipe) {
    let (a, b) = (Arc::new(Mutex::new(Half::default())), Arc::new(Mutex::new(Half::default())));
    (Pipe { incoming: a.clone(), outgoing: b.clone() }, Pipe { incoming: b, outgoing: a })
}

fn lock(half: &Mutex<Half>) -> MutexGuard<'_, Half> {
    half.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Transport for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut half = lock(&self.incoming);
        let room = input.capacity() - input.len();
        if half.bytes.is_empty() {
            if half.closed {
                return Poll::Ready(Ok(0));
            }
            let stale = half.reader.replace(cx.waker().clone());
            drop(half);
            drop(stale); // without the lock, as that may drop a task with this pipe in it
            return Poll::Pending;
        }
        let n = room.min(half.bytes.len());
        let (front, back) = half.bytes.as_slices();
        let from_front = n.min(front.len());
        input.put_slice(front.get(..from_front).unwrap_or_default());
        input.put_slice(back.get(..n - from_front).unwrap_or_default());
        half.bytes.drain(..n);
        let writer = half.writer.take();
        drop(half);
        wake(writer);
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut half = lock(&self.outgoing);
        if half.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut room = CAPACITY.saturating_sub(half.bytes.len());
        if room == 0 {
            let stale = half.writer.replace(cx.waker().clone());
            drop(half);
            drop(stale);
            return Poll::Pending;
        }
        let mut written = 0;
        for chunk in chunks {
            let n = room.min(chunk.len());
            half.bytes.extend(chunk.get(..n).unwrap_or_default());
            room -= n;
            written += n;
        }
        let reader = half.reader.take();
        drop(half);
        wake(reader);
        Poll::Ready(Ok(written))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        close(&self.outgoing);
        Poll::Ready(Ok(()))
    }
}

fn close(half: &Mutex<Half>) {
    let mut half = lock(half);
    half.closed = true;
    let (reader, writer) = (half.reader.take(), half.writer.take());
    drop(half);
    wake(reader);
    wake(writer);
}

impl Drop for Pipe {
    fn drop(&mut self) {
        close(&self.outgoing);
        close(&self.incoming);
    }
}
