use bytes::BytesMut;
use hopmq_proto::amqp::Properties;

/// The flags and values that end a content header.
///
/// What is read, is written so that it is read as the same again, and `validate` says what `decode` says.
pub fn properties(data: &[u8]) {
    let read = Properties::decode(data);
    assert_eq!(Properties::validate(data), read.as_ref().map(drop).map_err(|fault| *fault));
    let Ok(read) = read else { return };

    let first = encode(&read);
    assert!(first.len() <= data.len(), "reading and writing makes nothing longer");
    let again = Properties::decode(&first).unwrap_or_else(|fault| panic!("{fault}: {read:?}"));
    assert_eq!(encode(&again), first, "written twice, {read:?} differs");
}

fn encode(properties: &Properties) -> BytesMut {
    let mut out = BytesMut::new();
    properties.encode(&mut out).unwrap_or_else(|fault| panic!("{fault}: {properties:?}"));
    out
}
