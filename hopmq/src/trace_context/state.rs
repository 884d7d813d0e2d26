use std::fmt;
use std::str::FromStr;

use super::TraceContextError;

/// How many entries there may be.
const MAX_ENTRIES: usize = 32;
/// The length of a key or a value.
const MAX_LEN: usize = 256;

/// What tracing systems add to a trace, each under a key of its own, the latest first: the header `tracestate`.
///
/// At most 32 entries, each a key and a value of at most 256 bytes.
///
/// ```
/// use hopmq::TraceState;
///
/// let mut state: TraceState = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE".parse()?;
/// state.insert("congo", "ucfJifl5GOE")?;
/// assert_eq!(state.to_string(), "congo=ucfJifl5GOE,rojo=00f067aa0ba902b7");
/// # Ok::<(), hopmq::TraceContextError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TraceState(Vec<(Box<str>, Box<str>)>);

impl TraceState {
    /// No entries.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, the latest first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Sets the value of a key, in place of an earlier one, and moves it to the front. When there are 32 others, the last of
    /// them is dropped.
    ///
    /// # Errors
    ///
    /// [`TraceContextError::TraceState`] when the key or the value is not what the recommendation allows: a key begins with
    /// a lowercase letter or a digit and has besides those only `_-*/@`; a value is of printable ASCII without comma
    /// and equals sign, and does not end with a space.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), TraceContextError> {
        if !is_key(key) || !is_value(value) {
            return Err(TraceContextError::TraceState);
        }
        self.remove(key);
        self.0.truncate(MAX_ENTRIES - 1);
        self.0.insert(0, (key.into(), value.into()));
        Ok(())
    }

    /// Removes a key, and gives its value. What others have added is theirs to remove.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(name, _)| **name == *key)?;
        Some(self.0.remove(at).1.into())
    }
}

fn is_key(key: &str) -> bool {
    let is_alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    key.len() <= MAX_LEN
        && key.bytes().next().is_some_and(is_alphanumeric)
        && key.bytes().all(|c| is_alphanumeric(c) || b"_-*/@".contains(&c))
}

fn is_value(value: &str) -> bool {
    (1..=MAX_LEN).contains(&value.len())
        && !value.ends_with(' ')
        && value.bytes().all(|c| matches!(c, b' '..=b'~') && c != b',' && c != b'=')
}

/// Reads the value of the header. Entries may be empty, and spaces and tabs may be around them.
impl FromStr for TraceState {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        let mut state = Self::new();
        for (n, entry) in text.split(',').enumerate() {
            if n == MAX_ENTRIES {
                return Err(TraceContextError::TooManyEntries);
            }
            let entry = entry.trim_matches([' ', '\t']);
            if entry.is_empty() {
                continue;
            }
            let (key, value) = entry.split_once('=').ok_or(TraceContextError::TraceState)?;
            if !is_key(key) || !is_value(value) {
                return Err(TraceContextError::TraceState);
            }
            if state.get(key).is_some() {
                return Err(TraceContextError::DuplicateKey);
            }
            state.0.push((key.into(), value.into()));
        }
        Ok(state)
    }
}

/// The value of the header.
impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (key, value)) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}
