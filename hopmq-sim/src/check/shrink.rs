use std::time::Duration;

use super::fault::Fault;

/// How many runs the search for fewer and simpler faults may take.
const RUNS: usize = 300;

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

    /// Makes times round, and as short as that allows.
    fn round(&mut self, best: &mut Vec<Vec<Fault>>) {
        let times: [fn(&mut Fault) -> &mut Duration; 2] = [|fault| &mut fault.lasts, |fault| &mut fault.at];
        for trouble in 0..best.len() {
            for number in 0..best.get(trouble).map_or(0, Vec::len) {
                for time in times {
                    self.round_one(best, trouble, number, time);
                }
            }
        }
    }

    fn round_one(
        &mut self,
        best: &mut Vec<Vec<Fault>>,
        trouble: usize,
        number: usize,
        time: fn(&mut Fault) -> &mut Duration,
    ) {
        for unit in [10_000, 1000, 100, 10].map(Duration::from_millis) {
            for up in [false, true] {
                let mut candidate = best.clone();
                let fault = candidate.get_mut(trouble).and_then(|faults| faults.get_mut(number));
                let Some(time) = fault.map(time) else { return };
                let rest = Duration::from_nanos(
                    u64::try_from(time.as_nanos() % unit.as_nanos().max(1)).unwrap_or_default(),
                );
                if rest.is_zero() {
                    return; // it is round already
                }
                *time = if up { *time - rest + unit } else { *time - rest };
                if self.fails(&candidate) {
                    *best = candidate;
                    return;
                }
            }
        }
    }
}
