use alloc::vec::Vec;
use core::fmt;

/// In the place of an event: the state was left by its own [`enter`](super::Lifecycle::enter).
pub const ENTRY: &str = "entry";
/// In the place of an event: the state's deadline has passed.
pub const TIMEOUT: &str = "timeout";
/// In the place of an event: the state is entered again, after its pause.
pub const RETRY: &str = "retry";
/// In the place of a state: the end.
pub const FINAL: &str = "[*]";

/// From which state, by which event, to which state.
pub type Row = (&'static str, &'static str, &'static str);

/// Every transition of a lifecycle. A state and an event can have several rows: the state decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The state in which it begins.
    pub initial: &'static str,
    /// The transitions.
    pub rows: &'static [Row],
}

impl Table {
    /// Whether there is such a transition.
    #[must_use]
    pub fn has(&self, from: &'static str, event: &'static str, to: &'static str) -> bool {
        self.rows.contains(&(from, event, to))
    }

    /// The states that are left in some row and entered in none: there should not be any.
    #[must_use]
    pub fn unreachable(&self) -> Vec<&'static str> {
        let mut reached = Vec::from([self.initial]);
        let mut seen = 0;
        while let Some(state) = reached.get(seen).copied() {
            let next = self.rows.iter().filter(|row| row.0 == state).map(|row| row.2);
            for to in next {
                if !reached.contains(&to) {
                    reached.push(to);
                }
            }
            seen += 1;
        }
        self.rows.iter().map(|row| row.0).filter(|state| !reached.contains(state)).collect()
    }

    /// The table as a Mermaid state diagram, with one arrow from one state to another for all its events.
    ///
    /// ```
    /// use hopmq_proto::fsm::{ENTRY, FINAL, Table};
    ///
    /// let rows = &[("Open", "close", "Closed"), ("Open", "lost", "Closed"), ("Closed", ENTRY, FINAL)];
    /// let table = Table { initial: "Open", rows };
    /// let diagram = "stateDiagram-v2
    ///     [*] --> Open
    ///     Open --> Closed: close, lost
    ///     Closed --> [*]
    /// ";
    /// assert_eq!(table.mermaid().to_string(), diagram);
    /// ```
    #[must_use]
    pub fn mermaid(&self) -> impl fmt::Display + use<> {
        Mermaid(*self)
    }
}

struct Mermaid(Table);

impl fmt::Display for Mermaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table { initial, rows } = self.0;
        writeln!(f, "stateDiagram-v2\n    {FINAL} --> {initial}")?;
        for (index, (from, _, to)) in rows.iter().enumerate() {
            let same = |row: &&Row| (row.0, row.2) == (*from, *to);
            if rows.iter().take(index).any(|row| same(&row)) {
                continue;
            }
            write!(f, "    {from} --> {to}")?;
            let events = rows.iter().filter(same).map(|row| row.1).filter(|event| *event != ENTRY);
            for (count, event) in events.enumerate() {
                write!(f, "{}{event}", if count == 0 { ": " } else { ", " })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
