//! A driver that was not run for a while.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// When the engine's deadline is.
const DEADLINE: Instant = Instant::from_nanos(100);

type Log = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Default)]
struct Now(Arc<AtomicU64>);

impl Now {
    fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

impl Clock for Now {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

struct Alarm(Now);

impl Timer for Alarm {
    fn poll_until(&mut self, _cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline <= self.0.now() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// An engine that writes down what it is given. It has a deadline until that is over, and ends with its input.
struct Fake {
    log: Log,
    want: Want,
    /// To be written.
    outbox: Option<&'static [u8]>,
    has_deadline: bool,
}

impl Host for Fake {
    fn pass(&mut self, _waker: &Waker, input: Input<'_>, wire: &mut Outbox, now: Instant) -> Pass {
        let mut log = self.log.lock().unwrap();
        match input {
            Input::Bytes(bytes) if bytes.is_empty() => {}
            Input::Bytes(bytes) => {
                assert_ne!(self.want, Want::Shutdown, "it has ended");
                log.push(String::from_utf8(bytes.to_vec()).unwrap());
                bytes.clear();
            }
            Input::Eof | Input::Failed(_) => {
                log.push("the end".to_owned());
                self.want = Want::Shutdown;
            }
        }
        if let Some(bytes) = self.outbox.take() {
            wire.link(bytes::Bytes::from_static(bytes));
        }
        if self.has_deadline && now >= DEADLINE {
            log.push("too late".to_owned());
            self.has_deadline = false;
        }
        let deadline = (self.has_deadline && self.want != Want::Shutdown).then_some(DEADLINE);
        Pass { want: self.want, deadline }
    }

    fn ended(&mut self, _now: Instant) {}
}

/// What can be read, one piece at a time, and whether that is all there will ever be.
#[derive(Default)]
struct Script {
    pieces: VecDeque<&'static [u8]>,
    ends: bool,
    takes_nothing: bool,
}

impl Transport for Script {
    fn poll_read(&mut self, _cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self.pieces.pop_front() {
            Some(bytes) => {
                input.extend_from_slice(bytes);
                Poll::Ready(Ok(bytes.len()))
            }
            None if self.ends => Poll::Ready(Ok(0)),
            None => Poll::Pending,
        }
    }

    fn poll_write(&mut self, _cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.takes_nothing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Poll::Ready(Ok(chunks.iter().map(|chunk| chunk.len()).sum()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Test {
    driver: Driver<Fake, Script, Alarm, Now>,
    log: Log,
    now: Now,
}

impl Test {
    fn new(want: Want, has_deadline: bool, outbox: Option<&'static [u8]>, script: Script) -> Self {
        let (log, now) = (Log::default(), Now::default());
        let host = Fake { log: log.clone(), want, outbox, has_deadline };
        Self { driver: Driver::new(host, script, Alarm(now.clone()), now.clone()), log, now }
    }

    /// Runs it once, and returns what the engine was given.
    fn run(&mut self, now: u64) -> Vec<String> {
        self.now.set(now);
        let _ = Pin::new(&mut self.driver).poll(&mut Context::from_waker(Waker::noop()));
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

#[test]
fn all_that_came_before_a_deadline_is_read_first() {
    let mut test = Test::new(Want::ReadWrite, true, None, Script::default());
    assert!(test.run(0).is_empty());
    test.driver.transport.pieces.extend([&b"a delivery, "[..], &b"the answer"[..]]);
    assert_eq!(test.run(200), ["a delivery, the answer", "too late"]);
}

#[test]
fn an_owner_that_does_not_want_to_be_read_is_not() {
    let mut test = Test::new(Want::Write, true, None, Script::default());
    assert!(test.run(0).is_empty());
    test.driver.transport.pieces.push_back(b"more");
    assert_eq!(test.run(200), ["too late"]);
}

/// The last read of a poll that has used up its passes is not with the engine yet.
#[test]
fn an_end_that_is_read_first_hides_nothing() {
    let pieces = std::iter::repeat_n(&b"x"[..], PASSES).collect();
    let mut test = Test::new(Want::ReadWrite, true, None, Script { pieces, ends: true, ..Script::default() });
    assert_eq!(test.run(0), ["x"; PASSES - 1]);
    assert_eq!(test.run(200), ["x", "too late", "the end"]);
}

#[test]
fn last_words_that_came_while_nothing_ran_are_heard() {
    for has_deadline in [false, true] {
        let script = Script { takes_nothing: true, ..Script::default() };
        let mut test = Test::new(Want::ReadWrite, has_deadline, Some(b"hello"), script);
        assert!(test.run(0).is_empty());
        assert!(test.driver.mute.is_some());
        test.driver.transport.pieces.push_back(b"go away");
        let mut heard = test.run(2_000_000_000);
        heard.retain(|what| what != "too late");
        assert_eq!(heard, ["go away", "the end"]);
    }
}
