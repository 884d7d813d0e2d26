use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use crate::amqp::{FieldTable, FieldValue, ShortStr};

use super::super::arguments::{equal, type_name};
use super::super::fault::Fault;

/// Which headers a binding asks for.
#[derive(Debug)]
pub(in super::super) struct Criteria {
    any: bool,
    /// The headers and their values; void asks for presence only.
    wanted: Vec<(ShortStr, FieldValue)>,
}

impl Criteria {
    pub(super) fn new(arguments: &FieldTable) -> Self {
        let (any, with_x) = match arguments.get("x-match").and_then(FieldValue::as_str) {
            Some("any") => (true, false),
            Some("any-with-x") => (true, true),
            Some("all-with-x") => (false, true),
            _ => (false, false),
        };
        let wanted = arguments
            .iter()
            .filter(|(key, _)| *key != "x-match" && (with_x || !key.as_bytes().starts_with(b"x-")))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Self { any, wanted }
    }

    pub(super) fn matches(&self, headers: &Index<'_>) -> bool {
        let has = |(key, wanted): &(ShortStr, FieldValue)| {
            let value = headers.0.get(key.as_bytes());
            value.is_some_and(|value| *wanted == FieldValue::Void || equal(wanted, value))
        };
        if self.any { self.wanted.iter().any(has) } else { self.wanted.iter().all(has) }
    }
}

/// The headers of one message by name, so that many bindings can look at many headers.
#[derive(Debug)]
pub(super) struct Index<'a>(BTreeMap<&'a [u8], &'a FieldValue>);

impl<'a> Index<'a> {
    pub(super) fn new(headers: Option<&'a FieldTable>) -> Self {
        let mut index = BTreeMap::new();
        for (key, value) in headers.into_iter().flat_map(FieldTable::iter) {
            index.entry(key.as_bytes()).or_insert(value);
        }
        Self(index)
    }
}

/// Refuses an `x-match` that means nothing.
pub(in super::super) fn check_arguments(arguments: &FieldTable) -> Result<(), Fault> {
    match arguments.get("x-match") {
        None => Ok(()),
        Some(FieldValue::String(text)) => match text.as_bytes() {
            b"all" | b"any" | b"all-with-x" | b"any-with-x" => Ok(()),
            _ => Err(Fault::precondition(format!(
                "Invalid x-match field value <<\"{text}\">>; expected all, any, all-with-x, or any-with-x"
            ))),
        },
        Some(other) => Err(Fault::precondition(format!(
            "Invalid x-match field type {}; expected longstr",
            type_name(other)
        ))),
    }
}
