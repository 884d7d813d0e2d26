use bytes::BytesMut;
use hopmq_proto::amqp::{FieldTable, Method, ReplyCode, WireError, basic, exchange, queue};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::{arb, damaged, damages, each_method};
use crate::tables;

/// The ids, names and fields of all methods as pika's `spec.py` (1.4.4) has them, reserved fields named `_`.
///
/// It is generated from the specification and RabbitMQ's extensions, as ours is not.
const PIKA: &str = include_str!("methods.txt");

fn encode(method: &Method) -> Vec<u8> {
    let mut out = BytesMut::new();
    method.encode(&mut out).unwrap();
    out.to_vec()
}

#[test]
fn every_method_has_a_strategy() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let made_up: Vec<_> = each_method()
        .iter()
        .map(|strategy| proptest::strategy::ValueTree::current(&strategy.new_tree(&mut runner).unwrap()).id())
        .collect();
    assert_eq!(made_up, Method::all().iter().map(Method::id).collect::<Vec<_>>());
}

#[test]
fn every_method_round_trips_with_defaults() {
    for method in Method::all() {
        assert_eq!(Method::decode(&encode(&method)), Ok(method));
    }
}

#[test]
fn every_method_round_trips_with_any_arguments() {
    for strategy in each_method() {
        proptest!(|(method in strategy)| {
            let bytes = encode(&method);
            prop_assert_eq!(Method::decode(&bytes), Ok(method));
        });
    }
}

proptest! {
    #[test]
    fn a_method_that_is_cut_is_truncated(method in arb::<Method>()) {
        let bytes = encode(&method);
        for end in 0..bytes.len() {
            prop_assert_eq!(Method::decode(&bytes[..end]), Err(WireError::Truncated), "at {}", end);
        }
    }

    #[test]
    fn nothing_may_follow_a_method(method in arb::<Method>(), rest in vec(any::<u8>(), 1..9)) {
        let bytes = [encode(&method), rest.clone()].concat();
        prop_assert_eq!(Method::decode(&bytes), Err(WireError::TrailingBytes(rest.len())));
    }

    #[test]
    fn a_damaged_method_is_refused_or_read(method in arb::<Method>(), damages in damages()) {
        let bytes = damaged(&encode(&method), &damages);
        if let Ok(read) = Method::decode(&bytes) {
            let first = encode(&read);
            prop_assert_eq!(encode(&Method::decode(&first).unwrap()), first);
        }
    }

    #[test]
    fn every_method_is_laid_out_as_pika_has_it((name, bytes) in laid_out()) {
        let method = Method::decode(&bytes);
        prop_assert_eq!(method.as_ref().map(Method::name), Ok(name));
        prop_assert_eq!(encode(&method.unwrap()), bytes);
    }
}

#[test]
fn every_method_has_the_id_name_and_fields_that_pika_has() {
    let ours: Vec<_> =
        Method::all().iter().map(|method| (method.id(), method.name(), fields(method))).collect();
    let pikas: Vec<_> = pika().map(|line| (line.id, line.name, line.field_names())).collect();
    assert_eq!(ours, pikas);
}

/// The names of a method's fields: the lines of its `Debug` output that are two levels deep.
fn fields(method: &Method) -> Vec<String> {
    let shown = format!("{method:#?}");
    let deep = shown.lines().filter_map(|line| line.strip_prefix("        "));
    deep.filter_map(|line| line.split_once(": ")).map(|(name, _)| name.to_owned()).collect()
}

struct Line {
    id: (u16, u16),
    name: &'static str,
    fields: Vec<(&'static str, &'static str)>,
}

impl Line {
    fn field_names(&self) -> Vec<String> {
        self.fields.iter().filter(|(name, _)| *name != "_").map(|(name, _)| (*name).to_owned()).collect()
    }
}

fn pika() -> impl Iterator<Item = Line> {
    PIKA.lines().map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let id = (word().parse().unwrap(), word().parse().unwrap());
        let name = word();
        Line { id, name, fields: words.map(|field| field.split_once(':').unwrap()).collect() }
    })
}

/// The octets of one field, or one bit.
#[derive(Debug, Clone)]
enum Wire {
    Bit(bool),
    Octets(Vec<u8>),
}

/// A method written after pika's list, without our encoder: its name and its octets.
fn laid_out() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    proptest::sample::select(pika().map(|line| (line.id, line.name, line.fields)).collect::<Vec<_>>())
        .prop_flat_map(|((class, method), name, fields)| {
            let values: Vec<_> = fields.iter().map(|(name, kind)| wire(*name == "_", kind)).collect();
            values.prop_map(move |values| {
                (name, [class.to_be_bytes().to_vec(), method.to_be_bytes().to_vec(), pack(values)].concat())
            })
        })
}

fn wire(reserved: bool, kind: &str) -> BoxedStrategy<Wire> {
    let octets = |n: usize| vec(any::<u8>(), n).boxed();
    let value = match kind {
        "bit" if reserved => return Just(Wire::Bit(false)).boxed(),
        "bit" => return any::<bool>().prop_map(Wire::Bit).boxed(),
        "octet" => octets(1),
        "short" => octets(2),
        "long" => octets(4),
        "longlong" => octets(8),
        "shortstr" => vec(any::<u8>(), 0..256).prop_map(|text| prefixed(text, 1)).boxed(),
        "longstr" => vec(any::<u8>(), 0..300).prop_map(|text| prefixed(text, 4)).boxed(),
        "table" => arb::<FieldTable>().prop_map(|table| tables::encode(&table).unwrap()).boxed(),
        other => panic!("{other}"),
    };
    let empty = match kind {
        "shortstr" => 1,
        "short" => 2,
        _ => 4,
    };
    if reserved { Just(Wire::Octets(vec![0; empty])).boxed() } else { value.prop_map(Wire::Octets).boxed() }
}

fn prefixed(text: Vec<u8>, width: usize) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap().to_be_bytes();
    [len[4 - width..].to_vec(), text].concat()
}

/// Bits in a row share octets, the first in the lowest bit.
fn pack(values: Vec<Wire>) -> Vec<u8> {
    let (mut out, mut bits) = (Vec::new(), 0);
    for value in values {
        match value {
            Wire::Octets(octets) => {
                out.extend(octets);
                bits = 0;
            }
            Wire::Bit(bit) => {
                if bits % 8 == 0 {
                    out.push(0);
                }
                *out.last_mut().unwrap() |= u8::from(bit) << (bits % 8);
                bits += 1;
            }
        }
    }
    out
}

#[test]
fn trap_21_bits_in_a_row_share_an_octet_and_a_table_ends_the_row() {
    for bits in 0..32u8 {
        let bit = |at: u8| bits & 1 << at != 0;
        let declare = exchange::Declare {
            exchange: "e".try_into().unwrap(),
            kind: "fanout".try_into().unwrap(),
            passive: bit(0),
            durable: bit(1),
            auto_delete: bit(2),
            internal: bit(3),
            no_wait: bit(4),
            arguments: FieldTable::new(),
        };
        let bytes = [b"\x00\x28\x00\x0a\x00\x00\x01e\x06fanout".as_slice(), &[bits, 0, 0, 0, 0]].concat();
        assert_eq!(encode(&declare.into()), bytes);
    }
}

#[test]
fn trap_21_a_bit_between_other_fields_has_an_octet_of_its_own() {
    let deliver = basic::Deliver {
        consumer_tag: "c".try_into().unwrap(),
        delivery_tag: 0x0102,
        redelivered: true,
        exchange: "e".try_into().unwrap(),
        routing_key: "r".try_into().unwrap(),
    };
    assert_eq!(
        encode(&deliver.into()),
        b"\x00\x3c\x00\x3c\x01c\x00\x00\x00\x00\x00\x00\x01\x02\x01\x01e\x01r"
    );
}

#[test]
fn unused_bits_and_reserved_fields_are_ignored() {
    let purge = Method::decode(b"\x00\x32\x00\x1e\xff\xff\x01q\xfe").unwrap();
    assert_eq!(purge, queue::Purge { queue: "q".try_into().unwrap(), no_wait: false }.into());
    assert_eq!(encode(&purge), b"\x00\x32\x00\x1e\x00\x00\x01q\x00");
}

#[test]
fn trap_37_unbind_ok_is_method_51_of_both_classes() {
    assert_eq!(encode(&exchange::UnbindOk {}.into()), [0, 40, 0, 51]);
    assert_eq!(encode(&queue::UnbindOk {}.into()), [0, 50, 0, 51]);
    assert_eq!(Method::decode(&[0, 40, 0, 41]), Err(WireError::UnknownMethod { class: 40, method: 41 }));
}

#[test]
fn no_other_pair_of_ids_is_a_method() {
    let known: std::collections::BTreeSet<_> = Method::all().iter().map(Method::id).collect();
    assert_eq!(known.len(), Method::all().len(), "two methods with the same ids");
    for (class, method) in (0..=255u16).flat_map(|class| (0..=255u16).map(move |method| (class, method))) {
        let bytes = [class.to_be_bytes(), method.to_be_bytes()].concat();
        let unknown = Method::decode(&bytes) == Err(WireError::UnknownMethod { class, method });
        assert_eq!(unknown, !known.contains(&(class, method)), "{class} {method}");
    }
}

#[test]
fn a_method_that_cannot_be_encoded_writes_nothing() {
    use hopmq_proto::amqp::FieldValue;
    let deep = (0..40).fold(FieldValue::Void, |value, _| FieldValue::Array(vec![value]));
    let declare = queue::Declare { arguments: FieldTable::new().with("deep", deep), ..Default::default() };
    let mut out = BytesMut::from("before");
    assert_eq!(Method::from(declare).encode(&mut out), Err(WireError::TableTooDeep));
    assert_eq!(out, "before");
}

#[test]
fn trap_33_which_codes_end_the_connection() {
    for code in [320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541] {
        assert!(ReplyCode(code).is_connection_error(), "{code}");
    }
    for code in [311, 312, 313, 403, 404, 405, 406] {
        assert!(!ReplyCode(code).is_connection_error(), "{code}");
    }
}

#[test]
fn faults_have_the_reply_codes_of_the_specification() {
    assert_eq!(WireError::BadFrameEnd(0).reply_code(), ReplyCode::FRAME_ERROR);
    assert_eq!(WireError::FrameTooLarge { size: 2, max: 1 }.reply_code(), ReplyCode::FRAME_ERROR);
    assert_eq!(WireError::UnknownFrameType(4).reply_code(), ReplyCode::FRAME_ERROR);
    assert_eq!(WireError::Truncated.reply_code(), ReplyCode::SYNTAX_ERROR);
    assert_eq!(WireError::TableTooDeep.reply_code(), ReplyCode::SYNTAX_ERROR);
    assert_eq!(WireError::UnknownFieldType(0).reply_code(), ReplyCode::SYNTAX_ERROR);
}
