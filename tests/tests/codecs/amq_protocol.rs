//! amq-protocol differs in three things:
//!
//! * A short string that is not UTF-8 is an error, also as the name of a header: we hand such bytes through (trap 25).
//! * A table is a sorted map: the order is lost, and of duplicate names the last counts; we keep both (trap 23).
//! * The ticket of access.request-ok and the prefetch-size of basic.qos are constants, 1 and 0.

use ::amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use ::amq_protocol::types::{self, AMQPValue};
use hopmq_proto::amqp::{FieldTable, FieldValue, FrameKind, LongStr, Method, ShortStr};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::{arb, each_method};
use crate::texts::{Texts, as_map, table_of};
use crate::{frame, header_frame, method_frame, payload, read_header, read_method};

fn parse(bytes: &[u8]) -> Option<AMQPFrame> {
    let (rest, frame) = parse_frame(bytes).ok()?;
    assert!(rest.is_empty());
    Some(frame)
}

fn generate(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame::<Vec<u8>>(frame)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

fn sorted(table: &FieldTable) -> FieldTable {
    let entries = as_map(table.iter().map(|(name, value)| (name.clone(), sorted_value(value))));
    entries.into_iter().map(|(name, value)| (ShortStr::new(name).unwrap(), value)).collect()
}

fn sorted_value(value: &FieldValue) -> FieldValue {
    match value {
        FieldValue::Table(table) => FieldValue::Table(sorted(table)),
        FieldValue::Array(values) => FieldValue::Array(values.iter().map(sorted_value).collect()),
        other => other.clone(),
    }
}

/// What they made of a table, in our types.
fn ours(table: &types::FieldTable) -> FieldTable {
    table
        .into_iter()
        .map(|(name, value)| (ShortStr::try_from(name.as_str()).unwrap(), our_value(value)))
        .collect()
}

fn our_value(value: &AMQPValue) -> FieldValue {
    match value {
        AMQPValue::Boolean(truth) => FieldValue::Bool(*truth),
        AMQPValue::ShortShortInt(n) => FieldValue::I8(*n),
        AMQPValue::ShortShortUInt(n) => FieldValue::U8(*n),
        AMQPValue::ShortInt(n) => FieldValue::I16(*n),
        AMQPValue::ShortUInt(n) => FieldValue::U16(*n),
        AMQPValue::LongInt(n) => FieldValue::I32(*n),
        AMQPValue::LongUInt(n) => FieldValue::U32(*n),
        AMQPValue::LongLongInt(n) => FieldValue::I64(*n),
        AMQPValue::Float(n) => FieldValue::F32(*n),
        AMQPValue::Double(n) => FieldValue::F64(*n),
        AMQPValue::DecimalValue(n) => FieldValue::Decimal { scale: n.scale, value: n.value },
        AMQPValue::LongString(text) => FieldValue::String(LongStr::new(text.as_bytes().to_vec()).unwrap()),
        AMQPValue::ByteArray(bytes) => FieldValue::Bytes(LongStr::new(bytes.as_slice().to_vec()).unwrap()),
        AMQPValue::FieldArray(values) => FieldValue::Array(values.as_slice().iter().map(our_value).collect()),
        AMQPValue::Timestamp(seconds) => FieldValue::Timestamp(*seconds),
        AMQPValue::FieldTable(table) => FieldValue::Table(ours(table)),
        AMQPValue::Void => FieldValue::Void,
        AMQPValue::ShortString(_) => panic!("there is no tag for {value:?}"),
    }
}

/// The truth values and numbers in a struct as `Debug` shows it, whose fields are so many spaces deep.
fn scalars(shown: &str, depth: usize) -> Vec<String> {
    let fields = shown.lines().filter(|line| line.len() - line.trim_start().len() == depth);
    let values = fields.filter_map(|line| Some(line.split_once(": ")?.1.trim_end_matches(',').to_owned()));
    values.filter(|value| value.parse::<i128>().is_ok() || value.parse::<bool>().is_ok()).collect()
}

#[test]
fn every_method() {
    for strategy in each_method() {
        proptest!(|(method in strategy)| {
            let bytes = method_frame(&method);
            let texts = Texts::of_method(&method, &payload(&bytes, FrameKind::Method)[4..]);
            let theirs = parse(&bytes);
            prop_assert_eq!(theirs.is_some(), texts.short, "{:?}", method);
            let Some(theirs) = theirs else { return Ok(()) };
            let AMQPFrame::Method(channel, class) = &theirs else { panic!("{theirs:?}") };
            prop_assert_eq!(*channel, crate::CHANNEL);
            prop_assert_eq!((class.get_amqp_class_id(), class.get_amqp_method_id()), method.id());
            let mut expected = method;
            match &mut expected {
                Method::AccessRequestOk(ok) => ok.ticket = 1,
                Method::BasicQos(qos) => qos.prefetch_size = 0,
                other => prop_assert_eq!(scalars(&format!("{class:#?}"), 12), scalars(&format!("{other:#?}"), 8)),
            }
            if let Some(table) = table_of(&mut expected) {
                *table = sorted(table);
            }
            prop_assert_eq!(read_method(&generate(&theirs)), expected);
        });
    }
}

proptest! {
    #[test]
    fn properties_and_headers(properties in arb::<hopmq_proto::amqp::Properties>()) {
        let theirs = parse(&header_frame(&properties));
        prop_assert_eq!(theirs.is_some(), Texts::of_properties(&properties).short, "{:?}", properties);
        let Some(theirs) = theirs else { return Ok(()) };
        let AMQPFrame::Header(_, header) = &theirs else { panic!("{theirs:?}") };
        prop_assert_eq!((header.class_id, header.body_size), (60, crate::BODY_SIZE));
        let mut expected = properties;
        expected.headers = expected.headers.as_ref().map(sorted);
        let headers = header.properties.headers().as_ref().map(ours);
        prop_assert_eq!(headers.as_ref(), expected.headers.as_ref());
        prop_assert_eq!(read_header(&generate(&theirs)), expected);
    }

    #[test]
    fn bodies(body in vec(any::<u8>(), 0..300)) {
        let bytes = frame(FrameKind::Body, &body);
        let theirs = parse(&bytes).unwrap();
        prop_assert_eq!(&theirs, &AMQPFrame::Body(crate::CHANNEL, body));
        prop_assert_eq!(generate(&theirs), bytes);
    }
}

#[test]
fn heartbeats() {
    let theirs = parse(&hopmq_proto::amqp::HEARTBEAT_FRAME).unwrap();
    assert_eq!(theirs, AMQPFrame::Heartbeat);
    assert_eq!(generate(&theirs), hopmq_proto::amqp::HEARTBEAT_FRAME);
}

/// The old tags `L` and `U` are read alike, and no side writes them (trap 22).
#[test]
fn old_tags() {
    let table = b"\x00\x00\x00\x10\x01aL\xff\xff\xff\xff\xff\xff\xff\xfe\x01bU\xff\xfe";
    let (_, theirs) = types::parsing::parse_field_table(&table[..]).unwrap();
    let our = hopmq_proto::amqp::Reader::new(table).table().unwrap();
    assert_eq!(our, FieldTable::new().with("a", -2i64).with("b", -2i16));
    assert_eq!(ours(&theirs), our);
}
