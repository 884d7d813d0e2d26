use std::future::{Future, ready};
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};

use hopmq_tokio::Endpoint;
use hopmq_tokio::io::{Dialer, Listener, Peer};
use hopmq_tokio::memory::{Pipe, pipe};
use tokio::sync::mpsc;

/// A network in memory: who dials at the first end, is accepted at the second.
#[must_use]
pub fn hall() -> (Porch, Hall) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Porch(sender), Hall(receiver))
}

/// Where clients come in.
#[derive(Debug, Clone)]
pub struct Porch(mpsc::UnboundedSender<Pipe>);

/// Where a broker takes them.
#[derive(Debug)]
pub struct Hall(mpsc::UnboundedReceiver<Pipe>);

impl Dialer for Porch {
    type Transport = Pipe;

    fn dial(&self, _: &Endpoint) -> impl Future<Output = io::Result<Pipe>> + Send {
        let (ours, theirs) = pipe();
        let sent = self.0.send(theirs);
        ready(sent.map(|()| ours).map_err(|_| ErrorKind::ConnectionRefused.into()))
    }
}

impl Listener for Hall {
    type Transport = Pipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Pipe, Peer)>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(pipe)) => {
                Poll::Ready(Ok((pipe, Peer { address: "hall".to_owned(), is_loopback: true })))
            }
            // All clients have gone; there is no other way in.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
