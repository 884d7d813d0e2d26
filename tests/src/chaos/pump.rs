//! One direction of a proxied connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

/// The most that is read at once, and so what an order to stall may come late by.
const CHUNK: usize = 16 * 1024;
/// How often a throttled direction moves.
const TICK: Duration = Duration::from_millis(20);
const TICKS_A_SECOND: u64 = 50;
/// How many single bytes go before others have a turn.
const SINGLE_BYTES: usize = 256;

/// How the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Flow {
    #[default]
    Free,
    /// Not at all: nothing is read either, so that in time the sender's writes block.
    Stalled,
    /// So many bytes a second.
    Throttled(u64),
    SingleBytes,
}

/// How a direction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// In an orderly way, which was handed on.
    Closed,
    Failed,
}

/// Carries bytes from one leg to the other until either ends.
pub(super) async fn pump<T>(
    mut from: ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    mut orders: watch::Receiver<T>,
    flow: impl Fn(&T) -> Flow,
    carried: &AtomicU64,
) -> Ended {
    let mut buffer = vec![0; CHUNK];
    loop {
        if orders.wait_for(|orders| flow(orders) != Flow::Stalled).await.is_err() {
            return Ended::Failed;
        }
        let limit = match flow(&orders.borrow_and_update()) {
            Flow::Throttled(rate) => usize::try_from(rate / TICKS_A_SECOND).unwrap_or(CHUNK).clamp(1, CHUNK),
            _ => CHUNK,
        };
        let Some(room) = buffer.get_mut(..limit) else { return Ended::Failed };
        let read = tokio::select! {
            biased;
            changed = orders.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ended::Failed,
            },
            read = from.read(room) => read,
        };
        let chunk = match read {
            Ok(0) => {
                let _ = to.shutdown().await;
                return Ended::Closed;
            }
            Ok(n) => room.get(..n).unwrap_or_default(),
            Err(_) => return Ended::Failed,
        };
        if orders.wait_for(|orders| flow(orders) != Flow::Stalled).await.is_err() {
            return Ended::Failed;
        }
        let now = flow(&orders.borrow());
        if write(to, chunk, now, carried).await.is_err() {
            return Ended::Failed;
        }
    }
}

async fn write(to: &mut WriteHalf<'_>, chunk: &[u8], flow: Flow, carried: &AtomicU64) -> std::io::Result<()> {
    if flow == Flow::SingleBytes {
        for (n, byte) in chunk.iter().enumerate() {
            to.write_all(std::slice::from_ref(byte)).await?;
            carried.fetch_add(1, Ordering::Relaxed);
            if n % SINGLE_BYTES == 0 {
                tokio::task::yield_now().await;
            }
        }
        return Ok(());
    }
    to.write_all(chunk).await?;
    carried.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    if let Flow::Throttled(_) = flow {
        sleep(TICK).await;
    }
    Ok(())
}
