use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::io::{Clock, Runtime, Timer};

/// How long an address may take before the next one is tried beside it (RFC 8305, section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// Opens a stream to one of the addresses that a name has: for [`Dialer`](crate::io::Dialer)s.
///
/// They are tried in order: the next one at once when one has failed, and beside it when it has been silent for 250 ms, so
/// that an address that swallows everything does not take the time of the others. The first one that is open counts,
/// and the rest is dropped (RFC 8305, "happy eyeballs"). It has no deadline of its own.
///
/// # Errors
///
/// What the last one said that failed, when none is left; `NotFound` when there is none.
pub async fn open_first<R, A, F, T>(
    runtime: &R,
    addresses: impl IntoIterator<Item = A>,
    open: impl Fn(A) -> F,
) -> io::Result<T>
where
    R: Runtime,
    F: Future<Output = io::Result<T>>,
{
    let (clock, mut timer) = (runtime.clock(), runtime.timer());
    let mut addresses = addresses.into_iter().fuse();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut next_at = clock.now();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    poll_fn(|cx| {
        loop {
            let mut opened = None;
            // All of them, whoever was woken: a runtime of one connection need not tell its futures apart.
            running.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(stream)) => {
                    opened.get_or_insert(stream);
                    false
                }
                Poll::Ready(Err(error)) => {
                    failed = error;
                    next_at = clock.now();
                    false
                }
            });
            if let Some(stream) = opened {
                return Poll::Ready(Ok(stream));
            }
            if timer.poll_until(cx, next_at).is_pending() {
                return Poll::Pending;
            }
            match addresses.next() {
                Some(address) => {
                    running.push(Box::pin(open(address)));
                    next_at = clock.now() + HEAD_START;
                }
                None if running.is_empty() => {
                    let none = io::Error::from(io::ErrorKind::NotFound);
                    return Poll::Ready(Err(std::mem::replace(&mut failed, none)));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}
