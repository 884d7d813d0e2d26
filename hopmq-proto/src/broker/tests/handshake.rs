use core::time::Duration;

use super::*;

fn start_ok(user: &str, password: &str, tell: bool) -> connection::StartOk {
    let capabilities = FieldTable::new().with("authentication_failure_close", tell);
    connection::StartOk {
        client_properties: FieldTable::new().with("capabilities", capabilities),
        mechanism: short("PLAIN"),
        response: Credentials::new(user, password).response(Mechanism::Plain).unwrap(),
        locale: short("en_US"),
    }
}

fn started(test: &mut Test) -> ConnectionId {
    let id = test.accept();
    test.input(id, &PROTOCOL_HEADER);
    let got = test.got(id);
    let [Got::Method(0, Method::ConnectionStart(start))] = &got[..] else { panic!("{got:?}") };
    assert_eq!(start.server_properties.get("product").unwrap().as_str(), Some("HopMQ"));
    assert!(start.mechanisms == "PLAIN AMQPLAIN");
    id
}

#[test]
fn opened_and_closed_by_the_client() {
    let mut test = Test::new();
    let id = test.client();
    let events = test.events(id);
    assert!(matches!(&events[..], [Event::Opened { user, vhost, .. }] if user == "guest" && vhost == "/"));
    let close = connection::Close { reply_code: 200, reply_text: short("bye"), ..Default::default() };
    assert_eq!(test.ask(id, 0, close), connection::CloseOk {}.into());
    assert_eq!(test.want(id), Want::Shutdown);
    let reason = Closed::ByClient { code: ReplyCode::SUCCESS, text: "bye".to_string() };
    assert_eq!(test.events(id), [Event::Closed { reason }]);
    test.broker.release(id, test.now);
    test.broker.release(id, test.now);
    assert!(test.broker.connection(id).is_none());
    assert_eq!(test.broker.connections(), 0);
}

#[test]
fn a_wrong_header_is_answered_with_ours() {
    for header in ["GET / HTTP/1.1\r\n", "AMQP\x03\x01\x00\x00", "AMQP\x00\x00\x08\x00", "\x16\x03\x01"] {
        let mut test = Test::new();
        let id = test.accept();
        test.input(id, header.as_bytes());
        assert_eq!(test.got(id), [Got::Header], "{header:?}");
        assert_eq!(test.want(id), Want::Shutdown);
        assert_eq!(test.events(id), [Event::Closed { reason: Closed::WrongProtocol }]);
    }
}

#[test]
fn a_wrong_password_is_told_to_those_who_can_hear_it() {
    let mut test = Test::new();
    for tell in [true, false] {
        let id = started(&mut test);
        test.send(id, 0, start_ok("guest", "wrong", tell));
        if tell {
            assert_eq!(
                test.fault(id),
                "connection 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                 For details see the broker logfile. (0,0)"
            );
        } else {
            assert!(test.bytes(id).is_empty());
        }
        assert_eq!(test.want(id), Want::Shutdown);
        assert!(matches!(
            &test.events(id)[..],
            [Event::Closed { reason: Closed::Refused { code: ReplyCode::ACCESS_REFUSED, .. } }]
        ));
    }
}

#[test]
fn guest_comes_from_this_machine_only() {
    for (loopback_only, opens) in [(true, false), (false, true)] {
        let user = User { loopback_only, ..User::guest() };
        let mut test = Test::with(Config { users: vec![user], ..Config::default() });
        let id = test.broker.accept(Peer { loopback: false, name: String::new() }, test.now);
        test.input(id, &PROTOCOL_HEADER);
        test.send(id, 0, start_ok("guest", "guest", false));
        assert_eq!(test.want(id) == Want::ReadWrite, opens);
    }
}

#[test]
fn amqplain_logs_in() {
    let mut test = Test::new();
    let id = started(&mut test);
    let login = connection::StartOk {
        mechanism: short("AMQPLAIN"),
        response: Credentials::new("guest", "guest").response(Mechanism::AmqPlain).unwrap(),
        ..start_ok("", "", false)
    };
    let tune = connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
    assert_eq!(test.ask(id, 0, login), tune.into());
}

#[test]
fn limits_beyond_ours_end_the_handshake() {
    for (channel_max, frame_max) in [(2047, 4095), (2047, 131_073), (2047, 0), (2048, 131_072), (0, 131_072)]
    {
        let mut test = Test::new();
        let id = started(&mut test);
        test.send(id, 0, start_ok("guest", "guest", false));
        test.got(id);
        test.send(id, 0, connection::TuneOk { channel_max, frame_max, heartbeat: 0 });
        assert!(test.bytes(id).is_empty(), "{channel_max} {frame_max}");
        assert_eq!(test.want(id), Want::Shutdown);
    }
}

#[test]
fn vhosts_are_checked() {
    let users = vec![User::guest(), User::new("bob", "b").on(["other"])];
    let vhosts = vec!["/".to_string(), "other".to_string()];
    for (vhost, text) in [
        ("nope", "connection 530 NOT_ALLOWED - vhost nope not found (10,40)"),
        ("/", "connection 530 NOT_ALLOWED - access to vhost '/' refused for user 'bob' (10,40)"),
        ("other", ""),
    ] {
        let config = Config { users: users.clone(), vhosts: vhosts.clone(), ..Config::default() };
        let mut test = Test::with(config);
        let id = started(&mut test);
        test.send(id, 0, start_ok("bob", "b", false));
        test.send(id, 0, connection::TuneOk { channel_max: 10, frame_max: 8192, heartbeat: 0 });
        test.got(id);
        let open = connection::Open { virtual_host: short(vhost) };
        if text.is_empty() {
            assert_eq!(test.ask(id, 0, open), connection::OpenOk {}.into());
        } else {
            assert_eq!(test.refusal(id, 0, open), text);
        }
    }
}

#[test]
fn a_silent_client_is_cut_off() {
    let mut test = Test::new();
    let id = test.accept();
    assert_eq!(test.deadline(id), Some(test.now + Duration::from_secs(10)));
    test.now = test.now + Duration::from_secs(10);
    test.timeout(id);
    assert_eq!(test.want(id), Want::Shutdown);
    assert_eq!(test.events(id), [Event::Closed { reason: Closed::HandshakeTimeout }]);
}

#[test]
fn frames_are_small_before_login() {
    let mut test = Test::new();
    let id = started(&mut test);
    test.input(id, &[1, 0, 0, 0, 0, 0x20, 0]);
    assert_eq!(test.want(id), Want::Shutdown);
    assert!(test.bytes(id).is_empty());
}

#[test]
fn heartbeats_go_both_ways() {
    let mut test = Test::new();
    let id = test.client();
    let start = test.now;
    test.events(id);
    for half in 1..=3u64 {
        assert_eq!(test.deadline(id), Some(start + Duration::from_secs(30 * half)));
        test.now = start + Duration::from_secs(30 * half);
        test.timeout(id);
        // The handshake spoke in the first half interval.
        let want = if half == 1 { vec![] } else { vec![Got::Heartbeat] };
        assert_eq!(test.got(id), want, "{half}");
    }
    test.input(id, &HEARTBEAT_FRAME);
    let heard = test.now;
    while test.want(id) == Want::ReadWrite {
        test.now = test.deadline(id).unwrap();
        test.timeout(id);
        test.got(id);
    }
    let silence = test.now - heard;
    assert!(silence >= Duration::from_secs(120) && silence <= Duration::from_secs(180), "{silence:?}");
    assert_eq!(test.events(id), [Event::Closed { reason: Closed::HeartbeatTimeout }]);
}

#[test]
fn shutdown_closes_and_waits_for_the_answer() {
    let mut test = Test::new();
    let (open, new) = (test.client(), test.accept());
    test.events(open);
    test.broker.shutdown(test.now);
    assert_eq!(test.broker.poll_touched(), Some(open));
    assert_eq!(test.broker.poll_touched(), Some(new));
    assert_eq!(test.broker.poll_touched(), None);
    assert_eq!(
        test.fault(open),
        "connection 320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown' (0,0)"
    );
    assert_eq!((test.want(open), test.want(new)), (Want::ReadWrite, Want::Shutdown));
    // What comes now is ignored, but a crossing close is answered.
    test.send(open, 1, basic::Qos::default());
    assert_eq!(test.ask(open, 0, connection::Close::default()), connection::CloseOk {}.into());
    test.send(open, 0, connection::CloseOk {});
    assert_eq!(test.want(open), Want::Shutdown);
    assert!(matches!(
        &test.events(open)[..],
        [Event::Closed { reason: Closed::ByBroker { code: ReplyCode::CONNECTION_FORCED, .. } }]
    ));
}

#[test]
fn a_close_that_is_not_answered_ends_at_its_deadline() {
    let mut test = Test::new();
    let id = test.client();
    test.broker.shutdown(test.now);
    test.got(id);
    test.now = test.now + Duration::from_secs(10);
    test.timeout(id);
    assert_eq!(test.want(id), Want::Shutdown);
}

#[test]
fn the_last_word_has_time_to_be_written_and_no_more() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    for _ in 0..3 {
        test.publish(id, "q", "unread");
    }
    test.consume(id, "q", "c", 0); // three deliveries wait, and nobody reads them
    test.send(id, 0, connection::Close { reply_code: 200, ..Default::default() });
    assert_eq!(test.want(id), Want::Shutdown);
    assert_eq!(test.deadline(id), Some(test.now + Duration::from_secs(10)));
    assert!(test.broker.connection(id).is_some_and(|mut link| link.outbox().len() == 12), "close-ok alone");
    test.now = test.now + Duration::from_secs(10);
    test.timeout(id);
    assert_eq!(test.deadline(id), None);
    assert_eq!(test.bytes(id), []);
}

#[test]
fn update_secret_is_accepted() {
    let mut test = Test::new();
    let id = test.client();
    let reply = test.ask(id, 0, connection::UpdateSecret::default());
    assert_eq!(reply, connection::UpdateSecretOk {}.into());
}
