use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::{Frame, SERVER_PORT, Stream};

/// What tshark makes of a capture.
#[derive(Debug, Default)]
pub(super) struct Dissected {
    pub(super) frames: BTreeMap<Stream, Vec<Frame>>,
    /// What it calls malformed, or warns of.
    pub(super) complaints: BTreeSet<String>,
}

const FIELDS: [&str; 11] = [
    "frame.number",
    "tcp.srcport",
    "tcp.dstport",
    "amqp.type",
    "amqp.channel",
    "amqp.length",
    "amqp.method.class",
    "amqp.method.method",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
];
/// PI_WARN of Wireshark's `epan/proto.h`; an error is more.
const WARNING: u32 = 0x0060_0000;

/// Has tshark dissect a capture. Warnings that are `known` are none.
pub(super) fn dissect(file: &Path, known: &[&str]) -> Dissected {
    let mut tshark = Command::new("tshark");
    tshark.args("-n -T fields -E separator=/t -E occurrence=a -E aggregator=, -r".split(' '));
    tshark.arg(file);
    for field in FIELDS {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().expect("tshark must be installed; tests/run does it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut dissected = Dissected::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        dissected.packet(line, known);
    }
    dissected
}

impl Dissected {
    fn packet(&mut self, line: &str, known: &[&str]) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [number, from, to, kinds, channels, lens, classes, methods, malformed, severities, messages] =
            fields[..]
        else {
            panic!("{line}")
        };
        let warned = list(severities).any(|it| numeric(it) >= WARNING);
        if !malformed.is_empty() || warned && !list(messages).all(|it| known.contains(&it)) {
            self.complaints.insert(format!("packet {number}: {malformed} {messages}"));
        }
        let (from, to) = (small(from), small(to));
        let to_server = to == SERVER_PORT;
        let stream = Stream { connection: if to_server { from } else { to }, to_server };
        let mut ids = list(classes).zip(list(methods));
        let frames = list(kinds).zip(list(channels)).zip(list(lens)).map(|((kind, channel), len)| {
            let method = if kind == "1" { ids.next() } else { None };
            Frame {
                kind: kind.parse().unwrap(),
                channel: small(channel),
                payload_len: numeric(len),
                method: method.map(|(class, method)| (small(class), small(method))),
            }
        });
        self.frames.entry(stream).or_default().extend(frames);
    }
}

fn list(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').filter(|it| !it.is_empty())
}

fn numeric(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn small(text: &str) -> u16 {
    numeric(text).try_into().unwrap()
}
