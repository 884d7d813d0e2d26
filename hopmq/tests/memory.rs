//! The in-memory transport: bytes in order, backpressure, and both kinds of end.

#![allow(clippy::expect_used, clippy::panic)]

use std::io::{ErrorKind, IoSlice};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use hopmq::io::Transport;
use hopmq::memory::{Pipe, pipe};

fn write(end: &mut Pipe, chunks: &[&[u8]]) -> Poll<std::io::Result<usize>> {
    let slices: Vec<_> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
    end.poll_write(&mut Context::from_waker(Waker::noop()), &slices)
}

fn read(end: &mut Pipe, capacity: usize) -> Poll<Vec<u8>> {
    let mut input = BytesMut::with_capacity(capacity);
    match end.poll_read(&mut Context::from_waker(Waker::noop()), &mut input) {
        Poll::Ready(Ok(n)) => {
            assert_eq!(n, input.len());
            Poll::Ready(input.to_vec())
        }
        Poll::Ready(Err(error)) => panic!("{error}"),
        Poll::Pending => Poll::Pending,
    }
}

#[test]
fn bytes_arrive_in_order_and_no_more_than_fit() {
    let (mut a, mut b) = pipe();
    assert!(read(&mut b, 8).is_pending());
    assert!(matches!(write(&mut a, &[b"hello ", b"", b"world"]), Poll::Ready(Ok(11))));
    assert_eq!(read(&mut b, 4), Poll::Ready(b"hell".to_vec()));
    assert_eq!(read(&mut b, 64), Poll::Ready(b"o world".to_vec()));
    assert!(read(&mut b, 8).is_pending());
    assert!(matches!(write(&mut b, &[b"back"]), Poll::Ready(Ok(4))));
    assert_eq!(read(&mut a, 64), Poll::Ready(b"back".to_vec()));
}

#[test]
fn a_writer_waits_for_a_reader_that_does_not_read() {
    let (mut a, mut b) = pipe();
    let block = vec![7; 1 << 20];
    let Poll::Ready(Ok(taken)) = write(&mut a, &[&block]) else { panic!("an empty pipe takes something") };
    assert!(taken < block.len(), "the pipe has a bound");
    assert!(write(&mut a, &[&block]).is_pending());
    assert_eq!(read(&mut b, 100).map(|bytes| bytes.len()), Poll::Ready(100));
    assert!(matches!(write(&mut a, &[&block]), Poll::Ready(Ok(100))));
}

#[test]
fn a_shutdown_ends_one_direction_behind_what_was_written() {
    let (mut a, mut b) = pipe();
    assert!(matches!(write(&mut a, &[b"last"]), Poll::Ready(Ok(4))));
    assert!(a.poll_shutdown(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(read(&mut b, 64), Poll::Ready(b"last".to_vec()));
    assert_eq!(read(&mut b, 64), Poll::Ready(Vec::new()));
    assert!(matches!(write(&mut b, &[b"still"]), Poll::Ready(Ok(5))));
    assert_eq!(read(&mut a, 64), Poll::Ready(b"still".to_vec()));
}

#[test]
fn dropping_an_end_ends_both_directions() {
    let (a, mut b) = pipe();
    drop(a);
    assert_eq!(read(&mut b, 64), Poll::Ready(Vec::new()));
    assert!(
        matches!(write(&mut b, &[b"x"]), Poll::Ready(Err(error)) if error.kind() == ErrorKind::BrokenPipe)
    );
}
