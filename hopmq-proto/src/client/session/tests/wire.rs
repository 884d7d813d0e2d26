//! The network between a restore and its server: answers come late, and some are refusals.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::format;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;

use super::server::Server;
use super::short;
use crate::Instant;
use crate::amqp::{Method, ReplyCode, ShortStr, exchange, queue};
use crate::client::session::{Entity, EntityOutcome, Restore, RestoreConfig, Step, Topology};
use crate::client::{CloseReason, ServerClose};

/// What the server does instead of carrying out a method.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    Code(ReplyCode),
    /// 405 until then.
    LockedUntil(Instant),
    /// It closes the channel and names no method, so many times.
    Unexplained(u32),
    /// It closes the connection; whether it names the method.
    Hard(ReplyCode, bool),
}

pub(super) struct Wire {
    pub(super) config: RestoreConfig,
    pub(super) refusals: BTreeMap<String, Refusal>,
    /// Whether the next thing to happen is at the server, over and over.
    pub(super) pace: Vec<bool>,
    pub(super) now: Instant,
    /// What reached the server and was refused for good.
    pub(super) refused: Vec<String>,
    /// What reached the server at all.
    pub(super) sent: Vec<Method>,
    /// Channels that were opened.
    pub(super) channels: usize,
}

/// The server has closed the connection.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) culprit: Option<Box<Entity>>,
    pub(super) decided: Vec<EntityOutcome>,
}

enum Answer {
    Opened,
    Reply(Method),
    ChannelClosed(ServerClose),
    ConnectionClosed(ServerClose),
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            config: RestoreConfig::default(),
            refusals: BTreeMap::new(),
            pace: [true, false].into(),
            now: Instant::from_nanos(1),
            refused: Vec::new(),
            sent: Vec::new(),
            channels: 0,
        }
    }
}

impl Wire {
    /// Runs a restore to its end, or to that of the connection.
    pub(super) fn run(
        &mut self,
        mut restore: Restore,
        server: &mut Server,
        topology: &mut Topology,
    ) -> Result<Vec<EntityOutcome>, Ended> {
        let (mut to_server, mut to_client) = (VecDeque::new(), VecDeque::new());
        let mut is_open = false;
        let mut pace = self.pace.clone().into_iter().cycle();
        for _ in 0..200_000 {
            if pace.next().unwrap() {
                match restore.next(self.now) {
                    Step::OpenChannel => {
                        assert!(!is_open, "one channel");
                        assert_eq!(to_server.len() + to_client.len(), 0);
                        is_open = true;
                        self.channels += 1;
                        to_client.push_back(Answer::Opened);
                    }
                    Step::Send(method) => {
                        assert!(is_open);
                        to_server.push_back(method);
                        assert!(to_server.len() + to_client.len() <= self.config.window, "the window");
                    }
                    Step::Wait => assert!(to_server.len() + to_client.len() > 0, "nothing will come"),
                    Step::WaitUntil(until) => {
                        assert_eq!(to_server.len() + to_client.len(), 0);
                        assert_eq!(restore.poll_timeout(), Some(until));
                        assert!(until > self.now);
                        self.now = until;
                    }
                    Step::CloseChannel => {
                        assert!(is_open);
                        assert_eq!(to_server.len() + to_client.len(), 0);
                        is_open = false;
                    }
                    Step::Done(outcomes) => {
                        assert!(!is_open, "the channel is closed");
                        return Ok(outcomes);
                    }
                }
                continue;
            }
            if let Some(method) = to_server.pop_front() {
                let answer = self.answer(server, &method);
                if !matches!(answer, Answer::Reply(_)) {
                    to_server.clear(); // it carries out nothing behind that
                }
                to_client.push_back(answer);
            }
            match to_client.pop_front() {
                None => {}
                Some(Answer::Opened) => restore.on_channel_opened(),
                Some(Answer::Reply(reply)) => {
                    if let Some(renamed) = restore.on_reply(&reply) {
                        topology.rename(&renamed.old, &renamed.new);
                    }
                }
                Some(Answer::ChannelClosed(close)) => {
                    is_open = false;
                    restore.on_channel_closed(&Arc::new(CloseReason::Server(close)), self.now);
                }
                Some(Answer::ConnectionClosed(close)) => {
                    let culprit = restore.on_connection_closed(&Arc::new(CloseReason::Server(close)));
                    return Err(Ended { culprit: culprit.map(Box::new), decided: restore.take_outcomes() });
                }
            }
        }
        panic!("it does not end: {restore:?}");
    }

    fn answer(&mut self, server: &mut Server, method: &Method) -> Answer {
        self.sent.push(method.clone());
        let name = name(method);
        let (class_id, method_id) = method.id();
        let text = short("no");
        let close = |code| ServerClose { code, text: text.clone(), class_id, method_id };
        match self.refusals.get_mut(&name) {
            Some(Refusal::Code(code)) => {
                self.refused.push(name);
                return Answer::ChannelClosed(close(*code));
            }
            Some(Refusal::LockedUntil(until)) if self.now < *until => {
                return Answer::ChannelClosed(close(ReplyCode::RESOURCE_LOCKED));
            }
            Some(Refusal::Unexplained(times @ 1..)) => {
                *times -= 1;
                let code = ReplyCode::INTERNAL_ERROR;
                return Answer::ChannelClosed(ServerClose { class_id: 0, method_id: 0, ..close(code) });
            }
            Some(Refusal::Hard(code, true)) => {
                self.refused.push(name);
                return Answer::ConnectionClosed(close(*code));
            }
            Some(Refusal::Hard(code, false)) => {
                self.refused.push(name);
                return Answer::ConnectionClosed(ServerClose { class_id: 0, method_id: 0, ..close(*code) });
            }
            _ => {}
        }
        match server.execute(method) {
            Ok(declared) => Answer::Reply(ok(method, declared)),
            Err(close) => {
                if !matches!(method, Method::QueueDeclare(declare) if declare.passive) {
                    self.refused.push(name);
                }
                Answer::ChannelClosed(close)
            }
        }
    }

    /// Nothing was sent again that had been refused.
    pub(super) fn assert_refused_once(&self) {
        let names: BTreeSet<&String> = self.refused.iter().collect();
        // Queues that are still to be named are different ones.
        let named = self.refused.iter().filter(|name| *name != "queue \"\"").count();
        assert_eq!(names.iter().filter(|name| **name != "queue \"\"").count(), named, "{:?}", self.refused);
    }
}

/// The entity of a method, in the words that it has for itself.
pub(super) fn name(method: &Method) -> String {
    match method.clone() {
        Method::ExchangeDeclare(declare) => Entity::Exchange(declare).to_string(),
        Method::ExchangeBind(bind) => Entity::ExchangeBinding(bind).to_string(),
        Method::QueueDeclare(declare) if declare.passive => format!("look for {}", declare.queue),
        Method::QueueDeclare(declare) => Entity::Queue { name: declare.queue.clone(), declare }.to_string(),
        Method::QueueBind(bind) => Entity::Binding(bind).to_string(),
        other => panic!("{other:?}"),
    }
}

fn ok(method: &Method, declared: Option<ShortStr>) -> Method {
    match method {
        Method::ExchangeDeclare(_) => exchange::DeclareOk {}.into(),
        Method::ExchangeBind(_) => exchange::BindOk {}.into(),
        Method::QueueDeclare(_) => {
            queue::DeclareOk { queue: declared.unwrap_or_default(), ..Default::default() }.into()
        }
        Method::QueueBind(_) => queue::BindOk {}.into(),
        other => panic!("{other:?}"),
    }
}
