//! `chaos-lapin [--runs N] [--from SEED] [--seed SEED] [--parallel N] [--minutes N] [--verbose]`: lapin under the same chaos as HopMQ.
//!
//! The workload, the proxy, the node, the checker and the deadlines are those of `tests/chaos`. lapin recovers as its
//! documentation says: `enable_auto_recover`, and `wait_for_recovery` with every error of a publish or of a consumer's stream.
//! Its pauses between attempts to reconnect are shortened to what HopMQ's are, so that it is not measured by its defaults.

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::StreamExt;
use hopmq_tests::chaos::client::{
    Ack, Client, Consumer, Dial, EXCHANGE, Publisher, QueueSpec, Taken, WhenLost,
};
use hopmq_tests::chaos::history::{Outcome, QueueKind};
use hopmq_tests::chaos::report;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Error, ExchangeKind,
    PublisherConfirm,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The pauses between attempts to reconnect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// More attempts than any run has time for.
const ATTEMPTS: usize = 1000;

fn main() -> ExitCode {
    report::main::<Lapin>()
}

#[derive(Debug, Clone)]
struct Lapin(Arc<Connection>);

impl Client for Lapin {
    const NAME: &'static str = "lapin";
    const SEVERAL_ENDPOINTS: bool = false;
    type Publisher = LapinPublisher;
    type Consumer = LapinConsumer;

    async fn connect(dial: &Dial) -> Result<Self, String> {
        let endpoint = dial.endpoints.last().ok_or("no endpoint")?;
        let uri = format!(
            "amqp://guest:guest@{endpoint}/{}?heartbeat={}&connection_timeout={}",
            dial.vhost,
            dial.heartbeat,
            dial.connect_timeout.as_millis()
        );
        let (first, longest) = PAUSES;
        let properties = ConnectionProperties::default()
            .with_connection_name(dial.name.as_str().into())
            .configure_backoff(|backoff| {
                backoff.with_min_delay(first).with_max_delay(longest).with_max_times(ATTEMPTS).with_jitter()
            })
            .enable_auto_recover();
        let connection = Connection::connect(&uri, properties).await.map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(connection)))
    }

    async fn publisher(&self, _: WhenLost) -> Result<LapinPublisher, String> {
        let publisher = async {
            let channel = self.0.create_channel().await?;
            declare_exchange(&channel).await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(LapinPublisher(channel))
        };
        publisher.await.map_err(|error: Error| error.to_string())
    }

    async fn consumer(&self, queue: &QueueSpec, tag: &str, prefetch: u16) -> Result<LapinConsumer, String> {
        let consumer = async {
            let channel = self.0.create_channel().await?;
            declare_exchange(&channel).await?;
            let mut arguments = FieldTable::default();
            if queue.kind == QueueKind::Quorum {
                arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            }
            let options = match queue.kind {
                QueueKind::Durable | QueueKind::Quorum => QueueDeclareOptions::durable(),
                QueueKind::Exclusive | QueueKind::ServerNamed => QueueDeclareOptions::exclusive(),
            };
            let declared = channel.queue_declare(queue.name.as_str().into(), options, arguments).await?;
            let (name, none) = (declared.name().clone(), FieldTable::default);
            let (key, bind) = (queue.key.as_str().into(), QueueBindOptions::default());
            channel.queue_bind(name.clone(), EXCHANGE.into(), key, bind, none()).await?;
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let consume = BasicConsumeOptions::default();
            let consumer = channel.basic_consume(name, tag.into(), consume, none()).await?;
            Ok(LapinConsumer { channel, consumer })
        };
        consumer.await.map_err(|error: Error| error.to_string())
    }

    async fn close(self) -> Result<(), String> {
        self.0.close(200, "done".into()).await.map_err(|error| error.to_string())
    }
}

async fn declare_exchange(channel: &Channel) -> Result<(), Error> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Direct, options, FieldTable::default()).await
}

#[derive(Debug)]
struct LapinPublisher(Channel);

impl Publisher for LapinPublisher {
    type Confirm = Confirm;

    async fn send(&mut self, key: &str, body: Bytes) -> Result<Confirm, Outcome> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent = self.0.basic_publish(EXCHANGE.into(), key.into(), options, &body, properties).await;
        match sent {
            Ok(confirm) => Ok(Confirm(confirm)),
            Err(error) => {
                let outcome = Outcome::NotSent(error.to_string());
                let _ = self.0.wait_for_recovery(error).await;
                Err(outcome)
            }
        }
    }
}

struct Confirm(PublisherConfirm);

impl Future for Confirm {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0).poll(cx).map(|confirmed| match confirmed {
            Ok(Confirmation::Ack(None)) => Outcome::Confirmed,
            Ok(Confirmation::Ack(Some(_))) => Outcome::Returned,
            Ok(Confirmation::Nack(_)) => Outcome::Nacked,
            Ok(Confirmation::NotRequested) => Outcome::Unknown("no confirm was requested".to_owned()),
            Err(error) => Outcome::Unknown(error.to_string()),
        })
    }
}

#[derive(Debug)]
struct LapinConsumer {
    channel: Channel,
    consumer: lapin::Consumer,
}

impl Consumer for LapinConsumer {
    type Ack = Acknowledge;

    async fn next(&mut self) -> Result<Taken<Acknowledge>, String> {
        loop {
            match self.consumer.next().await {
                Some(Ok(delivery)) => {
                    return Ok(Taken {
                        body: delivery.data.into(),
                        redelivered: delivery.redelivered,
                        possible_duplicate: false,
                        ack: Acknowledge(delivery.acker),
                    });
                }
                Some(Err(error)) => {
                    self.channel.wait_for_recovery(error).await.map_err(|error| error.to_string())?;
                }
                None => return Err("the stream has ended".to_owned()),
            }
        }
    }
}

#[derive(Debug)]
struct Acknowledge(Acker);

impl Ack for Acknowledge {
    async fn ack(self) -> Result<(), String> {
        self.0.ack(BasicAckOptions::default()).await.map(drop).map_err(|error| error.to_string())
    }
}
