use alloc::format;
use alloc::string::{String, ToString};

use crate::amqp::{FieldTable, FieldValue};

use super::fault::Fault;

/// Refuses `received` when one of `keys` differs from `current`. The width of an integer does not matter.
pub(super) fn assert_same(
    keys: &[&str],
    what: &str,
    current: &FieldTable,
    received: &FieldTable,
) -> Result<(), Fault> {
    for key in keys {
        let (was, is) = (current.get(key), received.get(key));
        if !same(was, is) {
            // RabbitMQ tells the type only where there is one value.
            let (received, current) = match (is, was) {
                (Some(is), Some(was)) => (format!("'{}'", text(is)), format!("'{}'", text(was))),
                (is, was) => (describe(is), describe(was)),
            };
            return Err(Fault::precondition(format!(
                "inequivalent arg '{key}' for {what}: received {received} but current is {current}"
            )));
        }
    }
    Ok(())
}

fn same(one: Option<&FieldValue>, other: Option<&FieldValue>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => equal(one, other),
        _ => false,
    }
}

/// Whether two values are equal; integers of any width are.
pub(super) fn equal(one: &FieldValue, other: &FieldValue) -> bool {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one == other,
        _ => false,
    }
}

fn describe(value: Option<&FieldValue>) -> String {
    match value {
        None => "none".to_string(),
        Some(value) => format!("the value '{}' of type '{}'", text(value), type_name(value)),
    }
}

fn text(value: &FieldValue) -> String {
    match value {
        FieldValue::Bool(truth) => truth.to_string(),
        FieldValue::F32(number) => number.to_string(),
        FieldValue::F64(number) => number.to_string(),
        FieldValue::Timestamp(seconds) => seconds.to_string(),
        FieldValue::String(text) | FieldValue::Bytes(text) => text.to_string(),
        other => other.as_i64().map_or_else(|| format!("{other:?}"), |number| number.to_string()),
    }
}

/// RabbitMQ's name of a value's type.
pub(super) fn type_name(value: &FieldValue) -> &'static str {
    match value {
        FieldValue::Bool(_) => "bool",
        FieldValue::I8(_) => "byte",
        FieldValue::U8(_) => "unsignedbyte",
        FieldValue::I16(_) => "short",
        FieldValue::U16(_) => "unsignedshort",
        FieldValue::I32(_) => "signedint",
        FieldValue::U32(_) => "unsignedint",
        FieldValue::I64(_) => "long",
        FieldValue::F32(_) => "float",
        FieldValue::F64(_) => "double",
        FieldValue::Decimal { .. } => "decimal",
        FieldValue::String(_) => "longstr",
        FieldValue::Bytes(_) => "binary",
        FieldValue::Array(_) => "array",
        FieldValue::Timestamp(_) => "timestamp",
        FieldValue::Table(_) => "table",
        FieldValue::Void => "void",
    }
}
