use std::time::Duration;

use bytes::{BufMut, BytesMut};
use hopmq_proto::amqp::{
    Credentials, FRAME_END, FieldTable, Mechanism, Method, PROTOCOL_HEADER, ShortStr, connection,
    write_method,
};
use hopmq_proto::broker::{Broker, Config, ConnectionId, Event, Peer};
use hopmq_proto::{Engine, Instant, Want};

/// Small, so that an outbox that is full is not rare.
const MAX_OUTBOX: usize = 4096;
/// What one call may add to an outbox that was within its bounds: the answers to a chunk, and one message.
const ONE_CALL: usize = 64 * 1024;

/// Two connections to a broker, driven by octets.
///
/// The first octet says which of the two have logged in before. Then each octet is an operation on one of them: bytes of
/// input, a frame of a given kind around the bytes, time that passes, an outbox that is read, the end of the stream.
/// Whatever comes, the broker keeps its bounds, reports each end once and last, and gives everything back.
///
/// # Panics
///
/// When the broker does not.
pub fn broker_input(data: &[u8]) {
    let mut run = Run::new(data.first().copied().unwrap_or_default());
    let mut rest = data.get(1..).unwrap_or_default();
    while let Some((&operation, behind)) = rest.split_first() {
        rest = run.step(operation, behind);
        run.check();
    }
    run.finish();
}

struct Run {
    broker: Broker,
    links: [Link; 2],
    now: Instant,
}

struct Link {
    id: ConnectionId,
    input: BytesMut,
    closed: bool,
}

impl Run {
    fn new(logged_in: u8) -> Self {
        let config = Config { max_outbox_bytes: MAX_OUTBOX, max_message_size: 1 << 16, ..Config::default() };
        let mut broker = Broker::new(config);
        let peer = Peer { loopback: true, name: "fuzz".into() };
        let links = [0, 1].map(|at| Link {
            id: broker.accept(peer.clone(), Instant::ZERO),
            input: if logged_in >> at & 1 == 1 { login(4096, 1, false) } else { BytesMut::new() },
            closed: false,
        });
        let mut run = Self { broker, links, now: Instant::ZERO };
        (0..2).for_each(|at| run.feed(at));
        run
    }

    /// Does what `operation` says, with the octets behind it; gives the octets that are left.
    fn step<'a>(&mut self, operation: u8, behind: &'a [u8]) -> &'a [u8] {
        let at = usize::from(operation & 1);
        let kind = operation >> 1 & 7;
        let (&size, behind) = behind.split_first().unwrap_or((&0, behind));
        let (bytes, rest) = behind.split_at(behind.len().min(size.into()));
        match kind {
            0 | 1 => self.links[at].input.extend_from_slice(bytes),
            2..=4 => frame(&mut self.links[at].input, kind - 1, u16::from(operation >> 4), bytes),
            5 => return self.pass_time(size, behind),
            6 => return self.drain(at, behind),
            _ => return self.end(at, behind),
        }
        self.feed(at);
        rest
    }

    fn feed(&mut self, at: usize) {
        let link = &mut self.links[at];
        let Some(mut connection) = self.broker.connection(link.id) else { return };
        if connection.want() == Want::ReadWrite {
            connection.handle_input(&mut link.input, self.now);
        }
    }

    fn pass_time<'a>(&mut self, tenths: u8, rest: &'a [u8]) -> &'a [u8] {
        self.now = self.now + Duration::from_millis(100) * u32::from(tenths) * u32::from(tenths);
        for link in &self.links {
            if let Some(mut connection) = self.broker.connection(link.id) {
                connection.handle_timeout(self.now);
            }
        }
        rest
    }

    fn drain<'a>(&mut self, at: usize, rest: &'a [u8]) -> &'a [u8] {
        if let Some(mut connection) = self.broker.connection(self.links[at].id) {
            connection.outbox().clear();
            if connection.poll_timeout().is_some_and(|due| due <= self.now) {
                connection.handle_timeout(self.now);
            }
        }
        self.feed(at);
        rest
    }

    fn end<'a>(&mut self, at: usize, rest: &'a [u8]) -> &'a [u8] {
        if let Some(mut connection) = self.broker.connection(self.links[at].id) {
            connection.handle_eof(self.now);
        }
        rest
    }

    /// The bounds hold, and nothing follows the end.
    fn check(&mut self) {
        while self.broker.poll_touched().is_some() {}
        for link in &mut self.links {
            let Some(mut connection) = self.broker.connection(link.id) else { continue };
            assert!(connection.outbox().len() <= 4 * MAX_OUTBOX + ONE_CALL, "an outbox without bound");
            while let Some(event) = connection.poll_event() {
                assert!(!link.closed, "an event behind the last: {event:?}");
                link.closed = matches!(event, Event::Closed { .. });
            }
            assert_eq!(link.closed, connection.want() == Want::Shutdown);
        }
    }

    /// Without connections, nothing is unsettled.
    fn finish(mut self) {
        for link in &self.links {
            self.broker.release(link.id, self.now);
        }
        assert_eq!(self.broker.connections(), 0);
        assert!(self.broker.queue("/", "q").is_none_or(|queue| queue.unacked + queue.consumers == 0));
    }
}

/// What a client sends until its virtual host is open. It asks for a heartbeat every so many seconds, and to be told or not
/// when a consumer ends without it.
pub(super) fn login(frame_max: u32, heartbeat: u16, cancels: bool) -> BytesMut {
    let mut out = BytesMut::from(&PROTOCOL_HEADER[..]);
    let client_properties = match cancels {
        true => {
            FieldTable::new().with("capabilities", FieldTable::new().with("consumer_cancel_notify", true))
        }
        false => FieldTable::new(),
    };
    let start_ok = connection::StartOk {
        client_properties,
        mechanism: ShortStr::from_static("PLAIN"),
        response: Credentials::new("guest", "guest").response(Mechanism::Plain).unwrap_or_default(),
        locale: ShortStr::from_static("en_US"),
    };
    let open = connection::Open { virtual_host: ShortStr::from_static("/") };
    let methods: [Method; 3] =
        [start_ok.into(), connection::TuneOk { channel_max: 15, frame_max, heartbeat }.into(), open.into()];
    for method in &methods {
        let written = write_method(&mut out, 0, 4096, method);
        assert_eq!(written, Ok(()));
    }
    out
}

/// A whole frame, so that the fuzzer need not guess its length.
fn frame(out: &mut BytesMut, kind: u8, channel: u16, payload: &[u8]) {
    out.put_u8(kind);
    out.put_u16(channel);
    out.put_u32(u32::try_from(payload.len()).unwrap_or_default());
    out.put_slice(payload);
    out.put_u8(FRAME_END);
}
