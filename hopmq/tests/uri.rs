//! Connection URIs, by the rules of RabbitMQ's URI specification.

#![allow(clippy::expect_used, clippy::panic)]

use std::time::Duration;

use hopmq::{ConnectOptions, Credentials, Heartbeat, UriError};

fn parse(uri: &str) -> Result<ConnectOptions, UriError> {
    uri.parse()
}

/// Host, port, virtual host and credentials.
fn parts(uri: &str) -> (String, u16, String, Credentials) {
    let options = parse(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
    let vhost = options.config.virtual_host.to_string();
    (options.host, options.port, vhost, options.config.credentials)
}

#[test]
fn trap_39_what_a_uri_leaves_out_has_a_default() {
    let guest = Credentials::new("guest", "guest");
    assert_eq!(parts("amqp://"), ("localhost".into(), 5672, "/".into(), guest.clone()));
    assert_eq!(parts("amqp://host"), ("host".into(), 5672, "/".into(), guest.clone()));
    assert_eq!(parts("amqp://host:"), ("host".into(), 5672, "/".into(), guest.clone()));
    assert_eq!(parts("AMQP://host:5673"), ("host".into(), 5673, "/".into(), guest));
}

#[test]
fn trap_39_an_empty_virtual_host_is_not_an_absent_one() {
    assert_eq!(parts("amqp://host").2, "/");
    assert_eq!(parts("amqp://host/").2, "");
    assert_eq!(parts("amqp://host/%2f").2, "/");
    assert_eq!(parts("amqp://host/a%2Fb").2, "a/b");
}

#[test]
fn trap_39_user_password_and_virtual_host_are_percent_decoded() {
    let (_, _, vhost, credentials) = parts("amqp://us%61er:p%40%3a%2fss@host/v%68ost");
    assert_eq!(vhost, "vhost");
    assert_eq!(credentials, Credentials::new("usaer", "p@:/ss"));
    assert_eq!(parts("amqp://user:@host").3, Credentials::new("user", ""));
}

#[test]
fn trap_39_ipv6_addresses_stand_in_brackets() {
    assert_eq!(parts("amqp://[::1]").0, "::1");
    let options = parse("amqp://[2001:db8::1]:5673/").expect("a URI");
    assert_eq!((options.host.as_str(), options.port), ("2001:db8::1", 5673));
    assert_eq!(options.address(), "[2001:db8::1]:5673");
}

#[test]
fn query_parameters_set_what_they_name() {
    let uri = "amqp://host?heartbeat=7&connection_timeout=1500&channel_max=9";
    let config = parse(uri).expect("a URI").config;
    assert_eq!(config.heartbeat, Heartbeat::Seconds(7.try_into().expect("not zero")));
    assert_eq!(config.connect_timeout, Duration::from_millis(1500));
    assert_eq!(config.channel_max.get(), 9);
    assert_eq!(parse("amqp://host?heartbeat=0").expect("a URI").config.heartbeat, Heartbeat::Off);
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("", "invalid URI: "),
        ("localhost", "invalid URI: "),
        ("http://host", "invalid URI: the scheme is \"http\", not \"amqp\""),
        ("amqps://host", "invalid URI: the scheme is \"amqps\", not \"amqp\""),
        ("amqp:host", "invalid URI: the host is missing"),
        ("amqp://host:0", "invalid URI: \"0\" is not a port"),
        ("amqp://host:65536", "invalid URI: \"65536\" is not a port"),
        ("amqp://host/a/b", "invalid URI: the path \"a/b\" has more than one segment"),
        ("amqp://%ff@host", "invalid URI: the user is not UTF-8"),
        ("amqp://host/%ff", "invalid URI: the virtual host is not UTF-8"),
        ("amqp://host?heartbeat=never", "invalid URI: the parameter \"heartbeat\" is not a number"),
        ("amqp://host?heartbeat", "invalid URI: the parameter \"heartbeat\" is not a number"),
        ("amqp://host?connection_timeout=0", "invalid URI: the parameter \"connection_timeout\" is not"),
        ("amqp://host?channel_max=0", "invalid URI: the parameter \"channel_max\" is not"),
        ("amqp://host?colour=red", "invalid URI: the parameter \"colour\" is not known"),
    ];
    for (uri, expected) in cases {
        let error = parse(uri).expect_err(uri).to_string();
        assert!(error.starts_with(expected), "{uri}: {error}");
    }
    let long = format!("amqp://host/{}", "v".repeat(256));
    assert_eq!(parse(&long).expect_err("too long"), UriError::Text("virtual host"));
}

#[test]
fn a_password_is_not_shown() {
    let options = parse("amqp://user:hunter2@host").expect("a URI");
    assert!(!format!("{options:?}").contains("hunter2"));
}
