//! TLS over transports that take and give as little as they like, when they like.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use proptest::collection::vec;
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion, crypto::ring, version,
};

use super::*;
use crate::memory::{Pipe, pipe};
use crate::tls::client::TlsClient;
use crate::tls::{Pem, TlsError, TlsOptions};

/// What a direction of a transport does next, over and over.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Carries at most so many bytes.
    Bytes(usize),
    /// Is not ready until nothing else can happen.
    Stall,
    /// Ends here: a reader reads the end, a writer is told that nobody reads.
    Cut,
}

#[derive(Debug)]
struct Direction {
    steps: VecDeque<Step>,
    repeats: bool,
    waker: Option<Waker>,
}

impl Direction {
    /// The step to take, unless it is a stall.
    fn poll_step(&mut self, cx: &Context<'_>) -> Poll<Step> {
        match self.steps.front() {
            None => Poll::Ready(Step::Bytes(usize::MAX)),
            Some(Step::Stall) => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(step) => Poll::Ready(*step),
        }
    }

    fn done(&mut self) {
        if let Some(step) = self.steps.pop_front()
            && self.repeats
        {
            self.steps.push_back(step);
        }
    }

    /// Ends the stall that somebody waits for, if somebody does.
    fn resume(&mut self) -> bool {
        let Some(waker) = self.waker.take() else { return false };
        self.done();
        waker.wake();
        true
    }
}

type Shared = Arc<Mutex<Direction>>;

fn direction(steps: impl IntoIterator<Item = Step>, repeats: bool) -> Shared {
    Arc::new(Mutex::new(Direction { steps: steps.into_iter().collect(), repeats, waker: None }))
}

/// A pipe whose directions follow their steps, and that may hold back what is written until it is flushed.
#[derive(Debug)]
struct Choppy {
    pipe: Pipe,
    reads: Shared,
    writes: Shared,
    held_back: BytesMut,
    holds_back: usize,
}

impl Choppy {
    fn new(pipe: Pipe, reads: &Shared, writes: &Shared) -> Self {
        let (reads, writes) = (reads.clone(), writes.clone());
        Self { pipe, reads, writes, held_back: BytesMut::new(), holds_back: 0 }
    }

    fn plain(pipe: Pipe) -> Self {
        Self::new(pipe, &direction([], false), &direction([], false))
    }

    fn poll_pass_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held_back.is_empty() {
            let mut writes = self.writes.lock().unwrap();
            let limit = match ready!(writes.poll_step(cx)) {
                Step::Bytes(limit) => limit.min(self.held_back.len()),
                _ => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
            let n = ready!(self.pipe.poll_write(cx, &[IoSlice::new(&self.held_back[..limit])]))?;
            writes.done();
            self.held_back.advance(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for Choppy {
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut reads = self.reads.lock().unwrap();
        let Step::Bytes(limit) = ready!(reads.poll_step(cx)) else { return Poll::Ready(Ok(0)) };
        let mut some = BytesMut::with_capacity(limit.min(input.capacity() - input.len()));
        let n = ready!(self.pipe.poll_read(cx, &mut some))?;
        reads.done();
        input.put_slice(&some);
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, chunks: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.held_back.len() > self.holds_back {
            ready!(self.poll_pass_on(cx))?;
        }
        let chunk = chunks.iter().find(|chunk| !chunk.is_empty()).expect("something to write");
        if self.holds_back > 0 {
            self.held_back.put_slice(chunk);
            return Poll::Ready(Ok(chunk.len()));
        }
        let mut writes = self.writes.lock().unwrap();
        let Step::Bytes(limit) = ready!(writes.poll_step(cx)) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let n = ready!(self.pipe.poll_write(cx, &[IoSlice::new(&chunk[..limit.min(chunk.len())])]))?;
        writes.done();
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_pass_on(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pass_on(cx))?;
        self.pipe.poll_shutdown(cx)
    }
}

/// Whether a task has been woken.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls only who was woken, and resumes a stalled direction only when nobody was. Panics when that leaves a future
/// that nobody will wake, or when one wakes itself for ever.
fn run<A: Future, B: Future>(a: A, b: B, stalls: &[&Shared]) -> (A::Output, B::Output) {
    fn poll<F: Future>(future: Pin<&mut F>, woken: &Arc<Woken>, output: &mut Option<F::Output>) -> bool {
        let is_due = output.is_none() && woken.0.swap(false, Ordering::Relaxed);
        if is_due && let Poll::Ready(done) = future.poll(&mut Context::from_waker(&woken.clone().into())) {
            *output = Some(done);
        }
        is_due
    }

    let (mut a, mut b) = (pin!(a), pin!(b));
    let (a_woken, b_woken) = (Arc::new(Woken(true.into())), Arc::new(Woken(true.into())));
    let (mut a_done, mut b_done) = (None, None);
    for _ in 0..2_000_000 {
        let polled = poll(a.as_mut(), &a_woken, &mut a_done) | poll(b.as_mut(), &b_woken, &mut b_done);
        (a_done, b_done) = match (a_done, b_done) {
            (Some(a), Some(b)) => return (a, b),
            not_both => not_both,
        };
        assert!(
            polled || stalls.iter().any(|stall| stall.lock().unwrap().resume()),
            "nobody wakes them: {} {}",
            a_done.is_some(),
            b_done.is_some()
        );
    }
    panic!("a busy loop");
}

/// What a side does with its stream.
#[derive(Debug, Clone)]
struct Job {
    payload: Vec<u8>,
    /// Into how large pieces the payload is cut.
    chunk: usize,
    /// Reads nothing before everything is written.
    writes_first: bool,
}

/// What came of it.
#[derive(Debug)]
struct Done {
    received: Vec<u8>,
    written: Option<io::Error>,
    read: Option<io::Error>,
}

/// Writes the payload, ends the own direction, and reads to the end.
async fn work<T: Transport>(stream: &mut T, job: &Job) -> Done {
    let (mut sent, mut flushed, mut shut, mut ended) = (0, false, false, false);
    let mut done = Done { received: Vec::new(), written: None, read: None };
    let mut input = BytesMut::new();
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            let writing = if sent < job.payload.len() {
                let rest = job.payload[sent..].chunks(job.chunk).map(IoSlice::new).collect::<Vec<_>>();
                stream.poll_write(cx, &rest).map_ok(|n| sent += n)
            } else if !flushed {
                stream.poll_flush(cx).map_ok(|()| flushed = true)
            } else if !shut {
                stream.poll_shutdown(cx).map_ok(|()| shut = true)
            } else {
                Poll::Pending
            };
            if let Poll::Ready(wrote) = writing {
                moved = true;
                if let Err(error) = wrote {
                    (sent, flushed, shut) = (job.payload.len(), true, true);
                    done.written = Some(error);
                }
            }
            if !ended && (shut || !job.writes_first) {
                input.reserve(1000);
                match stream.poll_read(cx, &mut input) {
                    Poll::Pending => {}
                    Poll::Ready(read) => {
                        moved = true;
                        ended = !matches!(read, Ok(1..));
                        done.received.extend(input.split());
                        done.read = read.err();
                    }
                }
            }
            let is_mute = done.written.is_some(); // then only what is there already is read
            if shut && (ended || is_mute && !moved) {
                return Poll::Ready(());
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await;
    done
}

struct Certificates {
    server: Arc<ServerConfig>,
    client: TlsClient,
}

/// A certificate for this host and authority, and its key.
fn self_signed(name: &str) -> (Pem, Pem) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (Pem::Text(certificate.pem().into()), Pem::Text(key.serialize_pem().into()))
}

/// A server that proves to be `localhost`, and a client that trusts it, if it does.
fn certificates(versions: &[&'static SupportedProtocolVersion], is_trusted: bool) -> Certificates {
    let (certificate, key) = self_signed("localhost");
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
    let server = builder.with_single_cert(certificate.certificates().unwrap(), key.key().unwrap()).unwrap();
    let ca = if is_trusted { certificate } else { self_signed("other").0 };
    Certificates { server: Arc::new(server), client: TlsOptions::new().ca(ca).client("localhost").unwrap() }
}

const BOTH: [&[&SupportedProtocolVersion]; 2] = [&[&version::TLS13], &[&version::TLS12]];

impl Certificates {
    fn serve<T: Transport>(&self, transport: T) -> TlsStream<T> {
        TlsStream::new(ServerConnection::new(self.server.clone()).unwrap(), transport)
    }

    /// Both ends, which know each other.
    fn connected(&self) -> (TlsStream<Choppy>, TlsStream<Choppy>) {
        let (ours, theirs) = pipe();
        let mut server = self.serve(Choppy::plain(theirs));
        let (client, shaken) = run(self.client.connect(Choppy::plain(ours)), server.handshake(), &[]);
        shaken.unwrap();
        (client.unwrap(), server)
    }
}

fn payload(size: usize) -> Vec<u8> {
    (0..251).cycle().take(size).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![Just(1_usize), 2..20_usize, 100..40_000_usize];
    let step = prop_oneof![3 => bytes.clone().prop_map(Step::Bytes), 1 => Just(Step::Stall)];
    (bytes, vec(step, 0..6)).prop_map(|(first, rest)| [Step::Bytes(first)].into_iter().chain(rest).collect())
}

fn job() -> impl Strategy<Value = Job> {
    let size = prop_oneof![1..100_usize, 1000..100_000_usize]; // a shutdown before the handshake is none
    let chunk = prop_oneof![1..100_usize, Just(1 << 20)];
    (size, chunk, any::<bool>()).prop_map(|(size, chunk, writes_first)| Job {
        payload: payload(size),
        chunk,
        writes_first,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Everything arrives and both sides see a clean end, however the transports stall, split and hold back; and no side
    /// needs to be woken by anything but what it waits for.
    #[test]
    fn everything_arrives(
        mut jobs in (job(), job()),
        steps in [steps(), steps(), steps(), steps()],
        holds_back in (0..3_usize, 0..3_usize),
        version in 0..2_usize,
        shakes_first in any::<bool>(),
    ) {
        jobs.1.writes_first &= !jobs.0.writes_first; // or they would wait for each other, as over TCP
        let both = certificates(BOTH[version], true);
        let (ours, theirs) = pipe();
        let [a, b, c, d] = &steps.map(|steps| direction(steps, true));
        let (mut ours, mut theirs) = (Choppy::new(ours, a, b), Choppy::new(theirs, c, d));
        (ours.holds_back, theirs.holds_back) = (holds_back.0 * 100, holds_back.1 * 100);
        let client = async {
            let mut stream = if shakes_first {
                both.client.connect(ours).await.unwrap()
            } else {
                both.client.start(ours).unwrap()
            };
            work(&mut stream, &jobs.0).await
        };
        let mut server = both.serve(theirs);
        let (client, server) = run(client, work(&mut server, &jobs.1), &[a, b, c, d]);
        for (got, sent) in [(client, &jobs.1), (server, &jobs.0)] {
            prop_assert!(got.written.is_none() && got.read.is_none(), "{:?} {:?}", got.written, got.read);
            prop_assert!(got.received == sent.payload);
        }
    }
}

/// Runs both sides with one of the four directions as given, and tells whether the last of its steps was reached.
fn with_one(both: &Certificates, which: usize, steps: &[Step]) -> ((Result<Done, TlsError>, Done), bool) {
    let mut directions = [(); 4].map(|()| direction([], false));
    directions[which] = direction(steps.iter().copied(), false);
    let [a, b, c, d] = &directions;
    let (ours, theirs) = pipe();
    let job = Job { payload: payload(100), chunk: 60, writes_first: false };
    let client = async {
        let mut stream = both.client.connect(Choppy::new(ours, a, b)).await?;
        Ok(work(&mut stream, &job).await)
    };
    let server = async {
        let mut stream = both.serve(Choppy::new(theirs, c, d));
        work(&mut stream, &job).await
    };
    let done = run(client, server, &[a, b, c, d]);
    let left = directions[which].lock().unwrap().steps.len();
    (done, left <= usize::from(matches!(steps.last(), Some(Step::Cut))))
}

/// So many single bytes, and then this.
fn after(bytes: usize, last: Step) -> Vec<Step> {
    (0..bytes).map(|_| Step::Bytes(1)).chain([last]).collect()
}

#[test]
fn a_stall_at_each_boundary() {
    let both = certificates(BOTH[0], true);
    for which in 0..4 {
        for bytes in 0.. {
            let ((client, server), has_stalled) = with_one(&both, which, &after(bytes, Step::Stall));
            for got in [client.unwrap(), server] {
                assert!(got.written.is_none() && got.read.is_none(), "{which} {bytes}: {got:?}");
                assert!(got.received == payload(100), "{which} {bytes}");
            }
            if !has_stalled {
                assert!(bytes > 300, "the stream was followed to its end");
                break;
            }
        }
    }
}

/// The end comes in time and what came before it is whole: an error, or what was sent up to somewhere.
#[test]
fn a_cut_at_each_boundary() {
    let both = certificates(BOTH[0], true);
    for which in 0..4 {
        for bytes in 0.. {
            let ((client, server), is_cut) = with_one(&both, which, &after(bytes, Step::Cut));
            match client {
                Ok(client) => assert!(payload(100).starts_with(&client.received), "{which} {bytes}"),
                Err(TlsError::Handshake(_)) => {}
                Err(error) => panic!("{which} {bytes}: {error:?}"),
            }
            assert!(payload(100).starts_with(&server.received), "{which} {bytes}");
            if !is_cut {
                assert!(bytes > 300, "the stream was followed to its end");
                break;
            }
        }
    }
}

fn read<T: Transport>(stream: &mut T) -> Poll<io::Result<Vec<u8>>> {
    let mut input = BytesMut::with_capacity(1000);
    let read = stream.poll_read(&mut Context::from_waker(Waker::noop()), &mut input);
    read.map_ok(|_| input.to_vec())
}

fn write<T: Transport>(stream: &mut T, text: &[u8]) -> Poll<io::Result<usize>> {
    stream.poll_write(&mut Context::from_waker(Waker::noop()), &[IoSlice::new(text)])
}

fn rustls_error(error: &io::Error) -> &rustls::Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("{error:?}"))
}

/// Each direction ends on its own, by TLS's goodbye and not by the transport's.
#[test]
fn half_closed() {
    for version in BOTH {
        let (mut client, mut server) = certificates(version, true).connected();
        assert!(matches!(write(&mut client, b"last"), Poll::Ready(Ok(4))));
        client.tls.send_close_notify();
        assert!(client.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(read(&mut server).map(Result::unwrap), Poll::Ready(b"last".to_vec()));
        for _ in 0..2 {
            assert_eq!(read(&mut server).map(Result::unwrap), Poll::Ready(Vec::new()));
        }
        assert!(matches!(write(&mut server, b"still"), Poll::Ready(Ok(5))));
        assert_eq!(read(&mut client).map(Result::unwrap), Poll::Ready(b"still".to_vec()));
        assert!(read(&mut client).is_pending());
        drop(server);
        assert_eq!(read(&mut client).map(Result::unwrap), Poll::Ready(Vec::new()));
    }
}

#[test]
fn who_is_not_trusted_is_told() {
    for version in BOTH {
        let both = certificates(version, false);
        let (ours, theirs) = pipe();
        let mut server = both.serve(Choppy::plain(theirs));
        let (client, shaken) = run(both.client.connect(Choppy::plain(ours)), server.handshake(), &[]);
        assert!(matches!(client, Err(TlsError::Verify { .. })), "{client:?}");
        let shaken = shaken.unwrap_err();
        let alert = rustls::AlertDescription::UnknownCA;
        assert_eq!(*rustls_error(&shaken), rustls::Error::AlertReceived(alert));
    }
}

#[test]
fn who_does_not_speak_tls_is_told() {
    let both = certificates(BOTH[0], true);
    let (mut ours, theirs) = pipe();
    let mut server = both.serve(Choppy::plain(theirs));
    assert!(matches!(write(&mut ours, b"AMQP\0\0\x09\x01"), Poll::Ready(Ok(8))));
    assert!(matches!(read(&mut server), Poll::Ready(Err(_))));
    let Poll::Ready(Ok(alert)) = read(&mut ours) else { panic!("nothing") };
    assert_eq!((alert.len(), &alert[..2], &alert[3..6]), (7, &b"\x15\x03"[..], &b"\0\x02\x02"[..]));
    assert!(matches!(write(&mut server, b"more"), Poll::Ready(Err(_))), "it stays so");
}

/// In TLS 1.3 a client is through before the server has seen its certificate. What the server says then is read though
/// nothing can be written any more, and the end is waited for.
#[test]
fn why_a_peer_is_gone() {
    let mut both = certificates(BOTH[0], true);
    let mut roots = RootCertStore::empty();
    roots.add(self_signed("ca").0.certificates().unwrap().remove(0)).unwrap();
    let provider = Arc::new(ring::default_provider());
    let asks = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let (certificate, key) = self_signed("localhost");
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let server = builder
        .unwrap()
        .with_client_cert_verifier(asks)
        .with_single_cert(certificate.certificates().unwrap(), key.key().unwrap());
    both.server = Arc::new(server.unwrap());
    both.client = TlsOptions::new().ca(certificate).client("localhost").unwrap();

    let (ours, theirs) = pipe();
    let client = both.client.connect(Choppy::plain(ours));
    let (client, shaken) = run(client, async { both.serve(theirs).handshake().await }, &[]);
    assert!(shaken.is_err());
    let mut client = client.unwrap();
    assert!(matches!(write(&mut client, b"AMQP"), Poll::Ready(Err(_))), "it is gone");
    let Poll::Ready(Err(error)) = read(&mut client) else { panic!("it has said nothing") };
    let alert = rustls::AlertDescription::CertificateRequired;
    assert_eq!(*rustls_error(&error), rustls::Error::AlertReceived(alert));
}

#[test]
fn what_a_peer_said_before_it_went() {
    let (mut client, mut server) = certificates(BOTH[0], true).connected();
    let cut = direction([Step::Cut], true);
    client.transport.writes = cut;
    assert!(matches!(write(&mut client, b"too late"), Poll::Ready(Err(_))));
    assert!(read(&mut client).is_pending(), "it may still come");
    assert!(matches!(write(&mut server, b"last words"), Poll::Ready(Ok(10))));
    drop(server);
    for words in [&b"last words"[..], b""] {
        assert_eq!(read(&mut client).map(Result::unwrap), Poll::Ready(words.to_vec()));
    }
}

#[test]
fn what_came_before_an_error_is_read_first() {
    let (mut client, mut server) = certificates(BOTH[0], true).connected();
    for _ in 0..2 {
        assert!(matches!(write(&mut server, b"good"), Poll::Ready(Ok(4))));
    }
    assert!(matches!(write(&mut server.transport, b"\x17\x03\x03\0\x20 no such record"), Poll::Ready(Ok(_))));
    assert!(matches!(write(&mut server.transport, &[b' '; 32]), Poll::Ready(Ok(32))));
    assert_eq!(read(&mut client).map(Result::unwrap), Poll::Ready(b"goodgood".to_vec()));
    for _ in 0..2 {
        let Poll::Ready(Err(error)) = read(&mut client) else { panic!("it waits for more") };
        assert_eq!(*rustls_error(&error), rustls::Error::DecryptError);
    }
    let Poll::Ready(Err(error)) = read(&mut server) else { panic!("the server is not told") };
    let alert = rustls::AlertDescription::BadRecordMac;
    assert_eq!(*rustls_error(&error), rustls::Error::AlertReceived(alert));
}

/// A peer that does not read: what is kept for it has a bound.
#[test]
fn a_full_transport() {
    let both = certificates(BOTH[0], true);
    let (mut client, mut server) = both.connected();
    let block = payload(1 << 20);
    let mut sent: Vec<u8> = Vec::new();
    while let Poll::Ready(n) = write(&mut client, &block) {
        let n = n.unwrap();
        assert!(0 < n && n <= 64 << 10, "{n}");
        sent.extend(&block[..n]);
        assert!(sent.len() < 1 << 20, "no end");
    }
    assert!(client.poll_flush(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut received = Vec::new();
    while received.len() < sent.len() {
        match read(&mut server) {
            Poll::Ready(read) => received.extend(read.unwrap()),
            Poll::Pending => {
                let _ = client.poll_flush(&mut Context::from_waker(Waker::noop()));
            }
        }
    }
    assert!(received == sent);
    assert!(client.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready());
}
