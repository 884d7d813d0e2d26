//! The engine in a hand-written loop: one blocking socket of the standard library, no runtime, no thread.
//!
//! It publishes three messages with confirms, consumes and acks them, and closes. `AMQP_URL` names the server:
//! `amqp://user:password@host:port`, otherwise `amqp://guest:guest@localhost:5672`.

#![allow(clippy::print_stdout)] // it talks to whoever runs it

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant as Clock};

use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{Credentials, Method, Properties, Publish, ShortStr, basic, confirm, queue};
use hopmq_proto::client::{ChannelId, Config, Confirmation, Connection, Event, Reply, Settle, Token};
use hopmq_proto::{Engine, Instant, Want};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// An engine, and everything that it does not have: a socket, a clock, a buffer.
struct Link {
    engine: Connection,
    socket: TcpStream,
    start: Clock,
    input: BytesMut,
}

impl Link {
    fn open(address: &str, config: Config) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let engine = Connection::new(config, Instant::ZERO);
        let mut link = Self { engine, socket, start: Clock::now(), input: BytesMut::new() };
        match link.event()? {
            Event::Opened(_) => Ok(link),
            other => Err(format!("not opened: {other:?}").into()),
        }
    }

    /// The epoch of the engine's time is ours to choose: the start.
    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    /// The next event. This is the loop.
    fn event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.engine.poll_event() {
                return Ok(event);
            }
            self.turn()?;
        }
    }

    /// One turn: write what there is, read what comes, look at the clock.
    ///
    /// A write that blocks is fine as long as little is published at once: a server that waits for us to read may not
    /// read us, so a program that publishes much makes the socket non-blocking and does both in turn.
    fn turn(&mut self) -> Result<()> {
        let outbox = self.engine.outbox();
        while let Some(chunk) = outbox.chunks().next() {
            let written = self.socket.write(chunk)?;
            outbox.consume(written);
        }
        if self.engine.want() == Want::Shutdown {
            return Err("the connection is closed".into());
        }
        let left = self.engine.poll_timeout().map(|deadline| deadline - self.now());
        self.socket.set_read_timeout(left.map(|left| left.max(Duration::from_millis(1))))?; // zero is not allowed
        let mut buffer = [0; 16 * 1024];
        let read = self.socket.read(&mut buffer);
        let now = self.now();
        match read {
            Ok(0) => self.engine.handle_eof(now),
            Ok(n) => {
                self.input.extend_from_slice(buffer.get(..n).unwrap_or_default());
                self.engine.handle_input(&mut self.input, now); // leaves the tail, an incomplete frame
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => self.engine.handle_transport_error(error.to_string(), now),
        }
        self.engine.handle_timeout(now);
        Ok(())
    }

    /// Waits for the answer to a call. What else happens does not matter while nothing is consumed or published.
    fn reply(&mut self, call: Token) -> Result<Reply> {
        loop {
            if let Event::Reply { token, result } = self.event()?
                && token == call
            {
                return Ok(result?);
            }
        }
    }

    fn call(&mut self, channel: ChannelId, method: impl Into<Method>) -> Result<Reply> {
        let token = self.engine.call(channel, method, self.now())?;
        self.reply(token)
    }
}

fn main() -> Result<()> {
    let (address, credentials) = server()?;
    let mut link = Link::open(&address, Config { credentials, ..Config::default() })?;

    let (channel, opened) = link.engine.open_channel(link.now())?;
    link.reply(opened)?;
    link.call(channel, confirm::Select { no_wait: false })?;
    let declare = queue::Declare { exclusive: true, ..queue::Declare::default() }; // the server names it
    let Reply::Method(declared) = link.call(channel, declare)? else { return Err("not declared".into()) };
    let Method::QueueDeclareOk(queue::DeclareOk { queue, .. }) = *declared else {
        return Err("not declared".into());
    };

    publish(&mut link, channel, &queue)?;
    consume(&mut link, channel, queue)?;

    let closed = link.engine.close(link.now())?;
    link.reply(closed)?;
    println!("closed");
    Ok(())
}

/// Host and port, and who logs in. Programs that take URIs from their users have `hopmq::ConnectOptions`.
fn server() -> Result<(String, Credentials)> {
    let uri = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost:5672".to_owned());
    let rest = uri.strip_prefix("amqp://").ok_or("AMQP_URL is not amqp://...")?;
    let authority = rest.split_once('/').map_or(rest, |(authority, _virtual_host)| authority);
    let (login, address) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
    let (user, password) = login.split_once(':').ok_or("AMQP_URL has no password")?;
    Ok((address.to_owned(), Credentials::new(user, password)))
}

const MESSAGES: [&str; 3] = ["one", "two", "three"];

/// Sends all messages, then waits until the server has confirmed each.
fn publish(link: &mut Link, channel: ChannelId, queue: &ShortStr) -> Result<()> {
    let to = Publish { routing_key: queue.as_bytes(), mandatory: true, ..Publish::default() };
    let mut unconfirmed = Vec::new();
    for message in MESSAGES {
        let (body, now) = (Bytes::from_static(message.as_bytes()), link.now());
        unconfirmed.extend(link.engine.publish(channel, &to, &Properties::new(), &body, now)?);
    }
    while !unconfirmed.is_empty() {
        match link.event()? {
            Event::Confirmed { token, result: Ok(Confirmation::Acked) } => {
                unconfirmed.retain(|t| *t != token);
            }
            other => return Err(format!("not confirmed: {other:?}").into()),
        }
    }
    println!("confirmed  {} messages", MESSAGES.len());
    Ok(())
}

/// Takes the messages in order, and acks each.
fn consume(link: &mut Link, channel: ChannelId, queue: ShortStr) -> Result<()> {
    link.call(channel, basic::Consume { queue, ..basic::Consume::default() })?;
    for expected in MESSAGES {
        match link.event()? {
            Event::Delivery { delivery, .. } if delivery.message.body() == expected.as_bytes() => {
                println!("delivered  {expected}");
                let now = link.now();
                delivery
                    .id
                    .map_or(Ok(()), |id| link.engine.settle(id, Settle::Ack { multiple: false }, now))?;
            }
            other => return Err(format!("{other:?} in place of {expected:?}").into()),
        }
    }
    Ok(())
}
