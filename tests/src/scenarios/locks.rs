//! Queues that belong to a connection, and when they are free again.

use hopmq::ShortStr;
use hopmq_proto::amqp::{Method, queue};

use super::{Raw, Server, eventually};

async fn declare(raw: &mut Raw, channel: u16, declare: queue::Declare) -> Result<(), u16> {
    match raw.call(channel, declare).await {
        Method::QueueDeclareOk(_) => Ok(()),
        Method::ChannelClose(close) => {
            raw.send(channel, hopmq_proto::amqp::channel::CloseOk {}).await;
            Err(close.reply_code)
        }
        other => panic!("{other:?}"),
    }
}

/// Who comes back before the server has seen the old connection die finds the queue locked: that passes.
pub async fn trap_40_an_exclusive_queue_is_locked_while_its_old_connection_dies(server: &Server) {
    let mut old = server.raw_channel().await;
    let mut new = server.raw_channel().await;
    let name = ShortStr::try_from(server.name("queue")).unwrap();
    let exclusive = queue::Declare { queue: name, exclusive: true, ..queue::Declare::default() };
    assert_eq!(declare(&mut old, 1, exclusive.clone()).await, Ok(()));
    assert_eq!(declare(&mut new, 1, exclusive.clone()).await, Err(405));
    new.expect_alive().await;
    drop(old); // without a word
    eventually("the queue is free", async || {
        new.open_channel(1).await;
        let declared = declare(&mut new, 1, exclusive.clone()).await;
        assert!(matches!(declared, Ok(()) | Err(405)), "{declared:?}");
        declared.is_ok()
    })
    .await;
}

/// Durable does not make it outlive its connection.
pub async fn trap_40_a_durable_exclusive_queue_goes_with_its_connection(server: &Server) {
    let mut raw = server.raw_channel().await;
    let name = ShortStr::try_from(server.name("queue")).unwrap();
    let durable = queue::Declare { queue: name, exclusive: true, durable: true, ..queue::Declare::default() };
    assert_eq!(declare(&mut raw, 1, durable.clone()).await, Ok(()));
    drop(raw);
    let mut raw = server.raw_channel().await;
    let passive = queue::Declare { passive: true, ..durable };
    eventually("the queue is gone", async || {
        let found = declare(&mut raw, 1, passive.clone()).await;
        assert!(matches!(found, Err(404 | 405)), "{found:?}");
        raw.open_channel(1).await;
        found == Err(404)
    })
    .await;
}
