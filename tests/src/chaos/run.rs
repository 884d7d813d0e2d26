//! One run, from its seed to its findings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::checker::{Finding, RecoveryTime, check, owed, recovery_times};
use super::client::{Client, Dial, QueueSpec};
use super::history::{History, Injected, Outcome, QueueKind};
use super::ledger::Ledger;
use super::network::Network;
use super::node::{RECOVERY_DEADLINE, SharedNode};
use super::plan::{Beginning, Plan, QueuePlan, Server, Trouble};
use super::workload::{Shared, consume, is_failed, publish};

/// How long a publish, a confirm or a call of the client's may take.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the beginning may take, with the node down or refusing.
const BEGINNING: Duration = Duration::from_secs(60);
/// The pause between attempts to begin.
const PAUSE: Duration = Duration::from_millis(100);
/// How long publishing goes on when all is well again.
const TAIL: Duration = Duration::from_millis(500);
/// How long everything that is awaited may take to resolve in the end.
const RESOLVED: Duration = Duration::from_secs(35);
/// How long what is owed may take to come in the end.
const DRAIN: Duration = Duration::from_secs(20);
/// How long the broker may take to forget what is gone.
const FORGET: Duration = Duration::from_secs(15);
/// How long a node that is down stays so once the client dials.
const DOWN: Duration = Duration::from_millis(1500);

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The run.
    pub plan: Plan,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether the broker had a quorum queue without a leader, so that what does not go on there is no finding.
    pub is_spoilt: bool,
    /// How many faults of each kind were injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// How many messages were handed to the client.
    pub published: u64,
    /// How many were confirmed.
    pub confirmed: u64,
    /// How many failed, so that the program would have to send them again.
    pub failed: u64,
    /// How many messages were consumed, each once.
    pub consumed: u64,
    /// How many deliveries were of messages that had come before.
    pub duplicates: u64,
    /// How often the program had to repair something by itself.
    pub repairs: u64,
    /// How long it took to recover.
    pub recoveries: Vec<RecoveryTime>,
    /// What happened, in lines.
    pub log: Vec<String>,
}

/// Runs the run of a seed with a client.
pub async fn run<C: Client>(node: Arc<SharedNode>, seed: u64) -> Report {
    let plan = Plan::new(seed, Server { may_break: true });
    let ledger = Arc::new(Ledger::new(empty_history(&plan)));
    let failed = attempt::<C>(&node, &plan, &ledger).await.err();
    let mut report = report(plan, &ledger);
    report.findings.extend(failed.map(Finding::Failed));
    report
}

fn empty_history(plan: &Plan) -> History {
    History {
        queues: plan.queues.iter().map(|queue| queue.kind).collect(),
        queue_of: plan.publishers.iter().map(|publisher| publisher.queue).collect(),
        published: plan.publishers.iter().map(|_| Vec::new()).collect(),
        ..History::default()
    }
}

async fn attempt<C: Client>(node: &Arc<SharedNode>, plan: &Plan, ledger: &Arc<Ledger>) -> Result<(), String> {
    let vhost = format!("chaos-{}-{}", C::NAME, plan.seed);
    {
        let _calm = node.calm().await;
        node.add_vhost(&vhost).await?;
    }
    let network = Network::start(node.address(), plan.endpoints).await.map_err(|error| error.to_string())?;
    let network = Arc::new(network);
    let endpoints = if C::SEVERAL_ENDPOINTS { network.endpoints() } else { network.last_endpoint() };
    let dial = Dial {
        endpoints,
        vhost: vhost.clone(),
        name: vhost.clone(),
        heartbeat: plan.heartbeat,
        connect_timeout: CONNECT_TIMEOUT,
        patience: PATIENCE,
        seed: plan.seed,
    };
    let beginning = begin(node, plan, &network, ledger).await?;
    let run = Running { node, plan, ledger, network: &network, vhost: &vhost };
    let all = run.all::<C>(&dial).await;
    let _ = beginning.await;
    let _calm = node.calm().await;
    node.delete_vhost(&vhost).await?;
    all
}

/// Has the client begin with what the plan says; the task ends when the beginning's trouble is over.
async fn begin(
    node: &Arc<SharedNode>,
    plan: &Plan,
    network: &Arc<Network>,
    ledger: &Arc<Ledger>,
) -> Result<tokio::task::JoinHandle<()>, String> {
    let from = ledger.now();
    let (ledger, network, node) = (ledger.clone(), network.clone(), node.clone());
    let over = move |ledger: &Ledger, kind| {
        ledger.injected(Injected { kind, from, until: ledger.now(), loses: true });
    };
    Ok(match plan.beginning {
        Beginning::Up => tokio::spawn(async {}),
        Beginning::Refused(time) => {
            network.refuse();
            tokio::spawn(async move {
                sleep(time).await;
                network.open_again();
                over(&ledger, "refused-at-start");
            })
        }
        Beginning::NodeDown => {
            let (down, is_down) = oneshot::channel();
            let task = tokio::spawn(async move {
                let meanwhile = async {
                    let _ = down.send(());
                    sleep(DOWN).await;
                };
                if let Err(error) = node.down_during(meanwhile).await {
                    ledger.book().failures.push(error);
                }
                over(&ledger, "node-down-at-start");
            });
            is_down.await.map_err(|_| "the node could not be stopped".to_owned())?;
            task
        }
    })
}

/// A run whose client is about to connect.
struct Running<'a> {
    node: &'a Arc<SharedNode>,
    plan: &'a Plan,
    ledger: &'a Arc<Ledger>,
    network: &'a Arc<Network>,
    vhost: &'a str,
}

impl Running<'_> {
    async fn all<C: Client>(&self, dial: &Dial) -> Result<(), String> {
        let (stop_publishing, publishing) = watch::channel(false);
        let (stop_consuming, consuming) = watch::channel(false);
        let begun = timeout(BEGINNING, self.connect::<C>(dial)).await;
        let Ok((for_publishers, for_consumers)) = begun else {
            return self.never_began();
        };
        let shared = |client: &C, stop| Shared {
            client: client.clone(),
            ledger: self.ledger.clone(),
            seed: self.plan.seed,
            stop,
        };
        let (mut consumers, mut publishers) = (JoinSet::new(), JoinSet::new());
        // RabbitMQ 3.10 that is killed while it makes a quorum queue may leave one that no declare is ever answered for.
        let calm = self.node.calm().await;
        let started = timeout(BEGINNING, async {
            let tags = self.start_consumers(&shared(&for_consumers, consuming), &mut consumers).await;
            self.start_publishers(&shared(&for_publishers, publishing), &mut publishers).await;
            tags
        });
        let Ok(tags) = started.await else {
            return self.never_began();
        };
        drop(calm);

        self.make_trouble().await;
        // From here on the node is left alone, so that what is not well is the client's doing.
        let _calm = self.node.calm().await;
        self.await_recovery().await;
        sleep(TAIL).await;
        stop_publishing.send_replace(true);
        let resolved = timeout(RESOLVED, async { while publishers.join_next().await.is_some() {} }).await;
        if resolved.is_err() {
            let pending = self.ledger.pending();
            self.ledger.book().history.pending.extend(pending);
        }
        self.ledger.until(|history| owed(history).is_empty(), DRAIN).await;
        self.compare_consumers(&tags).await?;
        stop_consuming.send_replace(true);
        if timeout(RESOLVED, async { while consumers.join_next().await.is_some() {} }).await.is_err() {
            let pending = self.ledger.pending();
            self.ledger.book().history.pending.extend(pending);
        }
        consumers.shutdown().await;
        publishers.shutdown().await;
        self.close(for_publishers, for_consumers).await;
        Ok(())
    }

    /// Faults at the beginning are over, and there is no client.
    fn never_began(&self) -> Result<(), String> {
        let pending = self.ledger.pending();
        self.ledger.book().history.not_recovered.push(format!("the beginning: {}", pending.join(", ")));
        Ok(())
    }

    /// The connections of publishers and consumers, which may be one. A program tries again.
    async fn connect<C: Client>(&self, dial: &Dial) -> (C, C) {
        let publishers = self.connect_one::<C>(dial).await;
        if self.plan.one_connection {
            return (publishers.clone(), publishers);
        }
        (publishers, self.connect_one::<C>(dial).await)
    }

    async fn connect_one<C: Client>(&self, dial: &Dial) -> C {
        loop {
            match self.ledger.track("connect", C::connect(dial)).await {
                Ok(client) => return client,
                Err(error) => self.ledger.repaired(&format!("connects again: {error}")),
            }
            sleep(PAUSE).await;
        }
    }

    async fn start_consumers<C: Client>(
        &self,
        shared: &Shared<C>,
        tasks: &mut JoinSet<()>,
    ) -> Vec<watch::Receiver<Option<String>>> {
        let mut tags = Vec::new();
        for (queue, plan) in self.plan.queues.iter().enumerate() {
            let name =
                if plan.kind == QueueKind::ServerNamed { String::new() } else { self.queue_name(queue) };
            let spec = QueueSpec { kind: plan.kind, name, key: key(queue) };
            for _ in 0..plan.consumers {
                let number = tags.len();
                let tag = format!("c{number}");
                let consumer = loop {
                    let consumer = shared.client.consumer(&spec, &tag, plan.prefetch);
                    match self.ledger.track("consumer", consumer).await {
                        Ok(consumer) => break consumer,
                        Err(error) => self.ledger.repaired(&format!("consumer {number}: {error}")),
                    }
                    sleep(PAUSE).await;
                };
                let (sender, receiver) = watch::channel(Some(tag));
                tags.push(receiver);
                tasks.spawn(consume(shared.clone(), number, *plan, spec.clone(), consumer, sender));
            }
        }
        tags
    }

    async fn start_publishers<C: Client>(&self, shared: &Shared<C>, tasks: &mut JoinSet<()>) {
        for (number, plan) in (0u16..).zip(&self.plan.publishers) {
            let publisher = loop {
                let publisher = shared.client.publisher(plan.when_lost);
                match self.ledger.track("publisher", publisher).await {
                    Ok(publisher) => break publisher,
                    Err(error) => self.ledger.repaired(&format!("publisher {number}: {error}")),
                }
                sleep(PAUSE).await;
            };
            tasks.spawn(publish(shared.clone(), number, *plan, key(plan.queue), publisher));
        }
    }

    fn queue_name(&self, queue: usize) -> String {
        format!("q{queue}")
    }

    async fn make_trouble(&self) {
        let middle = self.plan.troubles.len() / 2;
        for (n, (pause, trouble)) in self.plan.troubles.iter().enumerate() {
            sleep(*pause).await;
            if n == middle && self.network.lose_one() {
                self.ledger.log("one of two endpoints is down from now on");
            }
            self.ledger.log(&format!("{} begins", trouble.kind()));
            let from = self.ledger.now();
            if let Err(error) = self.make(*trouble).await {
                self.ledger.book().failures.push(format!("{}: {error}", trouble.kind()));
            }
            let until = self.ledger.now();
            self.ledger.injected(Injected { kind: trouble.kind(), from, until, loses: trouble.loses() });
        }
    }

    async fn make(&self, trouble: Trouble) -> Result<(), String> {
        match trouble {
            Trouble::Network(fault) => {
                self.network.apply(fault).await;
                Ok(())
            }
            Trouble::CloseAll => {
                let _calm = self.node.calm().await;
                self.node.close_all(self.vhost).await
            }
            Trouble::DeleteQueue(queue) => {
                let _calm = self.node.calm().await;
                let deleted = self.node.delete_queue(self.vhost, &self.queue_name(queue)).await;
                self.ledger.erased(Some(queue));
                deleted
            }
            Trouble::VhostGone(time) => {
                let _calm = self.node.calm().await;
                self.node.delete_vhost(self.vhost).await?;
                self.ledger.erased(None);
                sleep(time).await;
                self.node.add_vhost(self.vhost).await
            }
            Trouble::Alarm(_) | Trouble::Kill | Trouble::Restart => self.node.break_it(trouble).await,
        }
    }

    /// Waits until every queue is served and every publisher is confirmed again.
    async fn await_recovery(&self) {
        let base = self.last_fault();
        let left = RECOVERY_DEADLINE.saturating_sub(self.ledger.now().saturating_sub(base));
        if self.ledger.until(|history| not_recovered(history, base).is_empty(), left).await {
            let now = self.ledger.now();
            self.ledger.log("recovered");
            self.ledger.book().history.settled_from = Some(now);
        } else {
            let missing = not_recovered(&self.ledger.book().history, base);
            let leaderless = self.leaderless().await;
            let mut book = self.ledger.book();
            book.history.not_recovered = missing;
            book.history.leaderless = leaderless;
        }
    }

    /// The quorum queues that the broker itself cannot reach.
    async fn leaderless(&self) -> Vec<usize> {
        let mut leaderless = Vec::new();
        for (queue, _) in self.quorum_queues() {
            match self.node.is_leaderless(self.vhost, &self.queue_name(queue)).await {
                Ok(false) => {}
                Ok(true) => {
                    self.ledger.log(&format!("the broker says: queue {queue} has no leader"));
                    leaderless.push(queue);
                }
                Err(error) => self.ledger.log(&format!("the leader of queue {queue}: {error}")),
            }
        }
        leaderless
    }

    fn quorum_queues(&self) -> impl Iterator<Item = (usize, &QueuePlan)> {
        self.plan.queues.iter().enumerate().filter(|(_, plan)| plan.kind == QueueKind::Quorum)
    }

    /// When the last fault was over, of this run or of the node.
    fn last_fault(&self) -> Duration {
        let node = self.node.disturbances(self.ledger.start());
        let mut book = self.ledger.book();
        for disturbance in &node {
            // Those of this run are on record already.
            let from = self.ledger.since(disturbance.from);
            let until = disturbance.until.map_or(from, |until| self.ledger.since(until));
            let known = book.history.injected.iter().any(|it| it.from <= from && until <= it.until);
            if !known {
                let kind = OTHERS;
                book.history.injected.push(Injected { kind, from, until, loses: disturbance.loses });
            }
        }
        let last = book.history.injected.iter().map(|it| it.until).max();
        last.unwrap_or_default()
    }

    /// The broker lists the consumers that the client believes in; what is gone it may take a while to notice.
    async fn compare_consumers(&self, tags: &[watch::Receiver<Option<String>>]) -> Result<(), String> {
        let deadline = Instant::now() + FORGET;
        loop {
            let mut listed = self.node.consumers(self.vhost).await?;
            let mut believed: Vec<String> = tags.iter().filter_map(|tag| tag.borrow().clone()).collect();
            listed.sort();
            believed.sort();
            if listed == believed || Instant::now() > deadline {
                let mut book = self.ledger.book();
                (book.history.listed, book.history.believed) = (listed, believed);
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    async fn close<C: Client>(&self, for_publishers: C, for_consumers: C) {
        let close = async {
            if !self.plan.one_connection
                && let Err(error) = self.ledger.track("close", for_consumers.close()).await
            {
                self.ledger.log(&format!("close: {error}"));
            }
            if let Err(error) = self.ledger.track("close", for_publishers.close()).await {
                self.ledger.log(&format!("close: {error}"));
            }
        };
        if timeout(FORGET, close).await.is_err() {
            self.ledger.book().history.pending.push("close".to_owned());
        }
        let after = self.network.after_close(FORGET).await;
        self.ledger.book().history.after_close = after;
    }
}

/// What a disturbance is called that another run has made.
const OTHERS: &str = "node-disturbed-by-others";

fn key(queue: usize) -> String {
    format!("k{queue}")
}

/// What is not served yet, of what was published since `base`.
fn not_recovered(history: &History, base: Duration) -> Vec<String> {
    let mut missing = Vec::new();
    let mut served = vec![false; history.queues.len()];
    for (publisher, messages) in history.published.iter().enumerate() {
        let confirmed = messages
            .iter()
            .rev()
            .take_while(|it| it.at >= base)
            .any(|it| matches!(it.outcome, Some((Outcome::Confirmed, _))));
        if !confirmed {
            missing.push(format!("no confirm for publisher {publisher}"));
        }
    }
    for delivered in history.delivered.iter().rev().take_while(|it| it.at >= base) {
        let Some(id) = delivered.id else { continue };
        let publisher = usize::from(id.publisher);
        let messages = history.published.get(publisher);
        let number = usize::try_from(id.number).unwrap_or(usize::MAX);
        let fresh = messages.and_then(|it| it.get(number)).is_some_and(|message| message.at >= base);
        let queue = history.queue_of.get(publisher).and_then(|queue| served.get_mut(*queue));
        if let (true, Some(queue)) = (fresh, queue) {
            *queue = true;
        }
    }
    for (queue, _) in served.iter().enumerate().filter(|(_, served)| !**served) {
        if history.queue_of.contains(&queue) {
            missing.push(format!("no delivery from queue {queue}"));
        }
    }
    missing
}

fn report(plan: Plan, ledger: &Ledger) -> Report {
    let mut book = ledger.book();
    let history = std::mem::take(&mut book.history);
    let outcomes = || history.published.iter().flatten().filter_map(|it| it.outcome.as_ref());
    let consumed: std::collections::HashSet<_> = history.delivered.iter().filter_map(|it| it.id).collect();
    let mut faults = BTreeMap::new();
    for injected in history.injected.iter().filter(|it| it.kind != OTHERS) {
        *faults.entry(injected.kind).or_default() += 1;
    }
    let mut findings = check(&history);
    findings.extend(book.failures.drain(..).map(Finding::Failed));
    Report {
        plan,
        findings,
        is_spoilt: !history.leaderless.is_empty(),
        faults,
        published: history.published.iter().map(|it| it.len() as u64).sum(),
        confirmed: outcomes().filter(|(outcome, _)| *outcome == Outcome::Confirmed).count() as u64,
        failed: outcomes().filter(|(outcome, _)| is_failed(outcome)).count() as u64,
        consumed: consumed.len() as u64,
        duplicates: (history.delivered.len() - consumed.len()) as u64,
        repairs: book.repairs,
        recoveries: recovery_times(&history),
        log: std::mem::take(&mut book.log),
    }
}
