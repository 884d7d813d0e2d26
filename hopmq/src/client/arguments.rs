//! Values of arguments, as RabbitMQ takes them.

use std::time::Duration;

use hopmq_proto::amqp::{FieldTable, FieldValue};

use super::Error;

/// Sets an argument in the table of a method, unless something else in the method is wrong already.
pub(super) fn put<M>(
    method: &mut Result<M, Error>,
    table: impl FnOnce(&mut M) -> &mut FieldTable,
    name: &str,
    value: Result<FieldValue, Error>,
) {
    let Ok(fields) = method.as_mut().map(table) else { return };
    let inserted = value.and_then(|value| {
        fields.insert(name, value).map_err(|error| Error::Argument { argument: "argument", error })
    });
    if let Err(error) = inserted {
        *method = Err(error);
    }
}

/// An integer. RabbitMQ knows no unsigned ones of 64 bits, and takes those of any width for equal.
pub(super) fn number(argument: &'static str, value: u64) -> Result<FieldValue, Error> {
    i64::try_from(value).map(FieldValue::I64).map_err(|_| Error::TooLarge { argument })
}

/// A time in milliseconds, rounded up: a time that is not zero must not become zero, which often means something else.
pub(super) fn milliseconds(argument: &'static str, time: Duration) -> Result<FieldValue, Error> {
    let milliseconds = time.as_nanos().div_ceil(1_000_000);
    u64::try_from(milliseconds).map_err(|_| Error::TooLarge { argument }).and_then(|n| number(argument, n))
}

/// An age, such as `3600s`, rounded up to seconds.
pub(super) fn age(time: Duration) -> String {
    let seconds = u128::from(time.as_secs()) + u128::from(time.subsec_nanos() > 0);
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_and_what_does_not_fit_is_named() {
        let cases = [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_micros(1001), 2),
            (Duration::from_secs(60), 60_000),
            (Duration::from_millis(i64::MAX as u64), i64::MAX),
        ];
        for (time, expected) in cases {
            assert_eq!(milliseconds("x-message-ttl", time), Ok(FieldValue::I64(expected)));
        }
        for time in [Duration::from_millis(i64::MAX as u64 + 1), Duration::MAX] {
            let error = milliseconds("x-message-ttl", time).unwrap_err();
            assert_eq!(error, Error::TooLarge { argument: "x-message-ttl" });
            assert_eq!(error.to_string(), "x-message-ttl is larger than 64 bits with a sign can say");
        }
        assert_eq!(number("x-max-length", u64::MAX), Err(Error::TooLarge { argument: "x-max-length" }));
        assert_eq!(age(Duration::from_millis(3_599_001)), "3600s");
        assert_eq!(age(Duration::MAX), "18446744073709551616s");
    }
}
