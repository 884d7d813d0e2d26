//! HopMQ, as a client under test: a connection that recovers, and nothing else of its own.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use hopmq_tokio::{
    Backoff, ConnectOptions, Connection, Delivery, ExchangeKind, Heartbeat, PublishError, Recovery,
    RecoveryMode, connect_with,
};

use super::client::{Ack, Client, Consumer, Dial, EXCHANGE, Publisher, QueueSpec, Taken, WhenLost};
use super::history::{Outcome, QueueKind};

/// The header of a message that may have been sent before.
const POSSIBLE_DUPLICATE: &str = "x-possible-duplicate";

/// The longest pause between attempts to come back.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// HopMQ.
#[derive(Debug, Clone)]
pub struct HopMq(Connection);

impl Client for HopMq {
    const NAME: &'static str = "hopmq";
    const SEVERAL_ENDPOINTS: bool = true;
    type Publisher = HopPublisher;
    type Consumer = hopmq_tokio::Consumer;

    async fn connect(dial: &Dial) -> Result<Self, String> {
        let recovery = Recovery {
            mode: RecoveryMode::Always,
            backoff: Backoff { max: LONGEST_PAUSE, ..Backoff::default() },
            ..Recovery::default()
        };
        let mut options = ConnectOptions::new()
            .virtual_host(&dial.vhost)
            .connection_name(&dial.name)
            .heartbeat(NonZeroU16::new(dial.heartbeat).map_or(Heartbeat::Off, Heartbeat::Seconds))
            .connect_timeout(dial.connect_timeout)
            .recovery(recovery)
            .call_timeout(dial.patience)
            .publish_timeout(dial.patience)
            .confirm_timeout(dial.patience);
        for endpoint in &dial.endpoints {
            options = options.endpoint(endpoint.ip().to_string(), endpoint.port());
        }
        connect_with(options).await.map(Self).map_err(|error| error.to_string())
    }

    async fn publisher(&self, when_lost: WhenLost) -> Result<HopPublisher, String> {
        let publisher = async {
            let channel = self.0.open_channel().await?;
            channel.declare_exchange(EXCHANGE, &ExchangeKind::Direct).durable().await?;
            channel.publisher().exchange(EXCHANGE).mandatory().when_lost(when_lost.into()).await
        };
        publisher.await.map(HopPublisher).map_err(|error| error.to_string())
    }

    async fn consumer(
        &self,
        queue: &QueueSpec,
        tag: &str,
        prefetch: u16,
    ) -> Result<hopmq_tokio::Consumer, String> {
        let consumer = async {
            let channel = self.0.open_channel().await?;
            channel.declare_exchange(EXCHANGE, &ExchangeKind::Direct).durable().await?;
            let declare = channel.declare_queue(&queue.name);
            let declared = match queue.kind {
                QueueKind::Durable => declare.durable().await?,
                QueueKind::Quorum => declare.quorum().await?,
                QueueKind::Exclusive | QueueKind::ServerNamed => declare.exclusive().await?,
            };
            channel.bind_queue(declared.name(), EXCHANGE, &queue.key).await?;
            channel.consume(declared.name()).tag(tag).prefetch(prefetch).await
        };
        consumer.await.map_err(|error: hopmq_tokio::Error| error.to_string())
    }

    async fn close(self) -> Result<(), String> {
        self.0.close().await.map_err(|error| error.to_string())
    }
}

impl From<WhenLost> for hopmq_tokio::WhenLost {
    fn from(when_lost: WhenLost) -> Self {
        match when_lost {
            WhenLost::Resend => Self::Resend,
            WhenLost::Hold => Self::Hold,
            WhenLost::Fail => Self::Fail,
        }
    }
}

/// A publisher of HopMQ's.
#[derive(Debug)]
pub struct HopPublisher(hopmq_tokio::Publisher);

impl Publisher for HopPublisher {
    type Confirm = Confirmed;

    async fn send(&mut self, key: &str, body: Bytes) -> Result<Confirmed, Outcome> {
        self.0.publish(key, body).send().await.map(Confirmed).map_err(|error| outcome(&error))
    }
}

/// A confirm of HopMQ's, as a future of what became of the message.
#[derive(Debug)]
pub struct Confirmed(hopmq_tokio::Confirm);

impl Future for Confirmed {
    type Output = Outcome;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Outcome> {
        std::pin::Pin::new(&mut self.0)
            .poll(cx)
            .map(|result| result.map_or_else(|error| outcome(&error), |()| Outcome::Confirmed))
    }
}

fn outcome(error: &PublishError) -> Outcome {
    match error {
        PublishError::Nacked => Outcome::Nacked,
        PublishError::Returned(_) => Outcome::Returned,
        PublishError::Unconfirmed(_) => Outcome::Unknown(error.to_string()),
        _ => Outcome::NotSent(error.to_string()),
    }
}

impl Consumer for hopmq_tokio::Consumer {
    type Ack = Delivery;

    async fn next(&mut self) -> Result<Taken<Delivery>, String> {
        let Some(delivery) = Self::next(self).await else {
            return Err(self.end().map_or_else(|| "ended".to_owned(), |end| end.to_string()));
        };
        let properties = delivery.properties().ok();
        Ok(Taken {
            body: delivery.body_bytes(),
            redelivered: delivery.redelivered(),
            possible_duplicate: properties.is_some_and(|it| it.header(POSSIBLE_DUPLICATE).is_some()),
            ack: delivery,
        })
    }
}

impl Ack for Delivery {
    async fn ack(self) -> Result<(), String> {
        Self::ack(self).map_err(|error| error.to_string())
    }
}
