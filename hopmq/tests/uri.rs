//! Connection URIs, by the rules of RabbitMQ's URI specification.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use hopmq::{
    ConnectOptions, Credentials, Heartbeat, Mechanism, Pem, RecoveryMode, ServerName, TlsOptions, UriError,
};
use proptest::prelude::*;

fn parse(uri: &str) -> Result<ConnectOptions, UriError> {
    uri.parse()
}

fn parsed(uri: &str) -> ConnectOptions {
    parse(uri).unwrap_or_else(|error| panic!("{uri}: {error}"))
}

/// Hosts and ports, virtual host and credentials.
fn parts(uri: &str) -> (String, String, Credentials) {
    let options = parsed(uri);
    let vhost = options.config.virtual_host.to_string();
    (endpoints(&options), vhost, options.config.credentials)
}

fn endpoints(options: &ConnectOptions) -> String {
    options.endpoints().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn trap_39_what_a_uri_leaves_out_has_a_default() {
    let guest = Credentials::new("guest", "guest");
    for (uri, expected) in [
        ("amqp://", "localhost:5672"),
        ("amqp://host", "host:5672"),
        ("amqp://host:", "host:5672"),
        ("AMQP://host:5673", "host:5673"),
        ("amqp://:5673", "localhost:5673"),
        ("amqps://host", "host:5671"),
        ("amqps://host:5672", "host:5672"),
    ] {
        assert_eq!(parts(uri), (expected.to_owned(), "/".to_owned(), guest.clone()), "{uri}");
    }
    assert_eq!(parsed("amqps://host").tls_options(), Some(&TlsOptions::new()));
    assert_eq!(parsed("amqp://host").tls_options(), None);
}

#[test]
fn trap_39_an_empty_virtual_host_is_not_an_absent_one() {
    assert_eq!(parts("amqp://host").1, "/");
    assert_eq!(parts("amqp://host/").1, "");
    assert_eq!(parts("amqp://host/%2f").1, "/");
    assert_eq!(parts("amqp://host/a%2Fb").1, "a/b");
    assert_eq!(parts("amqp://host?heartbeat=1").1, "/");
    assert_eq!(parts("amqp://host/?heartbeat=1").1, "");
}

#[test]
fn trap_39_user_password_and_virtual_host_are_percent_decoded() {
    let (_, vhost, credentials) = parts("amqp://us%61er:p%40%3a%2fss@host/v%68ost");
    assert_eq!(vhost, "vhost");
    assert_eq!(credentials, Credentials::new("usaer", "p@:/ss"));
    assert_eq!(parts("amqp://user:@host").2, Credentials::new("user", ""));
    assert_eq!(parts("amqp://:@host").2, Credentials::new("", ""));
    assert_eq!(parts("amqp://user@host").2, Credentials::new("user", "guest"));
    assert_eq!(parts("amqp://user:a:b@host").2, Credentials::new("user", "a:b"));
}

#[test]
fn trap_39_ipv6_addresses_stand_in_brackets() {
    assert_eq!(parsed("amqp://[::1]").endpoints()[0].host, "::1");
    assert_eq!(parts("amqp://[2001:db8::1]:5673/").0, "[2001:db8::1]:5673");
    assert!(matches!(parse("amqp://2001:db8::1"), Err(UriError::Syntax(_))));
    assert!(matches!(parse("amqp://[2001:db8"), Err(UriError::Syntax(_))));
}

#[test]
fn trap_39_several_hosts_are_tried_in_order() {
    let (hosts, vhost, credentials) = parts("amqp://u:p,q@h1:5673,h2,[::1]:5674,127.0.0.1/v?heartbeat=1");
    assert_eq!(hosts, "h1:5673 h2:5672 [::1]:5674 127.0.0.1:5672");
    assert_eq!((vhost.as_str(), credentials), ("v", Credentials::new("u", "p,q")));
    assert_eq!(parts("amqps://h1,h2:5672").0, "h1:5671 h2:5672");
    for uri in ["amqp://h1,", "amqp://,h2", "amqp://h1,,h2", "amqp://,", "amqp://h1,:5672"] {
        assert_eq!(parse(uri).expect_err(uri), UriError::NoHost, "{uri}");
    }
    assert_eq!(parse("amqp://h1:1,h2:0").unwrap_err(), UriError::Port { host: "h2".to_owned() });
}

#[test]
fn query_parameters_set_what_they_name() {
    let uri = "amqp://host?heartbeat=7&connection_timeout=1500&channel_max=9&frame_max=10000&name=a%20b";
    let config = parsed(uri).config;
    assert_eq!(config.heartbeat, Heartbeat::Seconds(7.try_into().expect("not zero")));
    assert_eq!(config.connect_timeout, Duration::from_millis(1500));
    assert_eq!(config.channel_max.get(), 9);
    assert_eq!(config.frame_max, 10_000);
    assert_eq!(config.connection_name.expect("a name"), "a b");
    assert_eq!(parsed("amqp://host?connection_name=b+c").config.connection_name.expect("a name"), "b+c");
    assert_eq!(parsed("amqp://host?heartbeat=0").config.heartbeat, Heartbeat::Off);
    let uri = "amqp://host?auth_mechanism=external&auth_mechanism=Plain&auth_mechanism=AMQPLAIN";
    let mechanisms = [Mechanism::External, Mechanism::Plain, Mechanism::AmqPlain];
    assert_eq!(parsed(uri).config.mechanisms, mechanisms);
}

#[test]
fn query_parameters_of_tls() {
    let file = |path: &str| Pem::File(path.into());
    let tls = |uri: &str| parsed(uri).tls_options().expect("TLS").clone();
    let uri = "amqps://host?cacertfile=%2Fetc%2Fca%20file.pem&certfile=/etc/c.pem&keyfile=/etc/k.pem\
               &verify=verify_peer&fail_if_no_peer_cert=true&server_name_indication=other.example";
    let expected = TlsOptions::new()
        .ca(file("/etc/ca file.pem"))
        .identity(file("/etc/c.pem"), file("/etc/k.pem"))
        .server_name(ServerName::Name("other.example".to_owned()));
    assert_eq!(tls(uri), expected);
    let both = file("both.pem");
    assert_eq!(tls("amqps://host?certfile=both.pem"), TlsOptions::new().identity(both.clone(), both));
    assert_eq!(
        tls("amqps://host?verify=verify_none&server_name_indication=disable"),
        TlsOptions::new().danger_accept_invalid_certificates().server_name(ServerName::NotSent)
    );
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("", "it does not begin with amqp:// or amqps://"),
        ("localhost", "it does not begin with amqp:// or amqps://"),
        ("localhost:5672", "it does not begin with amqp:// or amqps://"),
        ("http://host", "the scheme is \"http\", not \"amqp\" or \"amqps\""),
        ("amqp:host", "the host is missing"),
        ("amqp://ho st", "the host or port has a character that must be"),
        ("amqp://host:port", "the host or port has a character that must be"),
        ("amqp://us%er@host", "the user has a character that must be percent-encoded"),
        ("amqp://user:pass@word@host", "the password has a character that must be percent-encoded"),
        ("amqp://host/v host", "the virtual host has a character that must be percent-encoded"),
        ("amqp://host:0", "the port of \"host\" is not a number from 1 to 65535"),
        ("amqp://host:65536", "the port of \"host\" is not a number from 1 to 65535"),
        ("amqp://host/a/b", "the path has more than one segment (a slash in a virtual host is %2f)"),
        ("amqp://user:1/2@host", "an @ behind the host (in user"),
        ("amqp://host?name=a@b", "an @ behind the host (in user"),
        ("amqp://host/a#b", "it has a fragment"),
        ("amqp://%ff@host", "the user is not UTF-8"),
        ("amqp://host/%ff", "the virtual host is not UTF-8"),
        ("amqp://host?heartbeat=never", "the parameter \"heartbeat\" is not a number"),
        ("amqp://host?heartbeat=65536", "the parameter \"heartbeat\" is not a number"),
        ("amqp://host?heartbeat", "the parameter \"heartbeat\" is not a number"),
        ("amqp://host?heartbeat=1&heartbeat=2", "the parameter \"heartbeat\" is given twice"),
        ("amqp://host?connection_timeout=0", "the parameter \"connection_timeout\" is not"),
        ("amqp://host?channel_max=0", "the parameter \"channel_max\" is not"),
        ("amqp://host?frame_max=-1", "the parameter \"frame_max\" is not"),
        ("amqp://host?auth_mechanism=cram", "the parameter \"auth_mechanism\" is none of"),
        ("amqp://host?colour=red", "the parameter \"colour\" is not known"),
        ("amqp://host?name=%f", "the parameter \"name\" is not percent-encoded UTF-8"),
        ("amqp://host?cacertfile=ca.pem", "the parameter \"cacertfile\" needs the scheme amqps"),
        ("amqps://host?cacertfile", "the parameter \"cacertfile\" is empty"),
        ("amqps://host?keyfile=key.pem", "the parameter \"keyfile\" needs certfile too"),
        ("amqps://host?password=x", "the parameter \"password\" is not supported: decrypt the key file"),
        ("amqps://host?verify=maybe", "the parameter \"verify\" is neither verify_peer nor verify_none"),
        ("amqps://host?server_name_indication=", "the parameter \"server_name_indication\" is empty"),
        ("amqps://host?fail_if_no_peer_cert=1", "the parameter \"fail_if_no_peer_cert\" is neither true"),
    ];
    for (uri, expected) in cases {
        let error = parse(uri).expect_err(uri).to_string();
        assert!(error.starts_with(&format!("invalid URI: {expected}")), "{uri}: {error}");
    }
    for (part, uri) in
        [("virtual host", "amqp://host/".to_owned()), ("parameter", "amqp://host?name=".to_owned())]
    {
        let error = parse(&format!("{uri}{}", "v".repeat(256))).expect_err("too long").to_string();
        assert!(error.contains(part) && error.contains("longer than 255 bytes"), "{error}");
    }
}

#[test]
fn recovery_is_what_the_parameters_say() {
    let ms = Duration::from_millis;
    assert_eq!(parsed("amqp://host").recovery_options().mode, RecoveryMode::AfterFirstSuccess);
    for (value, mode) in [
        ("off", RecoveryMode::Off),
        ("on", RecoveryMode::AfterFirstSuccess),
        ("always", RecoveryMode::Always),
    ] {
        assert_eq!(parsed(&format!("amqp://host?recovery={value}")).recovery_options().mode, mode);
    }
    let options = parsed("amqp://host?recovery_backoff=20&recovery_backoff_max=300&recovery_timeout=4000");
    let recovery = options.recovery_options();
    assert_eq!((recovery.backoff.initial, recovery.backoff.max), (ms(20), ms(300)));
    assert_eq!(recovery.max_elapsed, Some(ms(4000)));
    assert_eq!(parsed("amqp://host?recovery_timeout=0").recovery_options().max_elapsed, None);
    for wrong in ["recovery=yes", "recovery_backoff=0", "recovery_backoff_max=x", "recovery_timeout=-1"] {
        let error = parse(&format!("amqp://host?{wrong}")).expect_err(wrong).to_string();
        let name = wrong.split('=').next().unwrap();
        assert!(error.starts_with(&format!("invalid URI: the parameter \"{name}\" is ")), "{error}");
    }
}

#[test]
fn a_password_is_not_shown() {
    let options = parsed("amqp://user:hunter2@host");
    assert!(!format!("{options:?}").contains("hunter2"));
    let tls = TlsOptions::new().identity(Pem::Text(b"hunter2".into()), Pem::Text(b"hunter2".into()));
    assert!(!format!("{:?}", options.tls(tls)).contains("104, 117, 110"));
    // Not encoded as it should be, it can end up anywhere.
    for password in [
        "hunter2/hunter2/hunter2",
        "hunter2#",
        "hunter2?hunter2",
        "hunter2?@hunter2=",
        "hunter2?name=%f%hunter2",
        "hun%ter2",
        "hun ter2",
        "hunter2@hunter2",
        "[hunter2",
        "2/hunter2/",
        "123456789/hunter2",
        "2?hunter2@=1",
        "2?hunter2&hunter2",
        "2@hunter2:0/2",
        "2@hunter2:65536?2",
    ] {
        for uri in [format!("amqp://user:{password}@host/vhost"), format!("amqps://user:{password}@h1,h2/v")]
        {
            let shown = match parse(&uri) {
                Ok(_) => continue,
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("hunter2") && !shown.contains("ter2"), "{uri}: {shown}");
        }
    }
}

/// Whatever it shows is one line, and does nothing to a terminal.
#[test]
fn what_is_wrong_is_shown_without_control_characters() {
    for uri in
        ["a\nb://host", "\u{1b}[31m://host", "amqp://a%0ab:0", "amqp://%1b[31m:0", "amqp://%1b%5b31m:0"]
    {
        let error = parse(uri).expect_err(uri).to_string();
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

/// Everything but unreserved characters, and some of those too.
fn encode(text: &str, also: bool) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'0'..=b'9' if !also => char::from(octet).to_string(),
        octet => format!("%{octet:02x}"),
    };
    text.bytes().map(octet).collect()
}

proptest! {
    #[test]
    fn trap_39_every_part_comes_out_as_it_was_encoded(
        user: String,
        password: String,
        vhost in "\\PC{0,60}",
        hosts in prop::collection::vec(("[a-z][a-z0-9.-]{0,20}", prop::option::of(1_u16..)), 1..5),
        name in "\\PC{0,60}",
        also: bool,
    ) {
        let list = hosts.iter().map(|(host, port)| match port {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        });
        let uri = format!(
            "amqp://{}:{}@{}/{}?name={}",
            encode(&user, also),
            encode(&password, also),
            list.collect::<Vec<_>>().join(","),
            encode(&vhost, also),
            encode(&name, also),
        );
        let options = parse(&uri).unwrap();
        let endpoints: Vec<_> =
            options.endpoints().into_iter().map(|endpoint| (endpoint.host, endpoint.port)).collect();
        let expected: Vec<_> =
            hosts.into_iter().map(|(host, port)| (host, port.unwrap_or(5672))).collect();
        prop_assert_eq!(endpoints, expected);
        prop_assert_eq!(options.config.credentials, Credentials::new(&user, &password));
        prop_assert_eq!(options.config.virtual_host, vhost.as_str());
        prop_assert_eq!(options.config.connection_name.unwrap(), name.as_str());
    }

    #[test]
    fn nothing_makes_it_panic(text: String, rest in "amqps?://\\PC*") {
        let _ = (parse(&text), parse(&rest));
    }
}

#[test]
fn what_may_be_part_of_a_password_is_no_name_of_a_parameter() {
    let error = "amqp://user:p@ss?word=x@host".parse::<ConnectOptions>().unwrap_err();
    assert_eq!(error.to_string(), "invalid URI: the parameter \"?\" is not known");
}
