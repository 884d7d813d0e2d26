//! The handshake of a client, with a server that does what it should and with servers that do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::amqp::{
    Credentials, FieldTable, FieldValue, FrameKind, HEARTBEAT_FRAME, Method, ReplyCode, ShortStr, WireError,
    channel, connection,
};
use hopmq_proto::client::{
    CloseReason, CommandError, Config, Event, HandshakeError, HandshakeStep, Heartbeat, PeerMisbehaved,
    ServerInfo,
};
use hopmq_proto::{Engine, Instant, Want};
use support::{Client, Sent, TUNE, connection_close, frame, method, seconds, start};

/// The server's half of a handshake that succeeds.
fn script() -> [BytesMut; 3] {
    [method(0, start("PLAIN")), method(0, TUNE), method(0, connection::OpenOk {})]
}

/// A client that waits in `step`, having sent everything.
fn waiting(config: Config, step: HandshakeStep) -> Client {
    let mut client = Client::new(config);
    let steps = match step {
        HandshakeStep::Greeting => 0,
        HandshakeStep::Login => 1,
        HandshakeStep::Opening => 2,
    };
    script()[..steps].iter().for_each(|frame| client.feed(frame));
    assert!(client.events().is_empty());
    client.sent();
    client
}

const STEPS: [HandshakeStep; 3] = [HandshakeStep::Greeting, HandshakeStep::Login, HandshakeStep::Opening];

fn handshake_error(client: &mut Client) -> HandshakeError {
    match client.closed() {
        CloseReason::Handshake(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_capability_is_announced() {
    let config = Config { connection_name: Some(ShortStr::from_static("me")), ..Config::default() };
    let mut client = Client::new(config);
    client.say(0, start("AMQPLAIN PLAIN"));
    let [Sent::Greeting, Sent::Method(0, Method::ConnectionStartOk(ok))] = &client.sent()[..] else {
        panic!()
    };
    let yes = FieldValue::Bool(true);
    let capabilities = FieldTable::new()
        .with("publisher_confirms", yes.clone())
        .with("exchange_exchange_bindings", yes.clone())
        .with("basic.nack", yes.clone())
        .with("consumer_cancel_notify", yes.clone())
        .with("connection.blocked", yes.clone())
        .with("authentication_failure_close", yes.clone())
        .with("per_consumer_qos", yes);
    let properties = FieldTable::new()
        .with("product", "HopMQ")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("platform", "Rust")
        .with("capabilities", capabilities)
        .with("connection_name", "me");
    assert_eq!(ok.client_properties, properties);
    assert_eq!(ok.mechanism, "PLAIN");
    assert_eq!(ok.response.expose(), &"\0guest\0guest");
    assert_eq!(ok.locale, "en_US");
}

#[test]
fn the_user_adds_to_what_the_client_says_of_itself() {
    let ours = FieldTable::new().with("product", "orders").with("zone", 7_i32).with("capabilities", "none");
    let mut client = Client::new(Config { client_properties: ours, ..Config::default() });
    client.say(0, start("PLAIN"));
    let [_, Sent::Method(0, Method::ConnectionStartOk(ok))] = &client.sent()[..] else { panic!() };
    let said = |name: &str| ok.client_properties.get(name);
    assert_eq!(said("product").and_then(FieldValue::as_str), Some("orders"));
    assert_eq!(said("platform").and_then(FieldValue::as_str), Some("Rust"));
    assert_eq!(said("zone"), Some(&FieldValue::I32(7)));
    assert!(matches!(said("capabilities"), Some(FieldValue::Table(_))), "what it can do it knows best");
}

#[test]
fn three_frames_each_way_open_the_connection() {
    let mut client = Client::new(Config { virtual_host: ShortStr::from_static("v"), ..Config::default() });
    assert_eq!(client.sent(), [Sent::Greeting]);
    assert_eq!(client.engine.want(), Want::ReadWrite);
    assert_eq!(client.engine.open_channel(client.now).unwrap_err(), CommandError::NotOpen);
    client.say(0, start("PLAIN"));
    assert!(matches!(client.sent()[..], [Sent::Method(0, Method::ConnectionStartOk(_))]));
    client.say(0, TUNE);
    let tune_ok = connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 };
    let open = connection::Open { virtual_host: ShortStr::from_static("v") };
    assert_eq!(client.sent(), [Sent::method(0, tune_ok), Sent::method(0, open)]);
    client.say(0, connection::OpenOk {});
    let Event::Opened(info) = client.event() else { panic!() };
    let properties = FieldTable::new().with("product", "Script");
    assert_eq!(*info, ServerInfo { properties, channel_max: 2047, frame_max: 131_072, heartbeat: 0 });
    assert_eq!(client.engine.poll_timeout(), None, "connect_timeout is over");
}

fn tuned(config: Config, tune: connection::Tune) -> Result<(u16, u32, u16), HandshakeError> {
    let mut client = waiting(config, HandshakeStep::Login);
    client.say(0, tune);
    match client.sent().first() {
        Some(Sent::Method(0, Method::ConnectionTuneOk(ok))) => {
            Ok((ok.channel_max, ok.frame_max, ok.heartbeat))
        }
        _ => Err(handshake_error(&mut client)),
    }
}

#[test]
fn trap_6_frame_max_is_the_smaller_one_and_0_is_no_limit() {
    for (ours, server, agreed) in [
        (131_072, 131_072, 131_072),
        (131_072, 0, 131_072),
        (131_072, u32::MAX, 131_072),
        (131_072, 8192, 8192),
        (131_072, 4096, 4096), // LavinMQ over WebSocket
        (131_072, 6000, 6000),
        (4096, 131_072, 8192), // RabbitMQ takes no less
        (1, 4096, 4096),
        (0, 65_536, 65_536),
        (0, 0, 16 << 20),
        (0, u32::MAX, 16 << 20),
    ] {
        let config = Config { frame_max: ours, ..Config::default() };
        let tune = connection::Tune { frame_max: server, ..TUNE };
        assert_eq!(tuned(config, tune).unwrap().1, agreed, "{ours} and {server}");
    }
    for server in [1, 4095] {
        let tune = connection::Tune { frame_max: server, ..TUNE };
        assert_eq!(tuned(Config::default(), tune), Err(HandshakeError::FrameMax(server)));
    }
}

#[test]
fn trap_9_channel_max_is_the_smaller_one_and_0_is_no_limit() {
    for (ours, server, agreed) in [(2047, 0, 2047), (65_535, 0, 65_535), (2047, 10, 10), (3, 2047, 3)] {
        let config = Config { channel_max: seconds(ours), ..Config::default() };
        assert_eq!(tuned(config, connection::Tune { channel_max: server, ..TUNE }).unwrap().0, agreed);
    }
}

#[test]
fn trap_10_heartbeats_are_the_smaller_ones_unless_one_side_has_none() {
    for (ours, server, agreed) in [
        (Heartbeat::Server, 60, 60),
        (Heartbeat::Server, 0, 0),
        (Heartbeat::Seconds(seconds(10)), 60, 10),
        (Heartbeat::Seconds(seconds(60)), 10, 10),
        (Heartbeat::Seconds(seconds(10)), 0, 10),
        (Heartbeat::Off, 60, 0),
        (Heartbeat::Off, 0, 0),
    ] {
        let config = Config { heartbeat: ours, ..Config::default() };
        let tune = connection::Tune { heartbeat: server, ..TUNE };
        assert_eq!(tuned(config, tune).unwrap().2, agreed, "{ours:?} and {server}");
    }
}

#[test]
fn trap_1_another_protocol_version_is_named() {
    for (header, shown) in [
        (*b"AMQP\x03\x01\x00\x00", "AMQP 1.0"),
        (*b"AMQP\x00\x01\x00\x00", "AMQP 1.0"),
        (*b"AMQP\x00\x00\x09\x00", "AMQP 0-9-0"),
        (*b"AMQP\x01\x01\x00\x0a", "AMQP 1-0-10"),
    ] {
        for piece in [1, 3, 8] {
            let mut client = Client::new(Config::default());
            for bytes in header.chunks(piece) {
                assert!(client.events().is_empty(), "not before all eight bytes");
                client.feed(bytes);
            }
            let error = handshake_error(&mut client);
            assert!(matches!(error, HandshakeError::ProtocolVersion(v) if v.0 == header[4..]), "{error:?}");
            assert!(error.to_string().contains(shown), "{error}");
        }
    }
}

#[test]
fn trap_1_what_is_not_amqp_is_shown_up_to_the_end_of_its_line() {
    let http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let ssh = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
    for (reply, said) in [
        (&http[..], &b"HTTP/1.1 400 Bad Request\r"[..]),
        (ssh, b"SSH-2.0-OpenSSH_9.2p1 Debian-2+d"),
        (b"AMQX\n", b"AMQX"),
        (b"220 mail\n", b"220 mail"),
        (b"\x15\x03\x03\x00\x02\x02\n", b"\x15\x03\x03\x00\x02\x02"),
    ] {
        for piece in [1, 2, 7, reply.len()] {
            let mut client = Client::new(Config::default());
            reply.chunks(piece).for_each(|bytes| client.feed(bytes));
            assert_eq!(handshake_error(&mut client), HandshakeError::NotAmqp(said.to_vec()));
            assert!(client.sent().is_empty(), "nothing more is said to it");
        }
    }
}

#[test]
fn a_server_that_speaks_tls_is_named() {
    let alert = HandshakeError::NotAmqp(b"\x15\x03\x03\x00\x02\x02".to_vec()).to_string();
    assert!(alert.ends_with(", which is TLS: amqps:// may be what it wants"), "{alert}");
    let mail = HandshakeError::NotAmqp(b"220 mail".to_vec()).to_string();
    assert_eq!(mail, "the server does not speak AMQP, it says \"220 mail\"");
}

#[test]
fn half_a_line_that_is_not_amqp_is_shown_at_the_end() {
    for end in [Client::eof as fn(&mut Client), |client| client.pass(Duration::from_secs(10))] {
        let mut client = Client::new(Config::default());
        client.feed(b"\x15\x03\x03");
        assert!(client.events().is_empty());
        client.feed(b"\x01AMQP");
        end(&mut client);
        assert_eq!(handshake_error(&mut client), HandshakeError::NotAmqp(b"\x15\x03\x03\x01AMQP".to_vec()));
    }
}

#[test]
fn half_a_protocol_header_is_no_version() {
    let mut client = Client::new(Config::default());
    client.feed(b"AMQP\x03");
    client.eof();
    assert_eq!(handshake_error(&mut client), HandshakeError::Eof(HandshakeStep::Greeting));
}

#[test]
fn a_silent_server_is_given_up_at_the_deadline_with_the_step() {
    for step in STEPS {
        let config = Config { connect_timeout: Duration::from_secs(7), ..Config::default() };
        let mut client = waiting(config, step);
        assert_eq!(client.engine.poll_timeout(), Some(Instant::from_nanos(8_000_000_000)));
        client.pass(Duration::from_millis(6999));
        assert!(client.events().is_empty());
        client.pass(Duration::from_millis(1));
        assert_eq!(handshake_error(&mut client), HandshakeError::Timeout(step));
    }
}

#[test]
fn heartbeats_that_fail_in_the_handshake_leave_it_to_the_deadline() {
    let mut client = waiting(Config::default(), HandshakeStep::Login);
    client.say(0, connection::Tune { heartbeat: 1, ..TUNE });
    client.pass(Duration::from_secs(10));
    assert_eq!(handshake_error(&mut client), HandshakeError::Timeout(HandshakeStep::Opening));
}

#[test]
fn trap_2_the_end_of_the_stream_is_explained_at_every_step() {
    for (step, hint) in STEPS.into_iter().zip(["greeting", "credentials", "virtual host"]) {
        let mut client = waiting(Config::default(), step);
        client.eof();
        let error = handshake_error(&mut client);
        assert_eq!(error, HandshakeError::Eof(step));
        assert!(error.to_string().contains(hint), "{error}");
        client.eof();
        client.pass(Duration::from_secs(100));
        assert!(client.is_quiet() && client.engine.poll_timeout().is_none());
    }
}

#[test]
fn a_transport_error_has_its_step() {
    for step in STEPS {
        let mut client = waiting(Config::default(), step);
        client.engine.handle_transport_error("reset".into(), client.now);
        assert_eq!(handshake_error(&mut client), HandshakeError::Transport(step, "reset".into()));
    }
}

#[test]
fn trap_3_and_4_a_close_at_every_step_is_answered_and_is_the_reason() {
    for (step, code) in STEPS.into_iter().flat_map(|step| [(step, 403), (step, 530)]) {
        let mut client = waiting(Config::default(), step);
        client.say(0, connection_close(code));
        assert_eq!(client.sent(), [Sent::method(0, connection::CloseOk {})]);
        let CloseReason::Server(close) = client.closed() else { panic!() };
        assert_eq!((close.code, close.text.as_str()), (ReplyCode(code), Ok("because")));
        assert_eq!((close.class_id, close.method_id), (10, 40));
    }
}

#[test]
fn a_server_without_a_mechanism_that_fits_is_refused() {
    let with = |credentials| Config { credentials, ..Config::default() };
    let cases = [
        (with(Credentials::new("a", "b")), "EXTERNAL PLAINS"),
        (with(Credentials::new("a", "b")), ""),
        (with(Credentials::External), "PLAIN AMQPLAIN"),
    ];
    for (config, offered) in cases {
        let mut client = waiting(config, HandshakeStep::Greeting);
        client.say(0, start(offered));
        assert_eq!(handshake_error(&mut client), HandshakeError::NoMechanism(offered.into()));
        assert!(client.sent().is_empty());
    }
}

/// A client that logs in with a password this long, and has sent what it would.
fn long_login(password: usize) -> (Client, usize) {
    let credentials = Credentials::new("user", &"x".repeat(password));
    let mut client = waiting(Config { credentials, ..Config::default() }, HandshakeStep::Greeting);
    client.say(0, start("PLAIN"));
    let written = client.engine.outbox().len();
    (client, written)
}

#[test]
fn trap_7_a_login_that_does_not_fit_the_first_frame_is_an_error() {
    let (mut client, _) = long_login(9000);
    let error = handshake_error(&mut client);
    assert!(matches!(error, HandshakeError::LoginTooLong { bytes: 9000.. }), "{error:?}");
    assert!(client.sent().is_empty());
}

#[test]
fn trap_7_a_login_that_only_some_servers_take_is_tried() {
    let (mut client, bytes) = long_login(5000);
    assert!(bytes > 4096, "{bytes}");
    client.eof();
    assert_eq!(handshake_error(&mut client), HandshakeError::LoginTooLong { bytes });

    let (mut client, _) = long_login(5000);
    client.say(0, TUNE);
    client.say(0, connection::OpenOk {});
    assert!(matches!(client.event(), Event::Opened(_)));

    let (mut client, bytes) = long_login(3000);
    assert!(bytes < 4096, "{bytes}");
    client.eof();
    assert_eq!(handshake_error(&mut client), HandshakeError::Eof(HandshakeStep::Login));
}

#[test]
fn trap_11_heartbeats_come_before_open_ok() {
    let mut client = waiting(Config::default(), HandshakeStep::Opening);
    client.feed(&HEARTBEAT_FRAME);
    client.feed(&HEARTBEAT_FRAME);
    client.say(0, connection::OpenOk {});
    assert!(matches!(client.event(), Event::Opened(_)));
}

#[test]
fn what_may_not_come_in_the_handshake_ends_it() {
    let cases = [
        method(0, connection::OpenOk {}),
        method(0, connection::Secure::default()),
        method(1, channel::OpenOk {}),
        frame(FrameKind::Header, 0, b"xx"),
        frame(FrameKind::Body, 1, b"xx"),
        frame(FrameKind::Heartbeat, 1, b""),
        frame(FrameKind::Method, 0, b"\0\x0a\0"),
        frame(FrameKind::Method, 0, b"\0\x63\0\x63"),
        BytesMut::from(&b"\x01\0\0\0\x01\0\0"[..]), // larger than 8192
        BytesMut::from(&b"\x01\0\0\0\0\0\0\xcd"[..]),
    ];
    for bytes in cases {
        for step in [HandshakeStep::Greeting, HandshakeStep::Login] {
            let mut client = waiting(Config::default(), step);
            client.feed(&bytes);
            if bytes[0] != 1 && step == HandshakeStep::Greeting {
                client.eof();
                assert!(matches!(handshake_error(&mut client), HandshakeError::NotAmqp(_)));
                continue;
            }
            let reason = client.closed();
            assert!(matches!(reason, CloseReason::PeerMisbehaved(_)), "{bytes:?}: {reason:?}");
        }
    }
}

#[test]
fn garbage_after_the_greeting_is_a_frame_error() {
    let mut client = waiting(Config::default(), HandshakeStep::Login);
    client.feed(b"GARBAGE");
    let CloseReason::PeerMisbehaved(fault) = client.closed() else { panic!() };
    assert_eq!(fault, PeerMisbehaved::Wire(WireError::UnknownFrameType(b'G')));
    assert_eq!(fault.reply_code(), ReplyCode::FRAME_ERROR);
}

#[test]
fn split_at_every_byte_it_is_the_same() {
    let bytes = script().concat();
    for at in 0..=bytes.len() {
        let mut client = Client::new(Config::default());
        client.feed(&bytes[..at]);
        client.feed(&bytes[at..]);
        assert!(matches!(client.event(), Event::Opened(_)), "split at {at}");
        assert_eq!(client.sent().len(), 4);
        assert!(client.input.is_empty());
    }
}

#[test]
fn a_close_before_the_end_of_the_handshake_ends_it_at_once() {
    for step in STEPS {
        let mut client = waiting(Config::default(), step);
        let token = client.engine.close(client.now).unwrap();
        let events = client.events();
        assert!(matches!(&events[0], Event::Reply { token: t, result: Ok(_) } if *t == token));
        assert!(matches!(&events[1], Event::Closed { reason } if **reason == CloseReason::Requested));
        assert_eq!((events.len(), client.engine.want()), (2, Want::Shutdown));
    }
}

#[test]
fn a_pause_does_not_stop_the_handshake() {
    let mut client = Client::new(Config::default());
    client.engine.set_paused(true, client.now);
    assert_eq!(client.engine.want(), Want::ReadWrite);
}

#[test]
fn debug_shows_no_secrets() {
    let credentials = Credentials::new("user", "hunter2");
    let config = Config { credentials, ..Config::default() };
    assert!(!format!("{config:?}").contains("hunter2"));
    let mut client = Client::new(config);
    client.say(0, start("PLAIN"));
    assert!(client.engine.outbox().chunks().any(|chunk| chunk.windows(7).any(|w| w == b"hunter2")));
    assert!(!format!("{:?}", client.engine).contains("hunter2"), "the login waits in the outbox");
}
