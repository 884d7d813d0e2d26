//! Every future of the client, dropped after every number of polls. `docs/cancel-safety.md` says what that does.

use std::future::{Future, IntoFuture, poll_fn, ready};
use std::num::NonZeroU16;
use std::pin::{Pin, pin};

use hopmq::{Channel, Config, Confirms, Connection, Error, ExchangeKind, OnError, Properties, Publisher};
use tokio::sync::Notify;

use super::{Server, after_polls, drop_after, eventually, yield_now};

/// Far more polls than any of these futures needs.
const MANY: usize = 50;
const CHANNELS: u16 = 8;

pub type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
pub type Operation = for<'a> fn(&'a Stage) -> Running<'a>;

/// What the operations are tried on.
#[derive(Debug)]
pub struct Stage {
    pub connection: Connection,
    pub channel: Channel,
    pub publisher: Publisher,
    pub names: Names,
}

#[derive(Debug, Clone)]
pub struct Names {
    /// Holds one message.
    pub queue: String,
    /// Is published to.
    pub sink: String,
    pub exchange: String,
    pub other_exchange: String,
    pub nothing: String,
}

/// An operation, made now and awaited later; what it gives is dropped.
fn on<'a, F: IntoFuture>(operation: F) -> Running<'a>
where
    F::IntoFuture: 'a,
{
    let future = operation.into_future();
    Box::pin(async move { drop(future.await) })
}

/// Every operation on a connection, a channel and a publisher. Those that need more than one call have scenarios of
/// their own below.
pub const OPERATIONS: &[(&str, Operation)] = &[
    ("open_channel", |on_| on(on_.connection.open_channel())),
    ("declare_queue", |on_| on(on_.channel.declare_queue(&on_.names.queue).exclusive())),
    ("declare_queue passive", |on_| on(on_.channel.declare_queue(&on_.names.queue).passive())),
    ("declare_exchange", |on_| {
        on(on_.channel.declare_exchange(&on_.names.exchange, &ExchangeKind::Fanout).durable())
    }),
    ("bind_queue", |on_| on(on_.channel.bind_queue(&on_.names.sink, &on_.names.exchange, "k"))),
    ("unbind_queue", |on_| {
        on(on_.channel.unbind_queue(&on_.names.sink, &on_.names.exchange, "k", Default::default()))
    }),
    ("bind_exchange", |on_| {
        let Names { exchange, other_exchange, .. } = &on_.names;
        on(on_.channel.bind_exchange(other_exchange, exchange, "k", Default::default()))
    }),
    ("unbind_exchange", |on_| {
        let Names { exchange, other_exchange, .. } = &on_.names;
        on(on_.channel.unbind_exchange(other_exchange, exchange, "k", Default::default()))
    }),
    ("purge_queue", |on_| on(on_.channel.purge_queue(&on_.names.sink))),
    ("delete_queue", |on_| on(on_.channel.delete_queue(&on_.names.nothing))),
    ("delete_exchange", |on_| on(on_.channel.delete_exchange(&on_.names.nothing))),
    ("delete_exchange_if_unused", |on_| on(on_.channel.delete_exchange_if_unused(&on_.names.nothing))),
    ("set_prefetch", |on_| on(on_.channel.set_prefetch(7))),
    ("set_channel_prefetch", |on_| on(on_.channel.set_channel_prefetch(7))),
    ("recover", |on_| on(on_.channel.recover())),
    ("get", |on_| on(on_.channel.get(&on_.names.queue))),
    ("get_no_ack", |on_| on(on_.channel.get_no_ack(&on_.names.sink))),
    ("consume", |on_| on(on_.channel.consume(&on_.names.queue).prefetch(3))),
    ("consume, next, cancel", |on_| {
        Box::pin(async {
            let mut consumer = on_.channel.consume(&on_.names.queue).await.unwrap();
            let delivery = consumer.next().await.unwrap();
            consumer.cancel().await.unwrap();
            delivery.nack(true).unwrap();
        })
    }),
    ("cancel_consumer", |on_| {
        Box::pin(async {
            let mut consumer = on_.channel.consume(&on_.names.queue).tag("mine").await.unwrap();
            on_.channel.cancel_consumer("mine").await.unwrap();
            while let Some(delivery) = consumer.next().await {
                delivery.nack(true).unwrap();
            }
        })
    }),
    ("publisher", |on_| on(on_.channel.publisher())),
    ("publish", |on_| on(on_.publisher.publish(&on_.names.sink, "confirmed"))),
    ("publish mandatory to nowhere", |on_| on(on_.publisher.publish(&on_.names.nothing, "back").mandatory())),
    ("publish, send", |on_| on(on_.publisher.publish(&on_.names.sink, "sent").send())),
    ("publish without confirms", |on_| {
        Box::pin(async {
            let properties = Properties::new();
            on_.channel.publish("", &on_.names.sink, &properties, "unconfirmed").await.unwrap();
        })
    }),
    ("wait_for_confirms", |on_| {
        let sent = on_.publisher.publish(&on_.names.sink, "waited for").try_send().unwrap();
        let wait = on_.publisher.wait_for_confirms();
        drop(sent);
        on(wait)
    }),
    ("rpc_client", |on_| on(on_.channel.rpc_client())),
    ("call of nobody", |on_| {
        Box::pin(async {
            let client = on_.channel.rpc_client().await.unwrap();
            let error = client.call(&on_.names.nothing, "anybody?").await.unwrap_err();
            assert!(error.is_unroutable(), "{error:?}");
        })
    }),
    ("call and serve", |on_| {
        Box::pin(async {
            let channel = on_.connection.open_channel().await.unwrap();
            let client = on_.channel.rpc_client().await.unwrap();
            let serving = channel.serve(&on_.names.sink, |_| ready(Ok::<_, ()>("the reply")));
            let call = client.call(&on_.names.sink, "a request").into_future();
            assert_eq!(beside(serving, call).await.unwrap().body(), b"the reply");
        })
    }),
    ("handle", |on_| {
        Box::pin(async {
            let mut consumer = on_.channel.consume(&on_.names.sink).await.unwrap();
            on_.publisher.publish(&on_.names.sink, "handled").await.unwrap();
            let handled = Notify::new();
            let handling = consumer.handle(2, OnError::Requeue, async |_| {
                handled.notify_one();
                Ok::<_, ()>(())
            });
            beside(handling, handled.notified()).await;
        })
    }),
    ("close a channel", |on_| on(on_.channel.close())),
];

/// Waits for `done`, while `work` goes on that does not end by itself; then drops it.
async fn beside<F: Future>(work: impl Future, done: F) -> F::Output {
    let (mut work, mut done) = (pin!(work), pin!(done));
    poll_fn(|cx| {
        assert!(work.as_mut().poll(cx).is_pending(), "there is more to do");
        done.as_mut().poll(cx)
    })
    .await
}

/// A channel, once the server has confirmed that the number of an earlier one is free.
async fn open_channel(connection: &Connection) -> Channel {
    let mut opened = None;
    eventually("a channel is free", async || {
        opened = connection.open_channel().await.ok();
        opened.is_some()
    })
    .await;
    opened.unwrap()
}

impl Stage {
    /// A channel for one attempt.
    async fn set(connection: &Connection, names: &Names) -> Self {
        let channel = open_channel(connection).await;
        let publisher = channel.publisher().await.unwrap();
        Self { connection: connection.clone(), channel, publisher, names: names.clone() }
    }

    /// The connection works, and so does the channel unless it was closed: each answer is to its own call.
    async fn round_trip(&self, operation: &str) {
        let other = open_channel(&self.connection).await;
        let found = other.declare_queue(&self.names.sink).passive().await.unwrap();
        assert_eq!(found.name(), self.names.sink, "{operation}");
        match self.channel.declare_queue(&self.names.queue).passive().await {
            Ok(found) => assert_eq!(found.name(), self.names.queue, "{operation}"),
            Err(error) => assert_eq!(operation, "close a channel", "{error}"),
        }
    }
}

/// Tries the operation once for each number of polls, and drops it when its answer has come as well as before.
async fn at_every_poll(connection: &Connection, names: &Names, name: &str, operation: Operation) {
    for is_answered in [false, true] {
        let mut polls = 0;
        loop {
            assert!(polls < MANY, "{name} is never ready");
            let stage = Stage::set(connection, names).await;
            let mut running = operation(&stage);
            let is_ready = after_polls(running.as_mut(), polls).await.is_some();
            if is_answered && !is_ready {
                stage.round_trip(name).await; // what it waits for has come by now
            }
            drop(running);
            stage.round_trip(name).await;
            if is_ready {
                break;
            }
            polls += 1;
        }
    }
}

async fn assert_nothing_is_left(connection: &Connection, keeper: &Channel, names: &Names, name: &str) {
    eventually(&format!("no consumer of \"{name}\" is left, and its message is back"), async || {
        let found = keeper.declare_queue(&names.queue).passive().await.unwrap();
        (found.consumer_count(), found.message_count()) == (0, 1)
    })
    .await;
    eventually(&format!("no channel of \"{name}\" is left"), async || {
        let mut channels = Vec::new();
        while let Ok(channel) = connection.open_channel().await {
            channels.push(channel);
        }
        channels.len() == usize::from(CHANNELS) - 1
    })
    .await;
}

/// Plays all operations on one connection, `rounds` times, and looks that nothing is left of them at the end; of each,
/// when there is one round only.
pub async fn rounds(
    server: &Server,
    operations: &[(&str, Operation)],
    rounds: usize,
    mut after_round: impl FnMut(usize),
) {
    let config = Config { channel_max: NonZeroU16::new(CHANNELS).unwrap(), ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    let keeper = connection.open_channel().await.unwrap();
    let names = Names {
        queue: server.name("queue"),
        sink: server.name("sink"),
        exchange: server.name("exchange"),
        other_exchange: server.name("exchange"),
        nothing: server.name("nothing"),
    };
    for queue in [&names.queue, &names.sink] {
        keeper.declare_queue(queue).exclusive().await.unwrap();
    }
    for exchange in [&names.exchange, &names.other_exchange] {
        keeper.declare_exchange(exchange, &ExchangeKind::Fanout).durable().await.unwrap();
    }
    super::publish_each(&keeper, &names.queue, ["the message"]).await;
    for round in 0..rounds {
        for (name, operation) in operations {
            at_every_poll(&connection, &names, name, *operation).await;
            if rounds == 1 {
                assert_nothing_is_left(&connection, &keeper, &names, name).await;
            }
        }
        keeper.purge_queue(&names.sink).await.unwrap();
        after_round(round);
    }
    assert_nothing_is_left(&connection, &keeper, &names, "all of them").await;
    for exchange in [&names.exchange, &names.other_exchange] {
        keeper.delete_exchange(exchange).await.unwrap();
    }
}

pub async fn every_operation_at_every_poll(server: &Server) {
    rounds(server, OPERATIONS, 1, |_| ()).await;
}

/// Dropping `next` loses no delivery and repeats none.
pub async fn next_at_every_poll(server: &Server) {
    const MESSAGES: usize = 20;
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut consumer = channel.consume(queue.name()).prefetch(2).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    for n in 0..MESSAGES {
        drop_after(consumer.next(), n % 2).await;
        publisher.publish(queue.name(), n.to_string()).await.unwrap();
        let delivery = loop {
            // Not polled, so not taken; else it is ready at last.
            assert!(!drop_after(consumer.next(), 0).await);
            if let Some(delivery) = after_polls(consumer.next(), 1 + n % 3).await {
                break delivery.unwrap();
            }
            yield_now().await;
        };
        assert_eq!(delivery.body(), n.to_string().as_bytes());
        delivery.ack().unwrap();
    }
    assert!(!drop_after(consumer.next(), 1).await);
}

/// A wait for confirms that is dropped leaves the rest to the next wait, what has failed included.
pub async fn confirms_at_every_poll(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    for polls in 0..MANY {
        let mut confirms = Confirms::new();
        for to in [queue.name(), queue.name(), &server.name("nowhere"), queue.name()] {
            confirms.push(publisher.publish(to, "").send().await.unwrap());
        }
        let ready = after_polls(confirms.wait(), polls).await;
        let outcome = match ready.clone() {
            Some(outcome) => outcome,
            None => confirms.wait().await,
        };
        assert!(outcome.is_err(), "after {polls} polls the message that came back is forgotten");
        assert!(confirms.is_empty());
        if ready.is_some() {
            let sent = 3 * u32::try_from(polls + 1).unwrap();
            assert_eq!(super::ready(&channel, queue.name()).await, sent);
            return;
        }
    }
    panic!("the wait never ends");
}

/// A listener and whoever waits for the end of the connection may go at any time.
pub async fn events_at_every_poll(server: &Server) {
    let connection = server.connect().await;
    let (mut events, mut kept) = (connection.events(), connection.events());
    for polls in 0..3 {
        assert!(!drop_after(events.next(), polls.min(1)).await);
        assert!(!drop_after(connection.closed(), polls.min(1)).await);
    }
    drop(events);
    connection.close().await.unwrap();
    assert!(matches!(kept.next().await, Some(hopmq::ConnectionEvent::Closed(_))));
    assert_eq!(*connection.closed().await, hopmq::CloseReason::Requested);
}

/// A close that nobody waits for closes all the same.
pub async fn close_at_every_poll(server: &Server) {
    for polls in 0..MANY {
        let connection = server.connect().await;
        let channel = connection.open_channel().await.unwrap();
        let ready = drop_after(connection.close(), polls).await;
        eventually("the connection is closed", async || connection.close_reason().is_some()).await;
        let later = channel.set_prefetch(1).await;
        assert!(matches!(later, Err(Error::Refused(_))), "{later:?}");
        if ready {
            return;
        }
    }
    panic!("the close never ends");
}
