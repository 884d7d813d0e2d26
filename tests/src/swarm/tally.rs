use std::ops::AddAssign;

macro_rules! tally {
    ($($name:ident)*) => {
        /// How often what happened in worlds of the swarm.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[allow(missing_docs)]
        pub struct SwarmTally {
            $(pub $name: u64,)*
        }

        impl AddAssign for SwarmTally {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl SwarmTally {
            /// What has never happened.
            #[must_use]
            pub fn missing(&self) -> Vec<&'static str> {
                let all = [$((stringify!($name), self.$name)),*];
                all.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
            }
        }
    };
}

tally! {
    worlds virtual_seconds messages confirmed returned unknown not_sent delivered redelivered duplicates
    connected lost recovered failed_attempts renamed gave_up closed aborted
    stale settled nacked left_unsettled got replies no_replies dropped_futures channel_errors consumers_ended
    cuts half_open partitions slow refused swallowed crashes restarts wipes client_crashes freezes deletions blocked forced
    closings alarms nacking nacks
}
