use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use hopmq_tokio::Endpoint;
use hopmq_tokio::io::{Dialer, Transport};

/// A dialer whose last transport can be cut.
#[derive(Debug, Clone)]
pub struct Cutting<D> {
    dialer: D,
    last: Arc<Mutex<Arc<Mutex<Wire>>>>,
}

#[derive(Debug, Default)]
struct Wire {
    cut: bool,
    reader: Option<Waker>,
}

impl<D> Cutting<D> {
    /// Dials with `dialer`.
    pub fn new(dialer: D) -> Self {
        Self { dialer, last: Arc::default() }
    }

    /// Breaks the transport that was dialled last.
    pub fn cut(&self) {
        let last = lock(&self.last).clone();
        let mut wire = lock(&last);
        wire.cut = true;
        let reader = wire.reader.take();
        drop(wire);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl<D: Dialer> Dialer for Cutting<D> {
    type Transport = Cut<D::Transport>;

    fn dial(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Cut<D::Transport>>> + Send {
        let dialled = self.dialer.dial(endpoint);
        let last = self.last.clone();
        async move {
            let (transport, wire) = (dialled.await?, Arc::new(Mutex::new(Wire::default())));
            *lock(&last) = wire.clone();
            Ok(Cut { transport, wire })
        }
    }
}

/// A transport that can be cut.
#[derive(Debug)]
pub struct Cut<T> {
    transport: T,
    wire: Arc<Mutex<Wire>>,
}

impl<T: Transport> Transport for Cut<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.wire);
        if wire.cut {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let stale = wire.reader.replace(cx.waker().clone());
        drop(wire);
        drop(stale);
        self.transport.poll_read(cx, input)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if lock(&self.wire).cut {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        self.transport.poll_write(cx, chunks)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(cx)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
