use bytes::BytesMut;
use hopmq_proto::amqp::{FieldTable, FieldValue, MAX_TABLE_DEPTH, Reader, Writer};

/// A field table, its length in front, and whatever follows it.
///
/// What is read, is written so that it is read as the same again; its nesting is bounded; what follows is left alone.
pub fn table(data: &[u8]) {
    let mut reader = Reader::new(data);
    let Ok(table) = reader.table() else { return };
    let taken = data.len() - reader.rest().len();
    assert!(depth(&table) <= MAX_TABLE_DEPTH);

    let first = encode(&table);
    assert_eq!(first.len(), taken, "a value changes its width");
    let mut reader = Reader::new(&first);
    let again = reader.table().unwrap_or_else(|fault| panic!("{fault}: {table:?}"));
    assert!(reader.is_empty());
    assert_eq!(encode(&again), first, "written twice, {table:?} differs");
    every_key_can_be_removed(table);
}

fn encode(table: &FieldTable) -> BytesMut {
    let mut out = BytesMut::new();
    let mut writer = Writer::new(&mut out);
    writer.table(table);
    writer.finish().unwrap_or_else(|fault| panic!("{fault}: {table:?}"));
    out
}

fn depth(table: &FieldTable) -> usize {
    1 + table.iter().map(|(_, value)| value_depth(value)).max().unwrap_or(0)
}

fn value_depth(value: &FieldValue) -> usize {
    match value {
        FieldValue::Table(table) => depth(table),
        FieldValue::Array(values) => 1 + values.iter().map(value_depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn every_key_can_be_removed(mut table: FieldTable) {
    let keys: Vec<_> = table.iter().map(|(key, _)| key.clone()).collect();
    for key in keys {
        assert_eq!(table.get(&key).is_some(), table.remove(&key).is_some());
        assert!(table.get(&key).is_none(), "{key:?} is there twice");
    }
    assert!(table.is_empty());
}
