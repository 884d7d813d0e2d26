use super::*;
use crate::broker::tests::faults::feed;

/// A script that touches most of the broker.
fn script() -> Vec<u8> {
    let response = Credentials::new("guest", "guest").response(Mechanism::Plain).unwrap();
    let start_ok = connection::StartOk { mechanism: short("PLAIN"), response, ..Default::default() };
    let publish = basic::Publish { routing_key: short("q"), ..Default::default() };
    let properties = Properties::new().with_headers(FieldTable::new().with("n", 1));
    let mandatory = basic::Publish { routing_key: short("no"), mandatory: true, ..Default::default() };
    let frames = [
        PROTOCOL_HEADER.to_vec(),
        frame(0, start_ok),
        frame(0, connection::TuneOk { channel_max: 9, frame_max: 4096, heartbeat: 60 }),
        frame(0, connection::Open { virtual_host: short("/") }),
        frame(1, channel::Open {}),
        frame(1, queue::Declare { queue: short("q"), ..Default::default() }),
        frame(1, basic::Consume { queue: short("q"), consumer_tag: short("c"), ..Default::default() }),
        content(1, publish.clone(), &properties, b"small", 8192),
        content(1, publish.clone(), &Properties::new(), &[1; 4088], 4096),
        content(1, publish.clone(), &Properties::new(), &[2; 4300], 4096),
        content(1, publish, &Properties::new(), &[], 8192),
        content(1, mandatory, &Properties::new(), b"back", 8192),
        frame(1, basic::Ack { delivery_tag: 2, multiple: true }),
        HEARTBEAT_FRAME.to_vec(),
        frame(1, basic::Nack { delivery_tag: 3, requeue: true, ..Default::default() }),
        frame(2, channel::Open {}),
        frame(2, basic::Get { queue: short("no"), no_ack: true }),
        frame(2, channel::CloseOk {}),
        frame(0, connection::Close { reply_code: 200, ..Default::default() }),
    ];
    frames.concat()
}

#[test]
fn any_split_of_the_input_gives_the_same_output() {
    let bytes = script();
    let run = |splits: &[&[u8]]| {
        let mut test = Test::new();
        let id = test.accept();
        let mut input = BytesMut::new();
        for piece in splits {
            input.extend_from_slice(piece);
            test.broker.connection(id).unwrap().handle_input(&mut input, test.now);
        }
        (test.bytes(id), test.events(id))
    };
    let whole = run(&[&bytes]);
    assert!(matches!(&whole.1[..], [Event::Opened { .. }, Event::Closed { .. }]));
    for at in 0..bytes.len() {
        let (one, two) = bytes.split_at(at);
        assert!(run(&[one, two]) == whole, "split at {at}");
    }
    for step in [1, 2, 3, 7, 100] {
        let pieces: Vec<_> = bytes.chunks(step).collect();
        assert!(run(&pieces) == whole, "steps of {step}");
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn garbage_never_panics() {
    let script = script();
    let methods = Method::all();
    for seed in 1..2000 {
        let mut random = Random(seed);
        let mut test = Test::with(Config { max_outbox_bytes: 2000, ..Config::default() });
        let id = if random.below(4) == 0 { test.accept() } else { test.client() };
        let mut bytes = vec![];
        match random.below(3) {
            0 => bytes.extend((0..200).map(|_| random.next() as u8)),
            1 => {
                bytes.clone_from(&script);
                for _ in 0..1 + random.below(4) {
                    let at = random.below(bytes.len());
                    bytes[at] = random.next() as u8;
                }
            }
            _ => {
                for _ in 0..20 {
                    let channel = random.below(3) as u16;
                    let method = methods[random.below(methods.len())].clone();
                    let mut next = frame(channel, method);
                    if random.below(3) == 0 {
                        let at = FRAME_HEADER_LEN + random.below(next.len() - FRAME_OVERHEAD);
                        next[at] = random.next() as u8;
                    }
                    bytes.extend(next);
                    if random.below(3) == 0 {
                        bytes.extend(frame(channel, channel::Open {}));
                    }
                }
            }
        }
        let step = 1 + random.below(300);
        feed(&mut test, id, &bytes, step);
        for _ in 0..5 {
            if let Some(at) = test.deadline(id) {
                test.now = test.now.max(at);
            }
            test.timeout(id);
            test.bytes(id);
        }
        test.broker.connection(id).unwrap().handle_eof(test.now);
        let events = test.events(id);
        let ends = events.iter().filter(|event| matches!(event, Event::Closed { .. })).count();
        assert_eq!(ends, 1, "seed {seed}");
        assert!(matches!(events.last(), Some(Event::Closed { .. })), "seed {seed}");
        test.broker.release(id, test.now);
        assert_eq!(test.broker.consumers.len(), 0, "seed {seed}");
    }
}
