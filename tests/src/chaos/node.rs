//! A RabbitMQ of our own, which several runs share and any of them may break.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::plan::Trouble;
use crate::node::Node;

/// What short of memory means, and enough.
const STARVED: &str = "0.0001";
const FED: &str = "0.6";

/// How long a queue's leader may take to show itself, in milliseconds.
const LEADER_PATIENCE: u32 = 5000;

/// A time in which the node was not itself.
#[derive(Debug, Clone, Copy)]
pub struct Disturbance {
    /// By what.
    pub kind: &'static str,
    /// From when.
    pub from: Instant,
    /// Until when, if it is over.
    pub until: Option<Instant>,
    /// Whether connections are lost by it.
    pub loses: bool,
}

/// The node.
#[derive(Debug)]
pub struct SharedNode {
    node: Arc<Node>,
    address: SocketAddr,
    /// Held for writing by who breaks it, for reading by who must not be disturbed.
    calm: RwLock<()>,
    disturbances: Mutex<Vec<Disturbance>>,
}

impl SharedNode {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When its URI does not say where it is.
    pub async fn start() -> Result<Self, String> {
        let node = spawn_blocking(|| Node::start(|_| ())).await.map_err(|error| error.to_string())?;
        let port = node.uri().rsplit(':').next().and_then(|rest| rest.split('/').next());
        let port: u16 = port.and_then(|port| port.parse().ok()).ok_or("no port in the node's URI")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { node: Arc::new(node), address, calm: RwLock::new(()), disturbances: Mutex::default() })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until nobody breaks it, and keeps it so.
    pub async fn calm(&self) -> RwLockReadGuard<'_, ()> {
        self.calm.read().await
    }

    /// What has happened to it since `from`.
    pub fn disturbances(&self, from: Instant) -> Vec<Disturbance> {
        let all = self.disturbances.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|it| it.until.is_none_or(|until| until >= from)).copied().collect()
    }

    /// Runs rabbitmqctl.
    ///
    /// # Errors
    ///
    /// What it complained of.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String, String> {
        self.script("ctl", arguments).await
    }

    /// Makes a virtual host that guest may use.
    ///
    /// # Errors
    ///
    /// What rabbitmqctl complained of.
    pub async fn add_vhost(&self, name: &str) -> Result<(), String> {
        self.ctl(&["add_vhost", name]).await?;
        self.ctl(&["set_permissions", "-p", name, "guest", ".*", ".*", ".*"]).await?;
        Ok(())
    }

    /// Deletes a virtual host.
    ///
    /// # Errors
    ///
    /// What rabbitmqctl complained of.
    pub async fn delete_vhost(&self, name: &str) -> Result<(), String> {
        self.ctl(&["delete_vhost", name]).await.map(drop)
    }

    /// Deletes a queue, whoever uses it.
    ///
    /// # Errors
    ///
    /// What rabbitmqctl complained of, other than that it is gone already.
    pub async fn delete_queue(&self, vhost: &str, queue: &str) -> Result<(), String> {
        match self.ctl(&["delete_queue", "-p", vhost, queue]).await {
            Err(error) if !error.contains("not found") => Err(error),
            _ => Ok(()),
        }
    }

    /// Closes the connections of a virtual host.
    ///
    /// # Errors
    ///
    /// What rabbitmqctl complained of.
    pub async fn close_all(&self, vhost: &str) -> Result<(), String> {
        self.ctl(&["close_all_connections", "-p", vhost, "chaos"]).await.map(drop)
    }

    /// The tags of the consumers in a virtual host.
    ///
    /// # Errors
    ///
    /// What rabbitmqctl complained of.
    pub async fn consumers(&self, vhost: &str) -> Result<Vec<String>, String> {
        let said = self
            .ctl(&["list_consumers", "--quiet", "--no-table-headers", "-p", vhost, "consumer_tag"])
            .await?;
        Ok(said.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// Whether a quorum queue has no leader, by the node's own word.
    ///
    /// # Errors
    ///
    /// What rabbitmqctl complained of, as when there is no such queue.
    pub async fn is_leaderless(&self, vhost: &str, queue: &str) -> Result<bool, String> {
        let members = format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)), \
             ra:members(amqqueue:get_pid(Q), {LEADER_PATIENCE})."
        );
        Ok(!self.ctl(&["eval", &members]).await?.trim_start().starts_with("{ok,"))
    }

    /// Kills, restarts or starves it, for everybody; back when it serves again.
    ///
    /// # Errors
    ///
    /// When it does not come back.
    pub async fn break_it(&self, trouble: Trouble) -> Result<(), String> {
        match trouble {
            Trouble::Kill => {
                self.disturb(trouble, async || {
                    self.script("kill", &[]).await?;
                    self.script("start", &[]).await.map(drop)
                })
                .await
            }
            Trouble::Restart => {
                self.disturb(trouble, async || {
                    self.script("stop", &[]).await?;
                    self.script("start", &[]).await.map(drop)
                })
                .await
            }
            Trouble::Alarm(time) => {
                self.disturb(trouble, async || {
                    self.ctl(&["set_vm_memory_high_watermark", STARVED]).await?;
                    sleep(time).await;
                    self.ctl(&["set_vm_memory_high_watermark", FED]).await.map(drop)
                })
                .await
            }
            _ => Ok(()),
        }
    }

    /// Stops it, waits for `meanwhile`, and starts it again.
    ///
    /// # Errors
    ///
    /// When it does not come back.
    pub async fn down_during(&self, meanwhile: impl Future<Output = ()>) -> Result<(), String> {
        self.disturb(Trouble::Restart, async || {
            self.script("stop", &[]).await?;
            meanwhile.await;
            self.script("start", &[]).await.map(drop)
        })
        .await
    }

    async fn disturb(
        &self,
        trouble: Trouble,
        work: impl AsyncFnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let _alone = self.calm.write().await;
        let at = {
            let mut all = self.disturbances.lock().unwrap_or_else(PoisonError::into_inner);
            let (kind, loses) = (trouble.kind(), trouble.loses());
            all.push(Disturbance { kind, from: Instant::now(), until: None, loses });
            all.len() - 1
        };
        let done = work().await;
        let mut all = self.disturbances.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disturbance) = all.get_mut(at) {
            disturbance.until = Some(Instant::now());
        }
        done
    }

    async fn script(&self, command: &'static str, arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let node = self.node.clone();
        let run = spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            node.try_script(command, &arguments)
        });
        run.await.map_err(|error| error.to_string())?
    }
}

/// How long after a disturbance everything must be well again.
pub const RECOVERY_DEADLINE: Duration = Duration::from_secs(30);
