use bytes::BytesMut;
use hopmq_proto::amqp::{FieldTable, FieldValue, Properties, WireError};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::{arb, damaged, damages};

fn encode(properties: &Properties) -> Result<Vec<u8>, WireError> {
    let mut out = BytesMut::new();
    properties.encode(&mut out).map(|()| out.to_vec())
}

proptest! {
    #[test]
    fn properties_are_read_as_they_were_written(properties in arb::<Properties>()) {
        let bytes = encode(&properties).unwrap();
        prop_assert_eq!(Properties::validate(&bytes), Ok(()));
        prop_assert_eq!(Properties::decode(&bytes), Ok(properties));
    }

    #[test]
    fn properties_that_are_cut_are_truncated(properties in arb::<Properties>()) {
        let bytes = encode(&properties).unwrap();
        for end in 0..bytes.len() {
            prop_assert_eq!(Properties::decode(&bytes[..end]), Err(WireError::Truncated), "at {}", end);
            prop_assert_eq!(Properties::validate(&bytes[..end]), Err(WireError::Truncated), "at {}", end);
        }
    }

    #[test]
    fn damaged_properties_are_refused_or_read(properties in arb::<Properties>(), damages in damages()) {
        let bytes = damaged(&encode(&properties).unwrap(), &damages);
        let read = Properties::decode(&bytes);
        prop_assert_eq!(Properties::validate(&bytes), read.as_ref().map(drop).map_err(|fault| *fault));
        if let Ok(read) = read {
            let first = encode(&read).unwrap();
            prop_assert_eq!(encode(&Properties::decode(&first).unwrap()).unwrap(), first);
        }
    }

    #[test]
    fn trap_21_unknown_flags_do_not_shift_the_known_values(
        properties in arb::<Properties>(),
        words in vec(prop_oneof![Just(0), any::<u16>()], 0..4),
        fifteenth: bool,
        rest: Vec<u8>,
    ) {
        let bytes = encode(&properties).unwrap();
        let mut flags = u16::from_be_bytes([bytes[0], bytes[1]]) | u16::from(fifteenth) << 1;
        let mut with_unknown = Vec::new();
        for word in &words {
            with_unknown.extend((flags | 1).to_be_bytes());
            flags = *word & !1;
        }
        with_unknown.extend(flags.to_be_bytes());
        with_unknown.extend(&bytes[2..]);
        prop_assert_eq!(Properties::decode(&[&*with_unknown, &[]].concat()), Ok(properties.clone()));

        // Nothing may follow the known values, unless an unknown flag says that it belongs to it.
        let unknown = fifteenth || words.iter().any(|word| word & !1 != 0);
        let read = Properties::decode(&[with_unknown, rest.clone()].concat());
        if unknown || rest.is_empty() {
            prop_assert_eq!(read, Ok(properties));
        } else {
            prop_assert_eq!(read, Err(WireError::TrailingBytes(rest.len())));
        }
    }
}

#[test]
fn trap_21_each_property_has_its_flag() {
    let text = || Some("x".try_into().unwrap());
    let none = Properties::default;
    let cases: [(Properties, u16, &[u8]); 14] = [
        (Properties { content_type: text(), ..none() }, 1 << 15, b"\x01x"),
        (Properties { content_encoding: text(), ..none() }, 1 << 14, b"\x01x"),
        (Properties { headers: Some(FieldTable::new()), ..none() }, 1 << 13, b"\x00\x00\x00\x00"),
        (Properties { delivery_mode: Some(2), ..none() }, 1 << 12, b"\x02"),
        (Properties { priority: Some(9), ..none() }, 1 << 11, b"\x09"),
        (Properties { correlation_id: text(), ..none() }, 1 << 10, b"\x01x"),
        (Properties { reply_to: text(), ..none() }, 1 << 9, b"\x01x"),
        (Properties { expiration: text(), ..none() }, 1 << 8, b"\x01x"),
        (Properties { message_id: text(), ..none() }, 1 << 7, b"\x01x"),
        (Properties { timestamp: Some(7), ..none() }, 1 << 6, b"\x00\x00\x00\x00\x00\x00\x00\x07"),
        (Properties { kind: text(), ..none() }, 1 << 5, b"\x01x"),
        (Properties { user_id: text(), ..none() }, 1 << 4, b"\x01x"),
        (Properties { app_id: text(), ..none() }, 1 << 3, b"\x01x"),
        (Properties { cluster_id: text(), ..none() }, 1 << 2, b"\x01x"),
    ];
    let (mut all_flags, mut all_values) = (0, Vec::new());
    for (properties, flag, value) in &cases {
        assert_eq!(encode(properties).unwrap(), [&flag.to_be_bytes(), *value].concat(), "{properties:?}");
        all_flags |= flag;
        all_values.extend_from_slice(value);
    }
    let all = [all_flags.to_be_bytes().as_slice(), &all_values].concat();
    assert_eq!(encode(&Properties::decode(&all).unwrap()).unwrap(), all);
    assert_eq!(encode(&none()).unwrap(), [0, 0]);
}

#[test]
fn trap_25_a_property_may_hold_any_bytes() {
    let properties = Properties::decode(b"\x80\x00\x02\xff\xfe").unwrap();
    let content_type = properties.content_type.unwrap();
    assert!(content_type.as_str().is_err());
    assert_eq!(content_type.as_bytes(), b"\xff\xfe");
}

#[test]
fn a_property_that_cannot_be_encoded_writes_nothing() {
    let deep = (0..40).fold(FieldValue::Void, |value, _| FieldValue::Array(vec![value]));
    let properties = Properties::new().with_headers(FieldTable::new().with("deep", deep));
    let mut out = BytesMut::from("before");
    assert_eq!(properties.encode(&mut out), Err(WireError::TableTooDeep));
    assert_eq!(out, "before");
}
