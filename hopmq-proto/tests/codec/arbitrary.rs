//! Values of every type, made up by proptest. Floats are never NaN, so that values can be compared.

use hopmq_proto::amqp::{
    FieldTable, FieldValue, LongStr, Method, Properties, Secret, ShortStr, access, basic, channel, confirm,
    connection, exchange, queue, tx,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A type with a strategy for all its values.
pub(crate) trait Arb: Sized {
    fn arb() -> BoxedStrategy<Self>;
}

/// The strategy of whatever type the caller needs.
pub(crate) fn arb<T: Arb>() -> BoxedStrategy<T> {
    T::arb()
}

macro_rules! any {
    ($($type:ty),*) => {
        $(impl Arb for $type {
            fn arb() -> BoxedStrategy<Self> {
                any::<$type>().boxed()
            }
        })*
    };
}
any!(bool, u8, u16, u32, u64, i8, i16, i32, i64);

impl Arb for ShortStr {
    fn arb() -> BoxedStrategy<Self> {
        let bytes = prop_oneof![
            8 => vec(any::<u8>(), 0..20),
            1 => vec(any::<u8>(), 255),
            4 => "[a-z.*#é]{0,12}".prop_map(String::into_bytes),
        ];
        bytes.prop_map(|bytes| ShortStr::new(bytes).unwrap()).boxed()
    }
}

impl Arb for LongStr {
    fn arb() -> BoxedStrategy<Self> {
        let bytes = prop_oneof![8 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 256..400)];
        bytes.prop_map(|bytes| LongStr::new(bytes).unwrap()).boxed()
    }
}

impl Arb for Secret {
    fn arb() -> BoxedStrategy<Self> {
        arb().prop_map(Secret::new).boxed()
    }
}

impl Arb for FieldValue {
    fn arb() -> BoxedStrategy<Self> {
        use proptest::num::{f32, f64};
        let leaf = prop_oneof![
            arb().prop_map(FieldValue::Bool),
            arb().prop_map(FieldValue::I8),
            arb().prop_map(FieldValue::U8),
            arb().prop_map(FieldValue::I16),
            arb().prop_map(FieldValue::U16),
            arb().prop_map(FieldValue::I32),
            arb().prop_map(FieldValue::U32),
            arb().prop_map(FieldValue::I64),
            (f32::NORMAL | f32::SUBNORMAL | f32::ZERO | f32::INFINITE).prop_map(FieldValue::F32),
            (f64::NORMAL | f64::SUBNORMAL | f64::ZERO | f64::INFINITE).prop_map(FieldValue::F64),
            (arb(), arb()).prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
            arb().prop_map(FieldValue::String),
            arb().prop_map(FieldValue::Bytes),
            arb().prop_map(FieldValue::Timestamp),
            Just(FieldValue::Void),
        ];
        leaf.prop_recursive(5, 40, 6, |value| {
            prop_oneof![
                vec(value.clone(), 0..6).prop_map(FieldValue::Array),
                vec((arb(), value), 0..6)
                    .prop_map(|entries| FieldValue::Table(entries.into_iter().collect())),
            ]
        })
        .boxed()
    }
}

impl Arb for FieldTable {
    fn arb() -> BoxedStrategy<Self> {
        vec((arb(), arb::<FieldValue>()), 0..5).prop_map(|entries| entries.into_iter().collect()).boxed()
    }
}

impl Arb for Properties {
    fn arb() -> BoxedStrategy<Self> {
        let first = (
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
        );
        let second = (
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
            option::of(arb()),
        );
        (first, second)
            .prop_map(|(first, second)| {
                let (
                    content_type,
                    content_encoding,
                    headers,
                    delivery_mode,
                    priority,
                    correlation_id,
                    reply_to,
                ) = first;
                let (expiration, message_id, timestamp, kind, user_id, app_id, cluster_id) = second;
                Properties {
                    content_type,
                    content_encoding,
                    headers,
                    delivery_mode,
                    priority,
                    correlation_id,
                    reply_to,
                    expiration,
                    message_id,
                    timestamp,
                    kind,
                    user_id,
                    app_id,
                    cluster_id,
                }
            })
            .boxed()
    }
}

impl Arb for Method {
    fn arb() -> BoxedStrategy<Self> {
        proptest::strategy::Union::new(each_method()).boxed()
    }
}

macro_rules! methods {
    ($($class:ident { $($name:ident { $($field:ident),* })* })*) => {
        /// A strategy per method, with all its fields made up.
        pub(crate) fn each_method() -> Vec<BoxedStrategy<Method>> {
            vec![$($({
                let fields = (Just(()), $({ stringify!($field); arb() },)*);
                fields.prop_map(|((), $($field,)*)| Method::from($class::$name { $($field,)* })).boxed()
            },)*)*]
        }
    };
}

methods! {
    connection {
        Start { version_major, version_minor, server_properties, mechanisms, locales }
        StartOk { client_properties, mechanism, response, locale }
        Secure { challenge }
        SecureOk { response }
        Tune { channel_max, frame_max, heartbeat }
        TuneOk { channel_max, frame_max, heartbeat }
        Open { virtual_host }
        OpenOk {}
        Close { reply_code, reply_text, class_id, method_id }
        CloseOk {}
        Blocked { reason }
        Unblocked {}
        UpdateSecret { new_secret, reason }
        UpdateSecretOk {}
    }
    channel {
        Open {}
        OpenOk {}
        Flow { active }
        FlowOk { active }
        Close { reply_code, reply_text, class_id, method_id }
        CloseOk {}
    }
    access {
        Request { realm, exclusive, passive, active, write, read }
        RequestOk { ticket }
    }
    exchange {
        Declare { exchange, kind, passive, durable, auto_delete, internal, no_wait, arguments }
        DeclareOk {}
        Delete { exchange, if_unused, no_wait }
        DeleteOk {}
        Bind { destination, source, routing_key, no_wait, arguments }
        BindOk {}
        Unbind { destination, source, routing_key, no_wait, arguments }
        UnbindOk {}
    }
    queue {
        Declare { queue, passive, durable, exclusive, auto_delete, no_wait, arguments }
        DeclareOk { queue, message_count, consumer_count }
        Bind { queue, exchange, routing_key, no_wait, arguments }
        BindOk {}
        Purge { queue, no_wait }
        PurgeOk { message_count }
        Delete { queue, if_unused, if_empty, no_wait }
        DeleteOk { message_count }
        Unbind { queue, exchange, routing_key, arguments }
        UnbindOk {}
    }
    basic {
        Qos { prefetch_size, prefetch_count, global }
        QosOk {}
        Consume { queue, consumer_tag, no_local, no_ack, exclusive, no_wait, arguments }
        ConsumeOk { consumer_tag }
        Cancel { consumer_tag, no_wait }
        CancelOk { consumer_tag }
        Publish { exchange, routing_key, mandatory, immediate }
        Return { reply_code, reply_text, exchange, routing_key }
        Deliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key }
        Get { queue, no_ack }
        GetOk { delivery_tag, redelivered, exchange, routing_key, message_count }
        GetEmpty {}
        Ack { delivery_tag, multiple }
        Reject { delivery_tag, requeue }
        RecoverAsync { requeue }
        Recover { requeue }
        RecoverOk {}
        Nack { delivery_tag, multiple, requeue }
    }
    confirm {
        Select { no_wait }
        SelectOk {}
    }
    tx {
        Select {}
        SelectOk {}
        Commit {}
        CommitOk {}
        Rollback {}
        RollbackOk {}
    }
}

/// What happens to valid bytes on their way.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
}

/// A few damages, for [`damaged`].
pub(crate) fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let octet =
        prop_oneof![any::<u8>(), proptest::sample::select(b"tbBsuIilLfdDSAFTVxU\x00\x01\xff".to_vec())];
    let damage = prop_oneof![
        6 => (any::<usize>(), octet.clone()).prop_map(|(at, octet)| Damage::Set(at, octet)),
        2 => (any::<usize>(), octet).prop_map(|(at, octet)| Damage::Insert(at, octet)),
        2 => any::<usize>().prop_map(Damage::Remove),
        1 => any::<usize>().prop_map(Damage::Cut),
    ];
    vec(damage, 1..6)
}

/// `bytes` after `damages`.
pub(crate) fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        let len = bytes.len();
        match *damage {
            Damage::Insert(at, octet) => bytes.insert(at % (len + 1), octet),
            Damage::Cut(at) => bytes.truncate(at % (len + 1)),
            _ if len == 0 => {}
            Damage::Set(at, octet) => bytes[at % len] = octet,
            Damage::Remove(at) => drop(bytes.remove(at % len)),
        }
    }
    bytes
}
