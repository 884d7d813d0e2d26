//! What the clients are measured by: one piece of work against a server.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Instant;

use hopmq::{Bytes, Channel, Connection, Properties};

/// How many publishes may wait for their confirm at once.
const WINDOW: usize = 1000;

/// A piece of work, as the command line has it: `WORK COUNT SIZE HOST:PORT`.
#[derive(Debug)]
pub struct Job {
    work: String,
    count: u64,
    size: usize,
    /// The server.
    pub uri: String,
    /// On how many threads the client runs.
    pub threads: usize,
}

impl Job {
    /// The one that the program was called with; `HOPMQ_BENCH_THREADS` says on how many threads, one unless it is set.
    ///
    /// # Errors
    ///
    /// When it was not called so.
    pub fn from_args() -> Result<Self, Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1);
        let mut next = |what: &str| arguments.next().ok_or_else(|| format!("missing {what}"));
        Ok(Self {
            work: next("WORK")?,
            count: next("COUNT")?.parse()?,
            size: next("SIZE")?.parse()?,
            uri: format!("amqp://{}", next("HOST:PORT")?),
            threads: std::env::var("HOPMQ_BENCH_THREADS").map_or(Ok(1), |threads| threads.parse())?,
        })
    }

    /// Measures `run`, and prints one line of figures.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn measure(
        &self,
        run: impl FnOnce(&Self) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let (start, cpu_start) = (Instant::now(), cpu_seconds());
        run(self)?;
        let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu_start);
        println!(
            "hopmq {} n={} size={} wall={wall:.3}s rate={:.0}/s cpu={:.3}us/msg",
            self.work,
            self.count,
            self.size,
            self.count as f64 / wall,
            cpu * 1e6 / self.count as f64,
        );
        Ok(())
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// When anything fails.
    pub async fn run(&self, connection: Connection) -> Result<(), Box<dyn Error>> {
        let channel = connection.open_channel().await?;
        match self.work.as_str() {
            "pub" => publish(self, &channel).await?,
            "confirm" => confirm(self, &channel, WINDOW).await?,
            "confirm1" => confirm(self, &channel, 1).await?,
            "consume" => consume(self, &channel, true).await?,
            "consume-auto" => consume(self, &channel, false).await?,
            other => return Err(format!("no work {other}").into()),
        }
        connection.close().await?;
        Ok(())
    }
}

async fn publish(job: &Job, channel: &Channel) -> Result<(), Box<dyn Error>> {
    let queue = channel.declare_queue("bench").durable().await?;
    let (body, properties) = (Bytes::from(vec![b'x'; job.size]), Properties::new().persistent());
    for _ in 0..job.count {
        channel.publish("", queue.name(), &properties, body.clone()).await?;
    }
    Ok(())
}

async fn confirm(job: &Job, channel: &Channel, window: usize) -> Result<(), Box<dyn Error>> {
    let queue = channel.declare_queue("bench").durable().await?;
    let publisher = channel.publisher().await?;
    let body = Bytes::from(vec![b'x'; job.size]);
    let mut waiting = VecDeque::with_capacity(window);
    for _ in 0..job.count {
        waiting.push_back(publisher.publish(queue.name(), body.clone()).send().await?);
        if waiting.len() == window
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.await?;
        }
    }
    for confirm in waiting {
        confirm.await?;
    }
    Ok(())
}

async fn consume(job: &Job, channel: &Channel, acks: bool) -> Result<(), Box<dyn Error>> {
    let queue = channel.declare_queue(&format!("d-{}-{}", job.count, job.size)).durable().await?;
    let consume = channel.consume(queue.name()).prefetch(1000);
    let mut deliveries = if acks { consume } else { consume.no_ack() }.await?;
    for _ in 0..job.count {
        let delivery = deliveries.next().await.ok_or("the consumer ended early")?;
        if delivery.body().len() != job.size {
            return Err("a body has the wrong size".into());
        }
        delivery.ack()?;
    }
    Ok(())
}

/// CPU time of this process so far, user and system.
fn cpu_seconds() -> f64 {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    // SAFETY: getrusage only writes to the struct it is given, and all zeroes is a valid rusage.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
