//! Servers that misbehave before the connection is open: each ends in its own error, within the deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use hopmq_proto::amqp::{FrameKind, Method, channel, connection};
use hopmq_tests::closed_port::ClosedPort;
use hopmq_tests::scenarios::{self, Raw};
use hopmq_tokio::{
    CloseReason, ConnectError, ConnectOptions, FieldTable, HandshakeError, HandshakeStep, LongStr,
    PeerMisbehaved, ShortStr, Stream, WireError, connect, connect_with,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// For a server that is silent.
const SHORT: Duration = Duration::from_millis(300);
/// For a server that is not: whoever needs as long as this has only waited for the deadline.
const LONG: Duration = Duration::from_secs(60);
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to a server that does what `script` says, with this `connection_timeout`.
async fn try_connect<F: Future<Output = ()> + Send + 'static>(
    limit: Duration,
    script: impl FnOnce(Raw) -> F + Send + 'static,
) -> Result<(), ConnectError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 8];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"AMQP\x00\x00\x09\x01");
        script(Raw::new(Stream::new(stream))).await;
    });
    let uri = format!("amqp://127.0.0.1:{port}?connection_timeout={}", limit.as_millis());
    let result = timeout(PATIENCE, connect(&uri)).await.expect("the deadline is kept").map(drop);
    timeout(PATIENCE, server).await.expect("nothing of the connection is left").unwrap();
    result
}

/// Why there is no connection to a server that does what `script` says.
fn refused<F: Future<Output = ()> + Send + 'static>(
    limit: Duration,
    script: impl FnOnce(Raw) -> F + Send + 'static,
) -> CloseReason {
    scenarios::current_thread().block_on(async {
        match try_connect(limit, script).await {
            Err(ConnectError::Refused { reason, .. }) => (*reason).clone(),
            other => panic!("{other:?}"),
        }
    })
}

fn handshake<F: Future<Output = ()> + Send + 'static>(
    limit: Duration,
    script: impl FnOnce(Raw) -> F + Send + 'static,
) -> HandshakeError {
    match refused(limit, script) {
        CloseReason::Handshake(error) => error,
        other => panic!("{other:?}"),
    }
}

fn start(mechanisms: &'static str) -> connection::Start {
    connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: FieldTable::new().with("product", "a test"),
        mechanisms: LongStr::from_static(mechanisms),
        locales: LongStr::from_static("en_US"),
    }
}

/// The server's part, up to where it waits for tune-ok and open.
async fn log_in(server: &mut Raw) {
    let answer = server.call(0, start("PLAIN AMQPLAIN")).await;
    assert!(matches!(answer, Method::ConnectionStartOk(_)), "{answer:?}");
}

/// The server's part, up to the open that it has not answered.
async fn tune(server: &mut Raw) {
    log_in(server).await;
    let tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
    let answer = server.call(0, tune).await;
    assert!(matches!(answer, Method::ConnectionTuneOk(_)), "{answer:?}");
    let (_, open) = server.method().await;
    assert!(matches!(open, Method::ConnectionOpen(_)), "{open:?}");
}

/// Says nothing more, until the client has gone.
async fn fall_silent(server: Raw) {
    server.rest().await;
}

#[test]
fn a_server_that_behaves_is_connected_to() {
    scenarios::current_thread().block_on(async {
        let connection = try_connect(LONG, async |mut server| {
            tune(&mut server).await;
            server.send(0, connection::OpenOk {}).await;
            let (_, close) = server.method().await;
            assert!(matches!(close, Method::ConnectionClose(_)), "{close:?}");
            server.send(0, connection::CloseOk {}).await;
        });
        connection.await.unwrap();
    });
}

#[test]
fn silent_at_each_step() {
    let error = handshake(SHORT, fall_silent);
    assert_eq!(error, HandshakeError::Timeout(HandshakeStep::Greeting));
    let error = handshake(SHORT, async |mut server| {
        log_in(&mut server).await;
        fall_silent(server).await;
    });
    assert_eq!(error, HandshakeError::Timeout(HandshakeStep::Login));
    let error = handshake(SHORT, async |mut server| {
        tune(&mut server).await;
        fall_silent(server).await;
    });
    assert_eq!(error, HandshakeError::Timeout(HandshakeStep::Opening));
}

#[test]
fn closes_at_each_step() {
    let error = handshake(LONG, async |server| drop(server));
    assert_eq!(error, HandshakeError::Eof(HandshakeStep::Greeting));
    let error = handshake(LONG, async |mut server| log_in(&mut server).await);
    assert_eq!(error, HandshakeError::Eof(HandshakeStep::Login));
    let error = handshake(LONG, async |mut server| tune(&mut server).await);
    assert_eq!(error, HandshakeError::Eof(HandshakeStep::Opening));
}

/// It does not even read our greeting, so that the system may reset the connection.
#[test]
fn closes_at_once() {
    scenarios::current_thread().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("amqp://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
        match timeout(PATIENCE, connect(&uri)).await.expect("the deadline is kept") {
            Err(ConnectError::Refused { reason, .. }) => assert!(
                matches!(
                    *reason,
                    CloseReason::Handshake(
                        HandshakeError::Eof(HandshakeStep::Greeting)
                            | HandshakeError::Transport(HandshakeStep::Greeting, _)
                    )
                ),
                "{reason:?}"
            ),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn closes_in_the_middle_of_a_frame() {
    let error = handshake(LONG, async |mut server| server.write(&[1, 0, 0, 0, 0, 1, 0, 0, 10]).await);
    assert_eq!(error, HandshakeError::Eof(HandshakeStep::Greeting));
    let error = handshake(SHORT, async |mut server| {
        server.write(&[1, 0, 0]).await;
        fall_silent(server).await;
    });
    assert_eq!(error, HandshakeError::Timeout(HandshakeStep::Greeting));
}

#[test]
fn refuses_at_each_step() {
    async fn close(mut server: Raw, code: u16, text: &'static str) {
        let close = connection::Close {
            reply_code: code,
            reply_text: ShortStr::from_static(text),
            ..connection::Close::default()
        };
        assert_eq!(server.call(0, close).await, connection::CloseOk {}.into());
    }
    for (step, code, text) in
        [(1, 403, "ACCESS_REFUSED - no"), (2, 530, "NOT_ALLOWED - no"), (0, 320, "not now")]
    {
        let reason = refused(LONG, async move |mut server| {
            match step {
                0 => {}
                1 => log_in(&mut server).await,
                _ => tune(&mut server).await,
            }
            close(server, code, text).await;
        });
        let CloseReason::Server(close) = reason else { panic!("{reason:?}") };
        assert_eq!((close.code.0, close.text), (code, ShortStr::from_static(text)));
    }
}

#[test]
fn speaks_another_version() {
    for version in [[3, 1, 0, 0], [0, 1, 0, 0], [0, 0, 9, 1], [1, 1, 8, 0]] {
        let error = handshake(LONG, async move |mut server| {
            server.write(b"AMQP").await;
            server.write(&version).await;
        });
        let HandshakeError::ProtocolVersion(found) = error else { panic!("{error:?}") };
        assert_eq!(found.0, version);
    }
}

#[test]
fn speaks_something_else() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"220 mail.example ESMTP\r\n",
        b"-ERR unknown command 'AMQP'\r\n",
        &[0x15, 3, 3, 0, 2, 2, 80], // a TLS alert
        &[0xff; 100],
        &[0],
    ] {
        let then_closed = handshake(LONG, async move |mut server| server.write(answer).await);
        let then_silent = handshake(SHORT, async move |mut server| {
            server.write(answer).await;
            fall_silent(server).await;
        });
        for error in [then_closed, then_silent] {
            let HandshakeError::NotAmqp(found) = error else { panic!("{error:?}") };
            assert!(!found.is_empty() && answer.starts_with(&found), "{}", found.escape_ascii());
        }
    }
    // A line is enough to know.
    let error = handshake(LONG, async |mut server| {
        server.write(b"HTTP/1.1 400 Bad Request\r\n").await;
        fall_silent(server).await;
    });
    assert_eq!(error, HandshakeError::NotAmqp(b"HTTP/1.1 400 Bad Request\r".to_vec()));
}

fn misbehaved<F: Future<Output = ()> + Send + 'static>(
    script: impl FnOnce(Raw) -> F + Send + 'static,
) -> PeerMisbehaved {
    match refused(LONG, script) {
        CloseReason::PeerMisbehaved(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn speaks_broken_amqp() {
    // Each is followed by silence: what is wrong must be noticed at once, not at the deadline.
    let fault = misbehaved(async |mut server| {
        server.write(&[1, 0, 0, 0xff, 0xff, 0xff, 0xff]).await;
        fall_silent(server).await;
    });
    assert!(matches!(fault, PeerMisbehaved::Wire(WireError::FrameTooLarge { .. })), "{fault:?}");
    let fault = misbehaved(async |mut server| {
        server.write(&[1, 0, 0, 0, 0, 0, 1, 0, 0xCD]).await;
        fall_silent(server).await;
    });
    assert_eq!(fault, PeerMisbehaved::Wire(WireError::BadFrameEnd(0xCD)));
    let fault = misbehaved(async |mut server| {
        log_in(&mut server).await;
        server.write(&[5, 0, 0]).await;
        fall_silent(server).await;
    });
    assert_eq!(fault, PeerMisbehaved::Wire(WireError::UnknownFrameType(5)));
    let fault = misbehaved(async |mut server| {
        log_in(&mut server).await;
        server.send_frame(FrameKind::Method, 0, &[0, 10, 0, 30, 1]).await; // a tune without its end
        fall_silent(server).await;
    });
    assert!(matches!(fault, PeerMisbehaved::Wire(_)), "{fault:?}");
}

#[test]
fn speaks_out_of_turn() {
    let tune_first = connection::Tune { channel_max: 1, frame_max: 8192, heartbeat: 0 };
    let fault = misbehaved(async move |mut server| {
        server.send(0, tune_first).await;
        fall_silent(server).await;
    });
    assert!(matches!(fault, PeerMisbehaved::UnexpectedMethod { channel: 0, .. }), "{fault:?}");
    let fault = misbehaved(async |mut server| {
        log_in(&mut server).await;
        server.send(0, connection::OpenOk {}).await;
        fall_silent(server).await;
    });
    assert!(matches!(fault, PeerMisbehaved::UnexpectedMethod { channel: 0, .. }), "{fault:?}");
    let fault = misbehaved(async |mut server| {
        tune(&mut server).await;
        server.send(7, channel::OpenOk {}).await;
        fall_silent(server).await;
    });
    assert!(matches!(fault, PeerMisbehaved::UnexpectedFrame { channel: 7, .. }), "{fault:?}");
}

#[test]
fn offers_what_cannot_be() {
    let error = handshake(LONG, async |mut server| {
        server.send(0, start("GSSAPI EXTERNAL")).await;
        fall_silent(server).await;
    });
    assert_eq!(error, HandshakeError::NoMechanism("GSSAPI EXTERNAL".to_owned()));
    let error = handshake(LONG, async |mut server| {
        log_in(&mut server).await;
        server.send(0, connection::Tune { channel_max: 1, frame_max: 100, heartbeat: 0 }).await;
        fall_silent(server).await;
    });
    assert_eq!(error, HandshakeError::FrameMax(100));
}

/// Heartbeats are signs of life, but no progress.
#[test]
fn only_heartbeats() {
    let error = handshake(SHORT, async |mut server| {
        log_in(&mut server).await;
        for _ in 0..100 {
            server.write(&[8, 0, 0, 0, 0, 0, 0, 0xCE]).await;
        }
        fall_silent(server).await;
    });
    assert_eq!(error, HandshakeError::Timeout(HandshakeStep::Login));
}

#[test]
fn nobody_listens() {
    let closed = ClosedPort::new();
    let address = closed.address();
    scenarios::current_thread().block_on(async {
        let result = timeout(PATIENCE, connect(&format!("amqp://{address}"))).await.unwrap();
        let Err(ConnectError::Dial { endpoint, error }) = result else { panic!("{result:?}") };
        assert_eq!(
            (endpoint.to_string(), error.kind()),
            (address.to_string(), std::io::ErrorKind::ConnectionRefused)
        );
    });
}

/// The listener accepts nobody, and its queue is full.
#[test]
fn nobody_accepts() {
    scenarios::current_thread().block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = timeout(SHORT, TcpStream::connect(address)).await {
            queued.push(stream);
        }
        let uri = format!("amqp://{address}?connection_timeout={}", SHORT.as_millis());
        let result = timeout(PATIENCE, connect(&uri)).await.expect("the deadline is kept");
        assert!(matches!(result, Err(ConnectError::DialTimeout { .. })), "{result:?}");
    });
}

/// A port where nobody listens, a server that says nothing, one that lets nobody in: the error of each is kept, and
/// none takes the time of the others.
#[test]
fn several_hosts() {
    scenarios::current_thread().block_on(async {
        let closed = ClosedPort::new();
        let dead = closed.address();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = hopmq_tokio::Broker::start().await.unwrap();
        let (silent_at, good) = (silent.local_addr().unwrap(), broker.local_addr().unwrap());

        let limit = 4 * SHORT.as_millis();
        let uri = format!("amqp://{dead},{silent_at},{good}?connection_timeout={limit}");
        let connection = timeout(PATIENCE, connect(&uri)).await.unwrap().expect("the third lets us in");
        connection.close().await.unwrap();

        let uri = format!("amqp://guest:wrong@{dead},{silent_at},{good}?connection_timeout={limit}");
        let error = timeout(PATIENCE, connect(&uri)).await.unwrap().expect_err("the password is wrong");
        let said = error.to_string();
        assert!(matches!(error.close_reason(), Some(CloseReason::Server(close)) if close.code.0 == 403));
        let ConnectError::Endpoints(errors) = error else { panic!("{error:?}") };
        let [
            ConnectError::Dial { .. },
            ConnectError::Refused { endpoint, reason },
            ConnectError::Refused { .. },
        ] = &errors[..]
        else {
            panic!("{errors:?}")
        };
        assert_eq!(endpoint.to_string(), silent_at.to_string());
        assert_eq!(**reason, CloseReason::Handshake(HandshakeError::Timeout(HandshakeStep::Greeting)));
        for address in [dead, silent_at, good] {
            assert!(said.contains(&format!("cannot connect to {address}: ")), "{said}");
        }
    });
}

#[test]
fn an_option_that_amqp_cannot_carry() {
    scenarios::current_thread().block_on(async {
        let options = ConnectOptions::new().virtual_host(&"v".repeat(256));
        let error = connect_with(options).await.unwrap_err();
        assert!(matches!(error, ConnectError::Option { option: "virtual_host", .. }), "{error:?}");
    });
}
