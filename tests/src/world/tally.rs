//! How often what happened, so that a world in which nothing happens is noticed.

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often what happened in a world, or in many.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Tally {
            /// Both together.
            #[must_use]
            pub fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)* }
            }

            /// What never happened.
            #[must_use]
            pub fn missing(&self) -> Vec<&'static str> {
                let all = [$((stringify!($name), self.$name),)*];
                all.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
            }
        }
    };
}

tally! {
    /// Things that happened at all.
    steps,
    /// Connections that were made.
    connections,
    /// Connections that ended otherwise than by their client's wish.
    lost,
    /// Connections that one side gave up because the other was silent.
    silent,
    /// Messages that were made.
    messages,
    /// Publishes that were refused for want of room.
    full,
    /// Publishes that were confirmed.
    confirms,
    /// Messages that came back to their publisher.
    returned,
    /// Messages that went out to consumers or were got.
    deliveries,
    /// Those among them that had been out before.
    redelivered,
    /// Consumers that the broker ended.
    cancelled,
    /// Channels that the broker closed.
    channel_errors,
    /// Connections that the broker closed for a fault.
    connection_errors,
    /// Calls and publishes that had no answer in time.
    timeouts,
}
