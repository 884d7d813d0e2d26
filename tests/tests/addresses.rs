//! Which of a name's addresses is connected to, in a time that passes without being waited for.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use hopmq_tokio::Tokio;
use hopmq_tokio::io::open_first;
use tokio::time::{Instant, sleep};

/// What an address does: it is open, or fails, after so many milliseconds.
#[derive(Debug, Clone, Copy)]
enum Address {
    Opens(u64),
    Fails(u64, io::ErrorKind),
    Silent,
}

use Address::{Fails, Opens, Silent};

/// Opens the first of them: which one, after how many milliseconds, and when each was tried.
fn open(addresses: &[Address]) -> (Result<usize, io::ErrorKind>, u64, Vec<(usize, u64)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let start = Instant::now();
        let since = || u64::try_from(start.elapsed().as_millis()).unwrap();
        let tried = RefCell::new(Vec::new());
        let here = Tokio::current();
        let opened = open_first(&here, addresses.iter().copied().enumerate(), |(n, address)| {
            tried.borrow_mut().push((n, since()));
            async move {
                match address {
                    Opens(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Ok(n)
                    }
                    Fails(after, kind) => {
                        sleep(Duration::from_millis(after)).await;
                        Err(kind.into())
                    }
                    Silent => std::future::pending().await,
                }
            }
        });
        let opened = opened.await.map_err(|error| error.kind());
        (opened, since(), tried.into_inner())
    })
}

#[test]
fn the_first_that_answers_is_taken() {
    assert_eq!(open(&[Opens(10), Opens(0)]), (Ok(0), 10, vec![(0, 0)]));
}

#[test]
fn after_a_failure_the_next_is_tried_at_once() {
    let refused = Fails(5, io::ErrorKind::ConnectionRefused);
    assert_eq!(open(&[refused, refused, Opens(1)]), (Ok(2), 11, vec![(0, 0), (1, 5), (2, 10)]));
}

#[test]
fn a_silent_one_does_not_take_the_time_of_the_others() {
    assert_eq!(open(&[Silent, Silent, Opens(10)]), (Ok(2), 510, vec![(0, 0), (1, 250), (2, 500)]));
    // A slow one may still win.
    assert_eq!(open(&[Opens(300), Opens(100)]), (Ok(0), 300, vec![(0, 0), (1, 250)]));
    assert_eq!(open(&[Opens(400), Opens(100)]), (Ok(1), 350, vec![(0, 0), (1, 250)]));
}

#[test]
fn when_none_is_left_the_last_failure_is_told() {
    let (refused, reset) = (io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset);
    assert_eq!(open(&[Fails(1, refused), Fails(1, reset)]), (Err(reset), 2, vec![(0, 0), (1, 1)]));
    assert_eq!(open(&[Fails(300, reset), Fails(1, refused)]), (Err(reset), 300, vec![(0, 0), (1, 250)]));
    assert_eq!(open(&[]), (Err(io::ErrorKind::NotFound), 0, vec![]));
}
