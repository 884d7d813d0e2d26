//! What a builder can say that a URI cannot.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use hopmq::{ConnectOptions, Credentials, Endpoint, FieldValue, Heartbeat, Mechanism, TlsOptions, WireError};

fn endpoints(options: &ConnectOptions) -> String {
    options.endpoints().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn hosts_and_ports() {
    let new = ConnectOptions::new;
    assert_eq!(endpoints(&new()), "localhost:5672");
    assert_eq!(endpoints(&new().tls(TlsOptions::new())), "localhost:5671");
    assert_eq!(endpoints(&new().host("a").port(1)), "a:1");
    assert_eq!(endpoints(&new().port(1).host("a").tls(TlsOptions::new())), "a:1");
    assert_eq!(endpoints(&new().endpoint("a", 1).endpoint("::1", 2)), "a:1 [::1]:2");
    assert_eq!(endpoints(&new().endpoint("a", 1).host("b")), "b:5672");
    let two = [Endpoint { host: "a".into(), port: 1 }, Endpoint { host: "b".into(), port: 2 }];
    assert_eq!(endpoints(&new().endpoint("c", 3).with_endpoints(two)), "a:1 b:2");
    let uri: ConnectOptions = "amqp://a,b:2".parse().unwrap();
    assert_eq!(endpoints(&uri.port(7).endpoint("c", 3)), "a:7 b:2 c:3");
}

#[test]
fn everything_of_the_config_that_has_a_name_here() {
    let options = ConnectOptions::new()
        .credentials(Credentials::new("u", "p"))
        .mechanisms([Mechanism::AmqPlain])
        .virtual_host("v")
        .connection_name("n")
        .client_property("zone", "b")
        .heartbeat(Heartbeat::Off)
        .channel_max(7.try_into().unwrap())
        .frame_max(9000)
        .connect_timeout(Duration::from_secs(3))
        .call_timeout(Duration::from_secs(4))
        .publish_timeout(Duration::from_secs(5))
        .confirm_timeout(Duration::from_secs(6))
        .close_timeout(Duration::from_secs(7));
    assert_eq!(options.check(), Ok(()));
    let config = options.config;
    assert_eq!(config.credentials, Credentials::new("u", "p"));
    assert_eq!(config.mechanisms, [Mechanism::AmqPlain]);
    assert_eq!(config.virtual_host, "v");
    assert_eq!(config.connection_name.unwrap(), "n");
    assert_eq!(config.client_properties.get("zone").and_then(FieldValue::as_str), Some("b"));
    assert_eq!((config.heartbeat, config.channel_max.get(), config.frame_max), (Heartbeat::Off, 7, 9000));
    let timeouts =
        [config.call_timeout, config.publish_timeout, config.confirm_timeout, config.close_timeout];
    assert_eq!(config.connect_timeout, Duration::from_secs(3));
    assert_eq!(timeouts, [4, 5, 6, 7].map(Duration::from_secs));
    assert_eq!(ConnectOptions::new().external().config.credentials, Credentials::External);
}

#[test]
fn the_first_name_that_is_too_long_is_kept() {
    let long = "x".repeat(256);
    let checks = [
        ("virtual_host", ConnectOptions::new().virtual_host(&long).connection_name(&long)),
        ("connection_name", ConnectOptions::new().connection_name(&long)),
        ("client_property", ConnectOptions::new().client_property(&long, 1_i32).virtual_host(&long)),
    ];
    for (option, options) in checks {
        assert_eq!(options.check(), Err((option, WireError::ShortStrTooLong(256))));
    }
}
