//! A session and a server that answers what it is asked, but for what a test has it do instead.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::BytesMut;
use hopmq_proto::amqp::{Method, ShortStr, basic, channel, confirm, connection, queue};
use hopmq_proto::client::{CallError, ChannelId, Config, Event, Recovery, Reply, Session, Token};
use hopmq_proto::{Engine, Instant, Want};

use crate::net::take;
use crate::support::{Sent, TUNE, decode, method, start};

/// What the server does with a method, in place of what it would.
pub(crate) enum Act {
    Answer,
    Say(u16, Method),
    Nothing,
}

pub(crate) type Acting = dyn FnMut(u16, &Method) -> Act;

pub(crate) struct Script {
    pub session: Session,
    pub now: Instant,
    pub tune: connection::Tune,
    pub events: Vec<Event>,
    /// What the client has sent in this life.
    pub sent: Vec<(u16, Method)>,
    /// How many transports were opened.
    pub dials: usize,
    pub act: Box<Acting>,
    /// Channels that the server has closed, until the client says so too; 0 is the connection.
    closing: BTreeSet<u16>,
    to_server: BytesMut,
}

impl Script {
    pub(crate) fn new(recovery: Recovery) -> Self {
        Self::with(Config::default(), recovery)
    }

    pub(crate) fn with(config: Config, recovery: Recovery) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let mut script = Self {
            session: Session::new(config, recovery, 1, 7, now),
            now,
            tune: TUNE,
            events: Vec::new(),
            sent: Vec::new(),
            dials: 0,
            act: Box::new(|_, _| Act::Answer),
            closing: BTreeSet::new(),
            to_server: BytesMut::new(),
        };
        script.run();
        assert!(script.session.is_open());
        script
    }

    /// Does everything that can be done without the clock moving.
    pub(crate) fn run(&mut self) {
        for _ in 0..10_000 {
            self.take_events();
            match self.session.want() {
                Want::Dial { .. } => {
                    self.dials += 1;
                    self.sent.clear();
                    self.to_server.clear();
                    self.closing.clear();
                    self.session.handle_connected(self.now);
                }
                Want::Wait => return,
                Want::Shutdown if self.session.close_reason().is_some() => return,
                Want::Shutdown => {
                    self.listen();
                    self.session.handle_disconnected(self.now);
                }
                _ => {
                    if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
                        self.session.handle_timeout(self.now);
                    } else if !self.listen() {
                        return;
                    }
                }
            }
        }
        panic!("it does not come to rest: {:?}", self.session);
    }

    fn take_events(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
    }

    /// Takes what the client has sent, and answers it.
    fn listen(&mut self) -> bool {
        take(self.session.outbox(), &mut self.to_server);
        let sent = decode(&mut self.to_server);
        for sent in &sent {
            match sent {
                Sent::Greeting => self.say(0, start("PLAIN")),
                Sent::Method(channel, method) => self.on_method(*channel, method),
                _ => {}
            }
        }
        !sent.is_empty()
    }

    fn on_method(&mut self, channel: u16, method: &Method) {
        self.sent.push((channel, method.clone()));
        if let Method::ChannelCloseOk(_) | Method::ConnectionCloseOk(_) = method {
            self.closing.remove(&channel);
        } else if self.closing.contains(&channel) || self.closing.contains(&0) {
            return; // what comes behind a close is dropped
        }
        match (self.act)(channel, method) {
            Act::Answer => {
                if let Some(answer) = answer(method, self.tune.clone()) {
                    self.say(channel, answer);
                }
            }
            Act::Say(channel, method) => {
                if let Method::ChannelClose(_) | Method::ConnectionClose(_) = method {
                    self.closing.insert(channel);
                }
                self.say(channel, method);
            }
            Act::Nothing => {}
        }
    }

    pub(crate) fn say(&mut self, channel: u16, said: impl Into<Method>) {
        self.session.handle_input(&mut method(channel, said), self.now);
    }

    /// The stream breaks.
    pub(crate) fn cut(&mut self) {
        self.session.handle_eof(self.now);
        self.session.handle_disconnected(self.now);
        self.take_events();
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.run();
            match self.session.poll_timeout() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            self.session.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// The same, with a server that says something every now and then.
    pub(crate) fn pass_with_a_living_server(&mut self, time: Duration) {
        let step = Duration::from_secs(5);
        let end = self.now + time;
        while self.now < end {
            self.pass(step.min(end - self.now));
            if self.session.want() == Want::ReadWrite {
                self.say(0, connection::Unblocked {});
                self.run();
            }
        }
    }

    pub(crate) fn channel(&mut self) -> ChannelId {
        let (id, token) = self.session.open_channel(self.now).unwrap();
        self.run();
        self.reply(token).unwrap().unwrap();
        id
    }

    pub(crate) fn call(&mut self, channel: ChannelId, method: impl Into<Method>) -> Token {
        self.session.call(channel, method, self.now).unwrap()
    }

    pub(crate) fn consume(&mut self, channel: ChannelId, tag: &'static str) -> Token {
        let queue = ShortStr::from_static("q");
        let consumer_tag = ShortStr::from_static(tag);
        let token = self.call(channel, basic::Consume { queue, consumer_tag, ..Default::default() });
        self.run();
        self.reply(token).unwrap().unwrap();
        token
    }

    pub(crate) fn reply(&mut self, call: Token) -> Option<Result<Reply, CallError>> {
        let is_it = |event: &Event| matches!(event, Event::Reply { token, .. } if *token == call);
        let at = self.events.iter().position(is_it)?;
        match self.events.remove(at) {
            Event::Reply { result, .. } => Some(result),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is_it(event)).count()
    }
}

fn answer(method: &Method, tune: connection::Tune) -> Option<Method> {
    Some(match method {
        Method::ConnectionStartOk(_) => tune.into(),
        Method::ConnectionOpen(_) => connection::OpenOk {}.into(),
        Method::ConnectionClose(_) => connection::CloseOk {}.into(),
        Method::ChannelOpen(_) => channel::OpenOk {}.into(),
        Method::ChannelClose(_) => channel::CloseOk {}.into(),
        Method::ConfirmSelect(_) => confirm::SelectOk {}.into(),
        Method::BasicQos(_) => basic::QosOk {}.into(),
        Method::BasicConsume(consume) => {
            basic::ConsumeOk { consumer_tag: consume.consumer_tag.clone() }.into()
        }
        Method::BasicCancel(cancel) => basic::CancelOk { consumer_tag: cancel.consumer_tag.clone() }.into(),
        Method::QueueDeclare(declare) if !declare.no_wait => {
            queue::DeclareOk { queue: declare.queue.clone(), ..Default::default() }.into()
        }
        _ => return None,
    })
}
