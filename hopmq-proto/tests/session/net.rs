//! A session and a broker, and a network between them that breaks when it is told to.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{Method, Properties, Publish, ShortStr, basic, confirm, queue};
use hopmq_proto::broker::{self, Broker, ConnectionId, Peer};
use hopmq_proto::client::{
    ChannelId, Config, Confirmation, Event, Recovery, Reply, Session, Token, WhenLost,
};
use hopmq_proto::{Engine, Instant, Want};

pub(crate) struct Net {
    pub session: Session,
    pub broker: Broker,
    pub now: Instant,
    /// Whether endpoints answer.
    pub up: Vec<bool>,
    pub dialled: Vec<usize>,
    pub events: Vec<Event>,
    server: Option<ConnectionId>,
    to_client: BytesMut,
    to_server: BytesMut,
}

impl Net {
    pub(crate) fn new(recovery: Recovery) -> Self {
        Self::with(Config::default(), recovery, 1)
    }

    pub(crate) fn with(config: Config, recovery: Recovery, endpoints: usize) -> Self {
        let now = Instant::from_nanos(1);
        let mut net = Self {
            session: Session::new(config, recovery, endpoints, 7, now),
            broker: Broker::new(broker::Config::default()),
            now,
            up: vec![true; endpoints],
            dialled: Vec::new(),
            events: Vec::new(),
            server: None,
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
        };
        net.run();
        net
    }

    /// Does everything that can be done without the clock moving.
    pub(crate) fn run(&mut self) {
        while self.step() {}
        self.take_events();
    }

    fn take_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }

    pub(crate) fn step(&mut self) -> bool {
        self.take_events();
        match self.session.want() {
            Want::Dial { endpoint, .. } => {
                self.dialled.push(endpoint);
                if self.up[endpoint] {
                    let peer = Peer { loopback: true, name: "net".into() };
                    self.server = Some(self.broker.accept(peer, self.now));
                    self.session.handle_connected(self.now);
                } else {
                    self.session.handle_dial_error("refused".into(), self.now);
                }
                true
            }
            Want::Wait => false,
            Want::Shutdown => {
                let had = self.server.is_some();
                self.carry();
                self.hang_up();
                had
            }
            _ if self.server.is_none() => panic!("no transport for {:?}", self.session.want()),
            _ => self.carry(),
        }
    }

    /// Brings what the session has sent to the broker, and nothing back.
    pub(crate) fn deliver(&mut self) {
        take(self.session.outbox(), &mut self.to_server);
        if let Some(mut server) = self.server.and_then(|id| self.broker.connection(id)) {
            server.handle_input(&mut self.to_server, self.now);
        }
    }

    fn carry(&mut self) -> bool {
        let Some(id) = self.server else { return false };
        let before = (self.to_client.len(), self.to_server.len());
        take(self.session.outbox(), &mut self.to_server);
        if let Some(mut server) = self.broker.connection(id) {
            take(server.outbox(), &mut self.to_client);
        }
        let moved = before != (self.to_client.len(), self.to_server.len());
        if let Some(mut server) = self.broker.connection(id) {
            server.handle_input(&mut self.to_server, self.now);
        }
        self.session.handle_input(&mut self.to_client, self.now);
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now);
            return true;
        }
        moved
    }

    fn hang_up(&mut self) {
        if let Some(id) = self.server.take() {
            if let Some(mut server) = self.broker.connection(id) {
                server.handle_eof(self.now);
            }
            self.session.handle_disconnected(self.now);
        }
        self.to_client.clear();
        self.to_server.clear();
    }

    /// The stream breaks, and what is on its way is lost. The server notices.
    pub(crate) fn cut(&mut self) {
        self.session.handle_eof(self.now);
        self.take_events();
        self.hang_up();
    }

    /// The stream breaks, and the server does not notice.
    pub(crate) fn cut_unnoticed(&mut self) -> ConnectionId {
        let id = self.server.take().expect("a connection");
        self.session.handle_eof(self.now);
        self.session.handle_disconnected(self.now);
        self.to_client.clear();
        self.to_server.clear();
        id
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.run();
            let server = self.server.and_then(|id| self.broker.connection(id)?.poll_timeout());
            match self.session.poll_timeout().into_iter().chain(server).min() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            self.session.handle_timeout(self.now);
            if let Some(mut server) = self.server.and_then(|id| self.broker.connection(id)) {
                server.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    /// Cuts the connection, and lets it come back.
    pub(crate) fn cut_and_recover(&mut self) {
        self.cut();
        self.pass(Duration::from_secs(1));
        assert!(self.session.is_open(), "{:?}", self.session);
    }

    // Commands.

    pub(crate) fn channel(&mut self) -> ChannelId {
        let (id, token) = self.session.open_channel(self.now).unwrap();
        self.run();
        self.reply(token).unwrap();
        id
    }

    pub(crate) fn call(&mut self, channel: ChannelId, method: impl Into<Method>) -> Reply {
        let token = self.session.call(channel, method, self.now).unwrap();
        self.run();
        self.reply(token).unwrap()
    }

    pub(crate) fn declare(&mut self, channel: ChannelId, queue: queue::Declare) -> ShortStr {
        match self.call(channel, queue) {
            Reply::Method(method) => match *method {
                Method::QueueDeclareOk(ok) => ok.queue,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn consume(&mut self, channel: ChannelId, queue: &ShortStr) -> Token {
        let consume = basic::Consume { queue: queue.clone(), ..basic::Consume::default() };
        let token = self.session.call(channel, consume, self.now).unwrap();
        self.run();
        self.reply(token).unwrap();
        token
    }

    pub(crate) fn confirms(&mut self, channel: ChannelId) {
        self.call(channel, confirm::Select { no_wait: false });
    }

    /// Publishes, without carrying anything.
    pub(crate) fn publish(
        &mut self,
        channel: ChannelId,
        queue: &str,
        body: &'static str,
        when_lost: WhenLost,
    ) -> Token {
        let publish = Publish { routing_key: queue.as_bytes(), ..Publish::default() };
        let body = Bytes::from_static(body.as_bytes());
        let properties = Properties::new();
        let published = self.session.publish_with(channel, &publish, &properties, &body, when_lost, self.now);
        published.unwrap().expect("confirms are on")
    }

    // What has come.

    pub(crate) fn reply(&mut self, token: Token) -> Option<Reply> {
        let at = self
            .events
            .iter()
            .position(|event| matches!(event, Event::Reply { token: t, .. } if *t == token))?;
        match self.events.remove(at) {
            Event::Reply { result, .. } => Some(result.unwrap()),
            _ => None,
        }
    }

    pub(crate) fn fate(&mut self, token: Token) -> Option<bool> {
        let fates: Vec<_> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Confirmed { token: t, result } if *t == token => {
                    Some(matches!(result, Ok(Confirmation::Acked)))
                }
                _ => None,
            })
            .collect();
        assert!(fates.len() < 2, "resolved twice");
        fates.first().copied()
    }

    /// The bodies that were delivered to a consumer, and whether they say that they may be duplicates.
    pub(crate) fn delivered(&mut self, consumer: Token) -> Vec<(String, bool)> {
        let (mine, others) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|event| matches!(event, Event::Delivery { consumer: c, .. } if *c == consumer));
        self.events = others;
        let bodies = mine.into_iter().map(|event: Event| match event {
            Event::Delivery { delivery, .. } => {
                let headers = delivery.message.properties().unwrap().headers.unwrap_or_default();
                let marked = headers.get("x-possible-duplicate").is_some();
                (String::from_utf8(delivery.message.body().to_vec()).unwrap(), marked)
            }
            other => panic!("{other:?}"),
        });
        bodies.collect()
    }
}

pub(crate) fn take(outbox: &mut hopmq_proto::Outbox, into: &mut BytesMut) {
    outbox.chunks().for_each(|chunk| into.extend_from_slice(chunk));
    outbox.consume(outbox.len());
}

pub(crate) fn short(text: &str) -> ShortStr {
    text.try_into().unwrap()
}
