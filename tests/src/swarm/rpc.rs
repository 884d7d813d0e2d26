//! Requests and replies.

use std::sync::Arc;
use std::time::Duration;

use hopmq_sim::{Error, Random, Received, RpcError};

use super::client::Client;
use super::phase::Phase;
use crate::chaos::checker::Finding;

const QUEUE: &str = "requests";
const LIMIT: Duration = Duration::from_secs(3);

/// Replies to every request with the request.
pub(super) async fn serve(client: Arc<Client>) {
    while client.phase() < Phase::Closing {
        let Some(connection) = client.connection().await else { return };
        let serving = async {
            let channel = client.call("open channel", connection.open_channel()).await?;
            client.call("declare queue", channel.declare_queue(QUEUE).durable().into_future()).await?;
            let serve = channel.serve(QUEUE, |request: Received| async move {
                Ok::<_, Error>(request.into_message().into_body())
            });
            drop(connection);
            client.shared.phases.unless(Phase::Closing, serve).await.transpose()
        };
        if serving.await.is_err() {
            client.pause().await;
        }
    }
}

/// Asks, and looks at what comes.
pub(super) async fn ask(client: Arc<Client>) {
    let mut random = client.random();
    let mut number = 0;
    while client.phase() < Phase::Settled {
        let Some(connection) = client.connection().await else { return };
        if asking(&client, &connection, &mut number, &mut random).await.is_err() {
            client.pause().await;
        }
    }
}

async fn asking(
    client: &Client,
    connection: &hopmq_sim::Connection,
    number: &mut u64,
    random: &mut Random,
) -> Result<(), Error> {
    let channel = client.call("open channel", connection.open_channel()).await?;
    let rpc = client.call("rpc client", channel.rpc_client().timeout(LIMIT).into_future()).await?;
    while channel.is_open() && client.phase() < Phase::Settled {
        *number += 1;
        let body = format!("request {number}");
        let ledger = client.ledger();
        match ledger.within(LIMIT, "rpc", rpc.call(QUEUE, body.clone()).into_future()).await {
            Ok(reply) if reply.body() == body.as_bytes() => {
                ledger.count(|tally| tally.replies += 1);
                if client.phase() >= Phase::Settling {
                    ledger.book().back.insert("requests".into());
                    client.shared.phases.reached(Phase::Settled).await;
                    return Ok(());
                }
            }
            Ok(reply) => {
                let text = String::from_utf8_lossy(reply.body()).into_owned();
                ledger.find(Finding::FromNowhere(format!("the reply to {body} is to {text}")));
            }
            Err(RpcError::Ended(_)) => {
                client.pause().await;
                return Ok(());
            }
            Err(_) => {
                ledger.count(|tally| tally.no_replies += 1);
                client.pause().await;
            }
        }
        client.dawdle(random, 1_000, Phase::Settled).await;
    }
    Ok(())
}
