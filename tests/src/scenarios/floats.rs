//! Floats that are no numbers: Erlang has none, so RabbitMQ fails where it reads the headers of a message.

use hopmq::{FieldTable, FieldValue, Properties};

use super::{Fate, Server, fate};

pub async fn must_be_finite(server: &Server) {
    let values: [FieldValue; 4] =
        [f32::INFINITY.into(), f32::NAN.into(), f64::NEG_INFINITY.into(), f64::NAN.into()];
    for value in values {
        let channel = server.channel().await;
        let publisher = channel.publisher().await.unwrap();
        let properties = Properties::new().with_headers(FieldTable::new().with("float", value));
        assert_eq!(fate(publisher.publish("key", "x").properties(&properties).await), Fate::Closed(541));
    }
}
