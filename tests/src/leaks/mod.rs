//! What must not be left behind: futures that never resolve, tasks that outlive their connection, memory.
//!
//! [`Harness`] runs cycles of connecting, working and closing, and says what is left after each and after all. [`Counted`]
//! counts what runs, [`Cutting`] makes losses, [`hall`] is a network in memory.

mod counted;
mod cutting;
mod hall;
mod work;

use std::time::Duration;

pub use counted::{Counted, Tasks};
pub use cutting::{Cut, Cutting};
pub use hall::{Hall, Porch, hall};
pub use work::{come_and_go, come_back_and_go};

/// Far more than a cycle takes, or a task to end behind it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leak {
    /// A future of this cycle was never ready.
    Stuck {
        /// The number of the cycle.
        cycle: usize,
    },
    /// A task ran on when the connection of this cycle was over.
    Outlives {
        /// The number of the cycle.
        cycle: usize,
        /// How many more ran than before it.
        tasks: usize,
    },
    /// More memory was held after all cycles than after a tenth of them.
    Grows {
        /// In bytes, the most there was during the second twentieth.
        few: usize,
        /// In bytes, the least there was during the last twentieth.
        many: usize,
    },
}

/// Runs cycles, and looks at what each leaves behind.
#[derive(Debug)]
pub struct Harness<H> {
    tasks: Tasks,
    held: H,
    /// How much more may be held in the end, in bytes: what tables and queues grow by until they have their size.
    slack: usize,
}

impl<H: Fn() -> usize> Harness<H> {
    /// A harness that counts these tasks, and is told by `held` how many bytes are held.
    pub const fn new(tasks: Tasks, held: H, slack: usize) -> Self {
        Self { tasks, held, slack }
    }

    /// Runs so many cycles, each with its number, one after the other.
    ///
    /// # Errors
    ///
    /// What was left behind, as soon as it shows.
    pub async fn run(&self, cycles: usize, mut cycle: impl AsyncFnMut(usize)) -> Result<(), Leak> {
        let before = self.tasks.running();
        let (mut few, mut many) = (0, usize::MAX);
        for number in 0..cycles {
            let done = tokio::time::timeout(PATIENCE, cycle(number)).await;
            done.map_err(|_| Leak::Stuck { cycle: number })?;
            let ended = tokio::time::timeout(PATIENCE, self.tasks.at_most(before)).await;
            let left = || Leak::Outlives { cycle: number, tasks: self.tasks.running() - before };
            ended.map_err(|_| left())?;
            let held = (self.held)();
            if number >= cycles / 20 && number < cycles / 10 {
                few = few.max(held);
            }
            if number >= cycles - cycles / 20 {
                many = many.min(held);
            }
        }
        if many > few + self.slack && cycles >= 20 {
            return Err(Leak::Grows { few, many });
        }
        Ok(())
    }
}
