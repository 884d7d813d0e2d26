//! pamqp reads what we write, and differs in what it makes of it:
//!
//! * A string that is not UTF-8: a short one is an error, a long one it reads as bytes, which it cannot write.
//! * A table is a sorted map, of whose names it writes 128 bytes at most.
//! * An integer is Python's: it writes the shortest of `b`, `s`, `u`, `I`, `i`, `l` that holds it, whatever it read.
//! * A float is Python's: it writes `f` for `d` too, and cannot write what is beyond its range.
//! * A decimal is signed, which the bytes do not show.
//! * A timestamp above 2^32 - 1 is taken for milliseconds, and there is none after the year 9999.
//! * A property that is an empty string is written as one that is absent.
//! * It has no class `access`, and refuses a body frame without a body.

use std::io::Write;
use std::process::Stdio;

use hopmq_proto::amqp::{FieldTable, FieldValue, FrameKind, Method, Properties, ShortStr};
use hopmq_tests::programs;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{arb, each_method};
use crate::texts::{Texts, as_map, table_of};
use crate::{frame, header_frame, method_frame, payload, read_header, read_method};

/// 9999-12-31 23:59:59 UTC.
const LAST_SECOND: u64 = 253_402_300_799;

/// A frame decoded and encoded by pamqp: its name and its octets; or why not.
type Again = Result<(String, Vec<u8>), String>;

fn through_pamqp(frames: &[Vec<u8>]) -> Vec<Again> {
    let mut python = programs::judge("pamqp_codec.py");
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = frames.iter().map(|frame| hex(frame) + "\n").collect();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let answers: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(answer).collect();
    assert_eq!(answers.len(), frames.len());
    answers
}

fn answer(line: &str) -> Again {
    let (name, rest) = line.split_once(' ').unwrap();
    if name == "refused" { Err(rest.to_owned()) } else { Ok((name.to_owned(), unhex(rest))) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// So many values, the same in every run.
fn made_up<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// What pamqp makes of a table; `None` when it refuses.
fn table(given: &FieldTable) -> Option<FieldTable> {
    let entries: Vec<_> =
        given.iter().map(|(name, it)| Some((name.clone(), value(it)?))).collect::<Option<_>>()?;
    let short = |name: Vec<u8>| {
        let text = String::from_utf8(name).unwrap();
        let end = (0..=text.len().min(128)).rev().find(|end| text.is_char_boundary(*end)).unwrap();
        ShortStr::try_from(&text[..end]).unwrap()
    };
    Some(as_map(entries.into_iter()).into_iter().map(|(name, value)| (short(name), value)).collect())
}

fn value(given: &FieldValue) -> Option<FieldValue> {
    Some(match given {
        FieldValue::F64(double) => {
            #[expect(clippy::cast_possible_truncation, reason = "that is what pamqp does")]
            let single = *double as f32;
            if single.is_infinite() && double.is_finite() {
                return None;
            }
            FieldValue::F32(single)
        }
        FieldValue::Timestamp(seconds) => FieldValue::Timestamp(timestamp(*seconds)?),
        FieldValue::Array(values) => FieldValue::Array(values.iter().map(value).collect::<Option<_>>()?),
        FieldValue::Table(inner) => FieldValue::Table(table(inner)?),
        other => other.as_i64().map_or_else(|| other.clone(), shortest),
    })
}

fn shortest(n: i64) -> FieldValue {
    let fits = [
        i8::try_from(n).ok().map(FieldValue::I8),
        i16::try_from(n).ok().map(FieldValue::I16),
        u16::try_from(n).ok().map(FieldValue::U16),
        i32::try_from(n).ok().map(FieldValue::I32),
        u32::try_from(n).ok().map(FieldValue::U32),
    ];
    fits.into_iter().flatten().next().unwrap_or(FieldValue::I64(n))
}

fn timestamp(seconds: u64) -> Option<u64> {
    let seconds = if seconds > u32::MAX.into() { seconds / 1000 } else { seconds };
    (seconds <= LAST_SECOND).then_some(seconds)
}

fn method(given: &Method, texts: Texts) -> Option<Method> {
    if !texts.short || !texts.long || matches!(given, Method::AccessRequest(_) | Method::AccessRequestOk(_)) {
        return None;
    }
    let mut expected = given.clone();
    if let Some(arguments) = table_of(&mut expected) {
        *arguments = table(arguments)?;
    }
    Some(expected)
}

fn properties(given: &Properties) -> Option<Properties> {
    let texts = Texts::of_properties(given);
    if !texts.short || !texts.long {
        return None;
    }
    let p = given.clone();
    let present = |text: Option<ShortStr>| text.filter(|text| !text.is_empty());
    Some(Properties {
        content_type: present(p.content_type),
        content_encoding: present(p.content_encoding),
        headers: p.headers.as_ref().map(table).map_or(Some(None), |table| table.map(Some))?,
        delivery_mode: p.delivery_mode,
        priority: p.priority,
        correlation_id: present(p.correlation_id),
        reply_to: present(p.reply_to),
        expiration: present(p.expiration),
        message_id: present(p.message_id),
        timestamp: p.timestamp.map(timestamp).map_or(Some(None), |seconds| seconds.map(Some))?,
        kind: present(p.kind),
        user_id: present(p.user_id),
        app_id: present(p.app_id),
        cluster_id: present(p.cluster_id),
    })
}

#[test]
fn every_method() {
    let methods: Vec<_> = each_method().into_iter().flat_map(|strategy| made_up(strategy, 50)).collect();
    let frames: Vec<_> = methods.iter().map(method_frame).collect();
    let (mut agreed, mut refused) = (0, 0);
    for ((given, bytes), again) in methods.iter().zip(&frames).zip(through_pamqp(&frames)) {
        let texts = Texts::of_method(given, &payload(bytes, FrameKind::Method)[4..]);
        match (method(given, texts), again) {
            (Some(expected), Ok((name, bytes))) => {
                assert_eq!(name.to_lowercase(), given.name().to_lowercase());
                assert_eq!(read_method(&bytes), expected, "of {given:?}");
                agreed += 1;
            }
            (None, Err(_)) => refused += 1,
            (expected, again) => panic!("{given:?}\nexpected: {expected:?}\nfound: {again:?}"),
        }
    }
    assert!(agreed > 1000 && refused > 100, "{agreed} agreed, {refused} refused");
}

#[test]
fn properties_and_headers() {
    // Half of them without headers, for with them few are all text.
    let strategy = (arb::<Properties>(), any::<bool>());
    let given = made_up(strategy, 2000).into_iter().map(|(given, bare)| {
        let headers = if bare { None } else { given.headers.clone() };
        Properties { headers, ..given }
    });
    let mut given: Vec<_> = given.collect();
    // And headers alone.
    given.extend(made_up(arb(), 2000).into_iter().map(|headers| Properties::new().with_headers(headers)));
    let frames: Vec<_> = given.iter().map(header_frame).collect();
    let (mut agreed, mut refused) = (0, 0);
    for (given, again) in given.iter().zip(through_pamqp(&frames)) {
        match (properties(given), again) {
            (Some(expected), Ok((_, bytes))) => {
                assert_eq!(read_header(&bytes), expected, "of {given:?}");
                agreed += 1;
            }
            (None, Err(_)) => refused += 1,
            (expected, again) => panic!("{given:?}\nexpected: {expected:?}\nfound: {again:?}"),
        }
    }
    assert!(agreed > 400 && refused > 400, "{agreed} agreed, {refused} refused");
}

#[test]
fn bodies_and_heartbeats() {
    let bodies = made_up(vec(any::<u8>(), 0..300), 200);
    let mut frames: Vec<_> = bodies.iter().map(|body| frame(FrameKind::Body, body)).collect();
    frames.push(hopmq_proto::amqp::HEARTBEAT_FRAME.to_vec());
    frames.push(frame(FrameKind::Body, b""));
    for (sent, again) in frames.iter().zip(through_pamqp(&frames)) {
        let without_body = sent.len() == 8 && sent[0] == 3;
        assert_eq!(again.ok().map(|(_, bytes)| bytes), (!without_body).then(|| sent.clone()));
    }
}
