use std::time::Duration;

use super::fault::Fault;

/// How many runs the search for fewer and simpler faults may take.
const RUNS: usize = 300;

/// What times are made round to, the roundest first.
const UNITS: [Duration; 6] = [
    Duration::from_secs(10),
    Duration::from_secs(1),
    Duration::from_millis(100),
    Duration::from_millis(10),
    Duration::from_millis(1),
    Duration::from_micros(10),
];

/// Looks for fewer and simpler faults that still make a test fail.
pub(super) struct Shrink<F> {
    /// Whether a run with these fails as the first one did.
    fails: F,
    pub(super) runs: usize,
}

impl<F: FnMut(&[Vec<Fault>]) -> bool> Shrink<F> {
    pub(super) const fn new(fails: F) -> Self {
        Self { fails, runs: 0 }
    }

    pub(super) fn shrink(&mut self, schedules: Vec<Vec<Fault>>) -> Vec<Vec<Fault>> {
        let mut best = schedules;
        let none: Vec<Vec<Fault>> = best.iter().map(|_| Vec::new()).collect();
        if best.iter().any(|faults| !faults.is_empty()) && self.fails(&none) {
            return none;
        }
        while self.drop_one(&mut best) {}
        self.round(&mut best);
        best
    }

    fn fails(&mut self, candidate: &[Vec<Fault>]) -> bool {
        self.runs += 1;
        self.runs <= RUNS && (self.fails)(candidate)
    }

    /// Leaves one out that is not needed.
    fn drop_one(&mut self, best: &mut Vec<Vec<Fault>>) -> bool {
        for trouble in 0..best.len() {
            for number in (0..best.get(trouble).map_or(0, Vec::len)).rev() {
                let mut candidate = best.clone();
                candidate.get_mut(trouble).map(|faults| faults.remove(number));
                if self.fails(&candidate) {
                    *best = candidate;
                    return true;
                }
            }
        }
        false
    }

    /// Makes times round, and as short as that allows; moments are left out where a time does.
    fn round(&mut self, best: &mut Vec<Vec<Fault>>) {
        for trouble in 0..best.len() {
            for number in 0..best.get(trouble).map_or(0, Vec::len) {
                self.round_one(best, (trouble, number), |fault| Some(&mut fault.lasts));
                self.round_one(best, (trouble, number), |fault| {
                    fault.moment = None;
                    Some(&mut fault.at)
                });
                self.round_one(best, (trouble, number), |fault| {
                    fault.moment.as_mut().map(|moment| &mut moment.delay)
                });
            }
        }
    }

    fn round_one(
        &mut self,
        best: &mut Vec<Vec<Fault>>,
        (trouble, number): (usize, usize),
        time: fn(&mut Fault) -> Option<&mut Duration>,
    ) {
        for unit in UNITS {
            for up in [false, true] {
                let mut candidate = best.clone();
                let fault = candidate.get_mut(trouble).and_then(|faults| faults.get_mut(number));
                let Some(fault) = fault else { return };
                let Some(time) = time(fault) else { return };
                let rest = Duration::from_nanos(
                    u64::try_from(time.as_nanos() % unit.as_nanos().max(1)).unwrap_or_default(),
                );
                if up && (rest.is_zero() || unit > *time) {
                    continue; // a delay of some microseconds would become one of seconds
                }
                *time = if up { *time - rest + unit } else { *time - rest };
                if candidate == *best {
                    return; // it is round already
                }
                if self.fails(&candidate) {
                    *best = candidate;
                    return;
                }
            }
        }
    }
}
