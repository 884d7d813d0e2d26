use bytes::BytesMut;
use hopmq_proto::amqp::{Deliver, Method, Publish, WireError, basic, write_deliver, write_publish};

/// The payload of a method frame.
///
/// What is read, is written so that it is read as the same again, and the borrowed readers of the hot path say what
/// the declared methods say.
pub fn method(data: &[u8]) {
    let read = Method::decode(data);
    match data.split_at_checked(4) {
        Some((id, arguments)) if id == [0, 60, 0, 40] => publish(arguments, &read),
        Some((id, arguments)) if id == [0, 60, 0, 60] => deliver(arguments, &read),
        _ => {}
    }
    let Ok(read) = read else { return };
    let (class, method) = read.id();
    assert_eq!(data[..4], [class.to_be_bytes(), method.to_be_bytes()].concat());

    let first = encode(&read);
    assert!(first.len() <= data.len(), "reading and writing makes nothing longer");
    let again = Method::decode(&first).unwrap_or_else(|fault| panic!("{fault}: {read:?}"));
    assert_eq!(again.id(), read.id());
    assert_eq!(encode(&again), first, "written twice, {read:?} differs");
}

fn encode(method: &Method) -> BytesMut {
    let mut out = BytesMut::new();
    method.encode(&mut out).unwrap_or_else(|fault| panic!("{fault}: {method:?}"));
    out
}

fn publish(arguments: &[u8], declared: &Result<Method, WireError>) {
    match (Publish::read(arguments), declared) {
        (Ok(borrowed), Ok(Method::BasicPublish(owned))) => {
            let basic::Publish { exchange, routing_key, mandatory, immediate } = owned;
            assert_eq!(
                (borrowed.exchange, borrowed.routing_key),
                (exchange.as_bytes(), routing_key.as_bytes())
            );
            assert_eq!((borrowed.mandatory, borrowed.immediate), (*mandatory, *immediate));
            let mut out = BytesMut::new();
            assert_eq!(write_publish(&mut out, &borrowed), Ok(()));
            assert_eq!(out, encode(&owned.clone().into()));
        }
        (Err(fault), Err(declared)) => assert_eq!(fault, *declared),
        (borrowed, declared) => panic!("{borrowed:?} is not {declared:?}"),
    }
}

fn deliver(arguments: &[u8], declared: &Result<Method, WireError>) {
    match (Deliver::read(arguments), declared) {
        (Ok(borrowed), Ok(Method::BasicDeliver(owned))) => {
            let basic::Deliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key } = owned;
            assert_eq!(
                (borrowed.consumer_tag, borrowed.exchange, borrowed.routing_key),
                (consumer_tag.as_bytes(), exchange.as_bytes(), routing_key.as_bytes())
            );
            assert_eq!((borrowed.delivery_tag, borrowed.redelivered), (*delivery_tag, *redelivered));
            let mut out = BytesMut::new();
            assert_eq!(write_deliver(&mut out, &borrowed), Ok(()));
            assert_eq!(out, encode(&owned.clone().into()));
        }
        (Err(fault), Err(declared)) => assert_eq!(fault, *declared),
        (borrowed, declared) => panic!("{borrowed:?} is not {declared:?}"),
    }
}
