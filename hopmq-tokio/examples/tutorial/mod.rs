//! What the tutorials share: where they run.

use std::error::Error;

use hopmq_tokio::{Broker, Connection, connect};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The server that `AMQP_URL` names, or else a broker inside this process.
pub(crate) struct Server {
    uri: String,
    _embedded: Option<Broker>,
}

impl Server {
    pub(crate) async fn find() -> Result<Self> {
        if let Ok(uri) = std::env::var("AMQP_URL") {
            return Ok(Self { uri, _embedded: None });
        }
        let broker = Broker::start().await?;
        Ok(Self { uri: broker.uri(), _embedded: Some(broker) })
    }

    /// A connection of its own, as each program of a tutorial has.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        Ok(connect(&self.uri).await?)
    }
}
