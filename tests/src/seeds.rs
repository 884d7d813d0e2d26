//! Worlds of many seeds, in tests that share them and run side by side.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test fails by panicking, and prints its tally

use std::env;
use std::fmt::Debug;
use std::ops::AddAssign;

/// The tests that share the seeds.
const PARTS: u64 = 4;

/// Worlds of a kind. `HOPMQ_SEED=n` replays one of them.
#[derive(Debug, Clone, Copy)]
pub struct Seeds<T> {
    /// The variable that says how many.
    pub count: &'static str,
    /// How many otherwise.
    pub usual: u64,
    /// The variable that says from where.
    pub first: &'static str,
    /// Prints the trace of one.
    pub replay: fn(u64),
    /// Runs one twice, and returns how often what happened.
    pub check: fn(u64) -> T,
    /// What has never happened.
    pub missing: fn(&T) -> Vec<&'static str>,
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

impl<T: AddAssign + Default + Debug> Seeds<T> {
    /// Every fourth of them, from 0, 1, 2 or 3 on.
    ///
    /// # Panics
    ///
    /// When something was found, or what is to happen in worlds did not.
    pub fn part(&self, part: u64) {
        if let Some(seed) = number("HOPMQ_SEED") {
            if part == 0 {
                (self.replay)(seed);
            }
            return;
        }
        let count = number(self.count).unwrap_or(self.usual);
        let first = number(self.first).unwrap_or(0);
        let mut all = T::default();
        for seed in (first..first + count).filter(|seed| seed % PARTS == part) {
            all += (self.check)(seed);
        }
        println!("{all:?}");
        if count >= self.usual {
            assert_eq!((self.missing)(&all), [""; 0], "worlds in which this never happens prove little");
        }
    }
}
