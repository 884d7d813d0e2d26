use std::fmt;
use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Write};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use rustls::{Connection, IoState};

use crate::io::Transport;

/// How much to read from the transport at once: a whole record, and some.
const READ: usize = 32 * 1024;

/// TLS in a transport, on either side.
///
/// The handshake is part of the first read or write. Each does the other's work too where TLS needs it, so neither waits
/// for a call of the other. In each direction at most about 64 KiB are kept.
pub struct TlsStream<T> {
    tls: Connection,
    transport: T,
    /// Read from the transport, and not yet taken by TLS.
    incoming: BytesMut,
    /// The transport may hold back some of what was written.
    is_held_back: bool,
}

impl<T: Transport> TlsStream<T> {
    pub(super) fn new(tls: impl Into<Connection>, transport: T) -> Self {
        Self { tls: tls.into(), transport, incoming: BytesMut::new(), is_held_back: false }
    }

    /// Waits until both sides know each other, in place of the first read or write.
    pub(super) async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            ready!(self.poll_handshake(cx))?;
            self.poll_push(cx)
        })
        .await
    }

    /// Ready when this side knows the other.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.process(cx)?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let pushed = self.push(cx);
            match self.poll_pull(cx)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(_) => {} // it may say why nothing can be written
                Poll::Pending => {
                    return pushed.map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending);
                }
            }
        }
    }

    /// Brings more from the transport to TLS. 0 is the end of the stream.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.incoming.is_empty() {
            self.incoming.reserve(READ);
            if ready!(self.transport.poll_read(cx, &mut self.incoming))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
        let taken = self.tls.read_tls(&mut &self.incoming[..])?;
        self.incoming.advance(taken);
        Poll::Ready(Ok(taken))
    }

    /// Decrypts what TLS was brought. What has failed once fails for ever.
    fn process(&mut self, cx: &mut Context<'_>) -> io::Result<IoState> {
        let processed = self.tls.process_new_packets();
        processed.map_err(|error| {
            let _ = self.push(cx); // the alert that tells the peer, if there is a way to it
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }

    /// Copies what is decrypted, as far as there is room for it.
    fn copy_decrypted(&mut self, input: &mut BytesMut) {
        let mut reader = self.tls.reader();
        while let Ok(plaintext @ [_, ..]) = reader.fill_buf() {
            let n = plaintext.len().min(input.capacity() - input.len());
            if n == 0 {
                return;
            }
            input.put_slice(plaintext.get(..n).unwrap_or_default());
            reader.consume(n);
        }
    }

    /// Writes as much of what TLS has made as the transport takes now.
    fn push(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_push(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Writes what TLS has made. Ready when everything is written.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Sink { transport: &mut self.transport, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => self.is_held_back = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.is_held_back {
            ready!(self.transport.poll_flush(cx))?;
            self.is_held_back = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> Transport for TlsStream<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.tls.is_handshaking() {
            ready!(self.poll_handshake(cx))?;
        }
        let start = input.len();
        loop {
            let processed = self.process(cx);
            self.copy_decrypted(input);
            let read = input.len() - start;
            if read > 0 && (self.incoming.is_empty() || processed.is_err() || input.len() == input.capacity())
            {
                return Poll::Ready(Ok(read)); // an error comes again at the next call
            }
            if processed?.peer_has_closed() {
                return Poll::Ready(Ok(read));
            }
            if read == 0 {
                let _ = self.push(cx); // TLS may have to answer; whether that failed is for the next write to say
            }
            // A peer that leaves without TLS's goodbye has left all the same: AMQP has a goodbye of its own.
            if ready!(self.poll_pull(cx))? == 0 {
                return Poll::Ready(Ok(read));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(cx))?;
        ready!(self.poll_push(cx))?;
        let written = self.tls.writer().write_vectored(chunks)?;
        self.push(cx)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_push(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify(); // once, whatever the number of calls
        ready!(self.poll_push(cx))?;
        self.transport.poll_shutdown(cx)
    }
}

/// A transport, as TLS writes to it.
struct Sink<'a, 'b, T> {
    transport: &'a mut T,
    cx: &'a mut Context<'b>,
}

impl<T: Transport> Write for Sink<'_, '_, T> {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(chunk)])
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.transport.poll_write(self.cx, chunks) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: fmt::Debug> fmt::Debug for TlsStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("transport", &self.transport).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
