use bytes::{Bytes, BytesMut};
use hopmq_proto::amqp::{FieldTable, FieldValue, MAX_TABLE_DEPTH, Reader, ShortStr, WireError, Writer};
use proptest::prelude::*;

use crate::arbitrary::{arb, damaged, damages};

pub(crate) fn encode(table: &FieldTable) -> Result<Vec<u8>, WireError> {
    let mut out = BytesMut::new();
    let mut writer = Writer::new(&mut out);
    writer.table(table);
    writer.finish().map(|()| out.to_vec())
}

fn decode(bytes: &[u8]) -> Result<FieldTable, WireError> {
    Reader::new(bytes).table()
}

/// A table with one entry `k`, whose value is these octets.
fn entry(value: &[u8]) -> Vec<u8> {
    let len = u32::try_from(2 + value.len()).unwrap();
    [&len.to_be_bytes(), b"\x01k".as_slice(), value].concat()
}

fn value_of(value: &[u8]) -> Result<FieldValue, WireError> {
    decode(&entry(value)).map(|table| table.get("k").unwrap().clone())
}

proptest! {
    #[test]
    fn a_table_is_read_as_it_was_written(table in arb::<FieldTable>()) {
        let bytes = encode(&table).unwrap();
        prop_assert_eq!(decode(&bytes), Ok(table));
    }

    #[test]
    fn what_follows_a_table_is_left(table in arb::<FieldTable>(), rest: Vec<u8>) {
        let bytes = [encode(&table).unwrap(), rest.clone()].concat();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.table(), Ok(table));
        prop_assert_eq!(reader.rest(), rest);
    }

    #[test]
    fn a_float_keeps_its_bits(single: u32, double: u64) {
        let table = FieldTable::new().with("f", f32::from_bits(single)).with("d", f64::from_bits(double));
        let again = decode(&encode(&table).unwrap()).unwrap();
        let Some(FieldValue::F32(f)) = again.get("f") else { panic!("{again:?}") };
        let Some(FieldValue::F64(d)) = again.get("d") else { panic!("{again:?}") };
        prop_assert_eq!((f.to_bits(), d.to_bits()), (single, double));
    }

    #[test]
    fn a_table_that_is_cut_is_truncated(table in arb::<FieldTable>()) {
        let bytes = encode(&table).unwrap();
        for end in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..end]), Err(WireError::Truncated), "at {}", end);
        }
    }

    #[test]
    fn a_damaged_table_is_refused_or_read(table in arb::<FieldTable>(), damages in damages()) {
        let bytes = damaged(&encode(&table).unwrap(), &damages);
        if let Ok(read) = decode(&bytes) {
            let first = encode(&read).unwrap();
            prop_assert_eq!(encode(&decode(&first).unwrap()).unwrap(), first);
        }
    }

    #[test]
    fn a_table_holds_what_was_inserted_last(entries: Vec<(u8, i32)>, removed: u8) {
        let mut model: Vec<(u8, i32)> = Vec::new();
        let mut table = FieldTable::new();
        for (key, value) in entries {
            table.insert(format!("{}", key % 8), value).unwrap();
            match model.iter_mut().find(|(known, _)| *known == key % 8) {
                Some(entry) => entry.1 = value,
                None => model.push((key % 8, value)),
            }
        }
        let expected = model.iter().position(|(key, _)| *key == removed).map(|at| model.remove(at).1);
        prop_assert_eq!(table.remove(format!("{removed}")), expected.map(FieldValue::I32));
        let held: Vec<_> = table.iter().map(|(key, value)| (key.to_string(), value.as_i64().unwrap())).collect();
        let model: Vec<_> = model.iter().map(|(key, value)| (key.to_string(), i64::from(*value))).collect();
        prop_assert_eq!(held, model);
    }
}

#[test]
fn trap_22_every_type_tag_is_the_one_of_the_errata() {
    let nested = FieldTable::new().with("a", FieldValue::Void);
    let cases: [(FieldValue, &[u8]); 18] = [
        (FieldValue::Bool(true), b"t\x01"),
        (FieldValue::Bool(false), b"t\x00"),
        (FieldValue::I8(-2), b"b\xfe"),
        (FieldValue::U8(254), b"B\xfe"),
        (FieldValue::I16(-2), b"s\xff\xfe"),
        (FieldValue::U16(0xfffe), b"u\xff\xfe"),
        (FieldValue::I32(-2), b"I\xff\xff\xff\xfe"),
        (FieldValue::U32(0xffff_fffe), b"i\xff\xff\xff\xfe"),
        (FieldValue::I64(-2), b"l\xff\xff\xff\xff\xff\xff\xff\xfe"),
        (FieldValue::F32(1.5), b"f\x3f\xc0\x00\x00"),
        (FieldValue::F64(-2.0), b"d\xc0\x00\x00\x00\x00\x00\x00\x00"),
        (FieldValue::Decimal { scale: 2, value: 314 }, b"D\x02\x00\x00\x01\x3a"),
        (FieldValue::from("hi"), b"S\x00\x00\x00\x02hi"),
        (FieldValue::Bytes("hi".try_into().unwrap()), b"x\x00\x00\x00\x02hi"),
        (FieldValue::Array(vec![FieldValue::Void, FieldValue::I8(1)]), b"A\x00\x00\x00\x03Vb\x01"),
        (FieldValue::Timestamp(1), b"T\x00\x00\x00\x00\x00\x00\x00\x01"),
        (FieldValue::Table(nested), b"F\x00\x00\x00\x03\x01aV"),
        (FieldValue::Void, b"V"),
    ];
    for (value, bytes) in cases {
        let table = FieldTable::new().with("k", value.clone());
        assert_eq!(encode(&table).unwrap(), entry(bytes), "{value:?}");
        assert_eq!(value_of(bytes), Ok(value));
    }
}

#[test]
fn trap_22_s_is_a_signed_16_bit_number_and_no_string() {
    assert_eq!(value_of(b"s\x80\x00"), Ok(FieldValue::I16(i16::MIN)));
    assert_eq!(value_of(b"s\x02hi"), Err(WireError::Truncated)); // the specification's short string
}

#[test]
fn trap_22_l_and_capital_l_are_signed() {
    for tag in [b'l', b'L'] {
        let bytes = [&[tag], [0xff; 8].as_slice()].concat();
        assert_eq!(value_of(&bytes), Ok(FieldValue::I64(-1)));
    }
}

#[test]
fn trap_22_capital_u_of_old_peers_is_read_and_never_written() {
    assert_eq!(value_of(b"U\xff\xfe"), Ok(FieldValue::I16(-2)));
    let table = FieldTable::new().with("k", FieldValue::I16(-2));
    assert_eq!(encode(&table).unwrap(), entry(b"s\xff\xfe"));
}

#[test]
fn trap_22_any_octet_but_zero_is_true() {
    for octet in 1..=255 {
        assert_eq!(value_of(&[b't', octet]), Ok(FieldValue::Bool(true)));
    }
}

#[test]
fn trap_22_an_unknown_tag_is_an_error() {
    for tag in 0..=255u8 {
        let known = b"tbBsuIilLfdDSATFVxU".contains(&tag);
        let read = value_of(&[[tag].as_slice(), &[0; 8]].concat());
        assert_eq!(read == Err(WireError::UnknownFieldType(tag)), !known, "{tag:#x}: {read:?}");
    }
}

#[test]
fn trap_23_lengths_are_in_bytes() {
    let array = FieldValue::Array(vec![FieldValue::U16(1); 3]);
    let table = FieldTable::new().with("k", array);
    assert_eq!(encode(&table).unwrap(), entry(b"A\x00\x00\x00\x09u\x00\x01u\x00\x01u\x00\x01"));
    // A count of three in place of nine bytes ends behind the first number.
    assert_eq!(decode(&entry(b"A\x00\x00\x00\x03u\x00\x01")).unwrap().len(), 1);
    assert!(decode(&entry(b"A\x00\x00\x00\x03u\x00\x01u\x00\x01u\x00\x01")).is_err());
}

#[test]
fn trap_23_an_empty_table_is_four_zero_bytes() {
    assert_eq!(encode(&FieldTable::new()).unwrap(), [0; 4]);
    assert_eq!(decode(&[0; 4]), Ok(FieldTable::new()));
    assert_eq!(decode(&[]), Err(WireError::Truncated));
}

#[test]
fn trap_23_of_duplicate_keys_the_first_counts_and_all_are_removed() {
    let mut table = decode(b"\x00\x00\x00\x0c\x01kb\x01\x01jb\x02\x01kb\x03").unwrap();
    assert_eq!(table.len(), 3);
    assert_eq!(table.get("k"), Some(&FieldValue::I8(1)));

    let mut changed = table.clone();
    changed.insert("k", 9i8).unwrap();
    assert_eq!(changed, FieldTable::new().with("k", 9i8).with("j", 2i8));

    assert_eq!(table.remove("k"), Some(FieldValue::I8(1)));
    assert_eq!(table, FieldTable::new().with("j", 2i8));
}

#[test]
fn trap_24_a_key_of_256_bytes_is_refused() {
    let mut table = FieldTable::new();
    assert_eq!(table.insert("k".repeat(256), true), Err(WireError::ShortStrTooLong(256)));
    assert!(table.is_empty());
    table.insert("k".repeat(255), true).unwrap();
    assert_eq!(decode(&encode(&table).unwrap()), Ok(table));
}

#[test]
fn trap_24_a_short_string_is_measured_in_bytes() {
    assert!(ShortStr::try_from("é".repeat(127)).is_ok());
    assert_eq!(ShortStr::try_from("é".repeat(128)), Err(WireError::ShortStrTooLong(256)));
    assert_eq!(ShortStr::truncated(&"é".repeat(128)).len(), 254);
}

#[test]
fn trap_25_keys_and_strings_may_hold_any_bytes() {
    let bytes = b"\x00\x00\x00\x09\x02\xff\xfeS\x00\x00\x00\x01\x80";
    let table = decode(bytes).unwrap();
    let (key, value) = table.iter().next().unwrap();
    assert!(key.as_str().is_err());
    assert_eq!(value.as_str(), None);
    assert_eq!(encode(&table).unwrap(), bytes);
}

/// A table in which `depth` tables and arrays hold each other, the table itself counted.
fn nested(depth: usize, container: fn(FieldValue, usize) -> FieldValue) -> FieldTable {
    let value = (1..depth).fold(FieldValue::Void, container);
    FieldTable::new().with("k", value)
}

fn in_table(value: FieldValue, _: usize) -> FieldValue {
    FieldValue::Table(FieldTable::new().with("k", value))
}

fn in_array(value: FieldValue, _: usize) -> FieldValue {
    FieldValue::Array(vec![value])
}

fn in_either(value: FieldValue, level: usize) -> FieldValue {
    if level.is_multiple_of(2) { in_table(value, level) } else { in_array(value, level) }
}

/// The same without our encoder, which refuses the deeper ones.
fn nested_bytes(depth: usize, container: fn(FieldValue, usize) -> FieldValue) -> Vec<u8> {
    let mut value = b"V".to_vec();
    for level in 1..depth {
        let is_table = matches!(container(FieldValue::Void, level), FieldValue::Table(_));
        let content = if is_table { [b"\x01k", &*value].concat() } else { value };
        let len = u32::try_from(content.len()).unwrap().to_be_bytes();
        value = [if is_table { b"F".as_slice() } else { b"A" }, &len, &content].concat();
    }
    entry(&value)
}

#[test]
fn trap_25_nesting_is_bounded_both_ways() {
    assert_eq!(MAX_TABLE_DEPTH, 32);
    for container in [in_table, in_array, in_either] {
        for depth in [1, 2, 31, 32] {
            let (table, bytes) = (nested(depth, container), nested_bytes(depth, container));
            assert_eq!(encode(&table), Ok(bytes.clone()), "depth {depth}");
            assert_eq!(decode(&bytes), Ok(table), "depth {depth}");
        }
        for depth in [33, 34, 100] {
            assert_eq!(encode(&nested(depth, container)), Err(WireError::TableTooDeep), "depth {depth}");
            assert_eq!(
                decode(&nested_bytes(depth, container)),
                Err(WireError::TableTooDeep),
                "depth {depth}"
            );
        }
        assert_eq!(decode(&nested_bytes(20_000, container)), Err(WireError::TableTooDeep));
    }
}

#[test]
fn a_value_is_small_in_memory() {
    // What a peer can make us allocate is this times the bytes of its frame.
    assert!(size_of::<FieldValue>() <= 40, "{}", size_of::<FieldValue>());
    assert!(size_of::<(ShortStr, FieldValue)>() <= 72, "{}", size_of::<(ShortStr, FieldValue)>());
}

#[test]
fn rust_values_go_in_and_come_out() {
    let borrowed = String::from("x");
    let table = FieldTable::new()
        .with("text", String::from("grün"))
        .with("borrowed", &borrowed)
        .with("bytes", vec![0_u8, 255])
        .with("shared", Bytes::from_static(b"abc"))
        .with("slice", &[1_u8][..])
        .with("small", 7_u8)
        .with("negative", -7_i64)
        .with("float", 1.5_f32)
        .with("nothing", None::<i32>)
        .with("something", Some(true))
        .with("list", (1..=3).collect::<FieldValue>())
        .with("nested", FieldTable::new().with("k", "v"));
    let table = decode(&encode(&table).unwrap()).unwrap();
    let get = |key: &str| table.get(key).unwrap();
    assert_eq!((get("text").as_str(), get("text").as_bytes()), (Some("grün"), Some("grün".as_bytes())));
    assert_eq!(get("borrowed").as_str(), Some(&*borrowed));
    assert_eq!((get("bytes").as_bytes(), get("bytes").as_str()), (Some(&[0, 255][..]), None));
    assert_eq!(get("shared").as_bytes(), Some(&b"abc"[..]));
    assert_eq!(get("slice"), &FieldValue::from(vec![1_u8]));
    assert_eq!((get("small").as_u64(), get("small").as_i64()), (Some(7), Some(7)));
    assert_eq!((get("negative").as_u64(), get("negative").as_i64()), (None, Some(-7)));
    assert_eq!((get("float").as_f64(), get("float").as_i64()), (Some(1.5), None));
    assert_eq!((get("nothing"), get("something").as_bool()), (&FieldValue::Void, Some(true)));
    let list: Vec<_> = get("list").as_array().unwrap().iter().filter_map(FieldValue::as_i64).collect();
    assert_eq!(list, [1, 2, 3]);
    assert_eq!(get("nested").as_table().and_then(|nested| nested.get("k")?.as_str()), Some("v"));
    assert_eq!(FieldValue::Timestamp(9).as_timestamp(), Some(9));
    assert_eq!(FieldValue::try_from(u64::MAX).ok(), None, "AMQP has no such number");
    assert_eq!(FieldValue::try_from(9_u64), Ok(FieldValue::I64(9)));
    assert_eq!(FieldValue::try_from(9_usize), Ok(FieldValue::I64(9)));
    assert_eq!(table.into_iter().next().unwrap().0, "text");
}
