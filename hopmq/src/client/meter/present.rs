use std::time::Duration;

use hopmq_proto::client::{Config, Confirmation, Delivery, Event, Reply, Settle, Token};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

const UNCONFIRMED: &str = "hopmq_unconfirmed";
const UNCONFIRMED_BYTES: &str = "hopmq_unconfirmed_bytes";
const OUTBOX_BYTES: &str = "hopmq_outbox_bytes";
const RECOVERY: &str = "hopmq_recovery_seconds";

/// Declares each counter once: its field, its name, its unit and what it counts.
macro_rules! counters {
    ($($field:ident, $name:literal, $unit:ident, $meaning:literal;)*) => {
        #[derive(Debug, Default)]
        struct Counted {
            $($field: u64,)*
        }

        #[derive(Debug)]
        struct Counters {
            $($field: Counter,)*
        }

        impl Counters {
            fn new(connection: &str) -> Self {
                $(describe_counter!($name, Unit::$unit, $meaning);)*
                Self { $($field: counter!($name, "connection" => connection.to_owned()),)* }
            }

            fn add(&self, counted: &Counted) {
                $(if counted.$field > 0 {
                    self.$field.increment(counted.$field);
                })*
            }
        }
    };
}

counters! {
    published, "hopmq_published_total", Count, "Messages given to the connection to be sent";
    confirmed, "hopmq_confirmed_total", Count, "Messages that the server has confirmed";
    nacked, "hopmq_nacked_total", Count, "Messages that the server has refused";
    returned, "hopmq_returned_total", Count, "Mandatory messages that came back";
    unknown, "hopmq_unknown_total", Count, "Messages whose confirm did not come";
    delivered, "hopmq_delivered_total", Count, "Messages that have come, to consumers and by get";
    redelivered, "hopmq_redelivered_total", Count, "Messages among them that may have come before";
    acked, "hopmq_acked_total", Count, "Acknowledgements given";
    reconnects, "hopmq_reconnects_total", Count, "How often a lost connection has come back";
    received, "hopmq_received_bytes_total", Bytes, "Bytes of AMQP received";
    sent, "hopmq_sent_bytes_total", Bytes, "Bytes of AMQP given to the transport";
}

/// What has been counted since it was last told.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counted: Counted,
    /// By how many the unconfirmed have become more.
    unconfirmed: i64,
    /// The bytes that wait to be written.
    outbox: Level,
    /// Those of messages that are kept.
    kept: Level,
    /// How long the connection was away, each time.
    recoveries: Vec<Duration>,
}

/// How much there is of something, and by how much that is more than what was told.
#[derive(Debug, Default)]
struct Level {
    now: usize,
    change: i64,
}

impl Level {
    fn set(&mut self, now: usize) {
        self.change += signed(now) - signed(self.now);
        self.now = now;
    }

    /// Once this was told.
    const fn next(&self) -> Self {
        Self { now: self.now, change: 0 }
    }
}

impl Counts {
    /// A message was accepted, and its confirm is to come.
    pub(crate) fn on_publish(&mut self, confirm: Option<Token>) {
        self.counted.published += 1;
        self.unconfirmed += i64::from(confirm.is_some());
    }

    /// A delivery was settled.
    pub(crate) fn on_settled(&mut self, settle: Settle) {
        self.counted.acked += u64::from(matches!(settle, Settle::Ack { .. }));
    }

    pub(crate) fn on_event(&mut self, event: &Event) {
        match event {
            Event::Confirmed { result, .. } => {
                self.unconfirmed -= 1;
                let fate = match result {
                    Ok(Confirmation::Acked) => &mut self.counted.confirmed,
                    Ok(Confirmation::Nacked) => &mut self.counted.nacked,
                    Ok(Confirmation::Returned(_)) => &mut self.counted.returned,
                    Ok(Confirmation::Unsent(_)) | Err(_) => &mut self.counted.unknown,
                };
                *fate += 1;
            }
            Event::Returned { .. } => self.counted.returned += 1,
            Event::Recovered { took, .. } => {
                self.counted.reconnects += 1;
                self.recoveries.push(*took);
            }
            Event::Delivery { delivery, .. } => self.on_delivery(delivery),
            Event::Reply { result: Ok(Reply::Message { delivery, .. }), .. } => self.on_delivery(delivery),
            _ => {}
        }
    }

    fn on_delivery(&mut self, delivery: &Delivery) {
        self.counted.delivered += 1;
        self.counted.redelivered += u64::from(delivery.redelivered);
    }

    /// So much has come and was understood.
    pub(crate) fn on_input(&mut self, bytes: usize) {
        self.counted.received += bytes as u64;
    }

    /// So much more is for the transport to write, and so much waits, with that.
    pub(crate) fn on_output(&mut self, bytes: usize, waiting: usize) {
        self.counted.sent += bytes as u64;
        self.outbox.set(waiting);
    }

    /// So much is kept to be sent again.
    pub(crate) fn on_kept(&mut self, bytes: usize) {
        self.kept.set(bytes);
    }

    /// What there is to tell; the counting begins anew.
    pub(crate) fn take(&mut self) -> Self {
        let next = Self { outbox: self.outbox.next(), kept: self.kept.next(), ..Self::default() };
        std::mem::replace(self, next)
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Tells the recorder that was installed when the connection was made.
#[derive(Debug)]
pub(crate) struct Meter {
    counters: Counters,
    unconfirmed: Gauge,
    unconfirmed_bytes: Gauge,
    outbox: Gauge,
    recovery: Histogram,
}

impl Meter {
    pub(crate) fn new(config: &Config) -> Self {
        let name = config.connection_name.as_ref().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        describe_gauge!(UNCONFIRMED, Unit::Count, "Messages that wait for their confirm");
        describe_gauge!(
            UNCONFIRMED_BYTES,
            Unit::Bytes,
            "Bytes of messages that are kept until they are confirmed"
        );
        describe_gauge!(OUTBOX_BYTES, Unit::Bytes, "Bytes that wait to be written");
        describe_histogram!(RECOVERY, Unit::Seconds, "How long a connection was away before it came back");
        Self {
            counters: Counters::new(&name),
            unconfirmed: gauge!(UNCONFIRMED, "connection" => name.clone()),
            unconfirmed_bytes: gauge!(UNCONFIRMED_BYTES, "connection" => name.clone()),
            outbox: gauge!(OUTBOX_BYTES, "connection" => name.clone()),
            recovery: histogram!(RECOVERY, "connection" => name),
        }
    }

    /// Connections may share a name: a gauge is the sum of what they have, so each tells its changes.
    pub(crate) fn flush(&self, counts: &Counts) {
        self.counters.add(&counts.counted);
        for (gauge, change) in [
            (&self.unconfirmed, counts.unconfirmed),
            (&self.unconfirmed_bytes, counts.kept.change),
            (&self.outbox, counts.outbox.change),
        ] {
            match change {
                0 => {}
                1.. => gauge.increment(change as f64),
                _ => gauge.decrement(change.unsigned_abs() as f64),
            }
        }
        for took in &counts.recoveries {
            self.recovery.record(took.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recovery_is_counted_with_its_time_and_told_once() {
        let mut counts = Counts::default();
        for seconds in [1, 5] {
            let took = Duration::from_secs(seconds);
            counts.on_event(&Event::Recovered { took, outcomes: Vec::new() });
        }
        let told = counts.take();
        assert_eq!((told.counted.reconnects, told.recoveries.len()), (2, 2));
        assert_eq!(told.recoveries.last(), Some(&Duration::from_secs(5)));
        assert!(counts.take().recoveries.is_empty());
    }

    #[test]
    fn what_waits_is_told_as_changes() {
        let mut counts = Counts::default();
        for (waiting, change) in [(100, 100), (100, 0), (30, -70), (0, -30)] {
            counts.on_output(0, waiting);
            assert_eq!(counts.take().outbox.change, change);
        }
        counts.on_output(7, 10);
        counts.on_output(0, 4);
        let told = counts.take();
        assert_eq!((told.outbox.change, told.counted.sent), (4, 7));
    }
}
