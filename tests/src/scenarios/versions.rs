//! Where RabbitMQ 4 answers otherwise than RabbitMQ 3.10. The embedded broker is like 4, but for what would break
//! programs that ran with 3.10: it speaks nothing but AMQP 0-9-1, and takes messages as large as 3.10 does.

use hopmq::ShortStr;
use hopmq_proto::amqp::{Method, PROTOCOL_HEADER, exchange};

use super::{Fate, Server, Version, fate};

pub async fn unknown_exchange_type(server: &Server) {
    let mut raw = server.raw_channel().await;
    let exchange = ShortStr::try_from(server.name("exchange")).unwrap();
    let kind = ShortStr::from_static("nonsense");
    raw.send(1, exchange::Declare { exchange, kind, durable: true, ..exchange::Declare::default() }).await;
    match server.version().await {
        Version::RabbitMq3 => {
            raw.expect_connection_close(503, "COMMAND_INVALID - unknown exchange type 'nonsense'").await;
        }
        Version::RabbitMq4 | Version::Embedded => {
            let text = "PRECONDITION_FAILED - unknown exchange type 'nonsense'";
            raw.expect_channel_close(1, 406, text).await;
            raw.expect_alive().await;
        }
    }
}

/// Trap 1: a server names the protocol that it expects, and closes. RabbitMQ 4 takes what is no AMQP for a client of
/// AMQP 1.0, but answers an older AMQP 0-9 with what 3.10 says.
pub async fn protocol_header(server: &Server) {
    let amqp_1_0_with_sasl = b"AMQP\x03\x01\x00\x00";
    let to_strangers = match server.version().await {
        Version::RabbitMq4 => amqp_1_0_with_sasl,
        Version::RabbitMq3 | Version::Embedded => &PROTOCOL_HEADER,
    };
    for (header, answer) in [
        (b"GET / HT", to_strangers),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", to_strangers), // the start of a TLS handshake
        (b"AMQP\x00\x00\x09\x00", &PROTOCOL_HEADER),
    ] {
        let mut raw = server.raw().await;
        raw.write(header).await;
        assert_eq!(raw.rest().await, answer[..], "to {header:?}");
    }
}

pub async fn mechanisms(server: &Server) {
    let mut raw = server.raw().await;
    raw.write(&PROTOCOL_HEADER).await;
    let (_, start) = raw.method().await;
    let Method::ConnectionStart(start) = start else { panic!("{start:?}") };
    let mechanisms = start.mechanisms.to_string_lossy();
    let mut mechanisms: Vec<_> = mechanisms.split(' ').collect();
    mechanisms.sort_unstable();
    match server.version().await {
        Version::RabbitMq4 => assert_eq!(mechanisms, ["AMQPLAIN", "ANONYMOUS", "PLAIN"]),
        Version::RabbitMq3 | Version::Embedded => assert_eq!(mechanisms, ["AMQPLAIN", "PLAIN"]),
    }
}

/// Trap 20: the default limit was 128 MiB, and is 16 MiB since 4.0.
pub async fn message_size(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    for (size, refused_by_4) in [(16 << 20, false), ((16 << 20) + 1, true)] {
        let fate = fate(publisher.publish(queue.name(), vec![0; size]).await);
        let refused = refused_by_4 && server.version().await == Version::RabbitMq4;
        assert_eq!(fate, if refused { Fate::Closed(406) } else { Fate::Confirmed }, "{size} bytes");
    }
}
