use std::ops::AddAssign;

/// How often what happened in worlds of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct SessionTally {
    pub worlds: u64,
    pub steps: u64,
    pub messages: u64,
    pub confirmed: u64,
    pub unconfirmed: u64,
    pub unsent: u64,
    pub delivered: u64,
    pub duplicates: u64,
    pub stale: u64,
    pub losses: u64,
    pub recovered: u64,
    pub failed_attempts: u64,
    pub restarts: u64,
    pub forced: u64,
    pub cuts: u64,
    pub renamed: u64,
    pub degraded: u64,
    pub resumed: u64,
    pub cancelled: u64,
    pub held: u64,
    pub timeouts: u64,
    pub gave_up: u64,
}

macro_rules! fields {
    ($($name:ident)*) => {
        impl AddAssign for SessionTally {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl SessionTally {
            /// What has never happened.
            #[must_use]
            pub fn missing(&self) -> Vec<&'static str> {
                [$((stringify!($name), self.$name)),*]
                    .into_iter()
                    .filter_map(|(name, count)| (count == 0).then_some(name))
                    .collect()
            }
        }
    };
}

fields! {
    worlds steps messages confirmed unconfirmed unsent delivered duplicates stale losses recovered failed_attempts restarts
    forced cuts renamed degraded resumed cancelled held timeouts gave_up
}
