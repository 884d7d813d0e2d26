use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::env;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

/// The panics of a run that are remembered: the last ones.
const KEPT: usize = 100;
/// What Rust says before it aborts, because a destructor panics while another panic unwinds, or the like.
const ABORTS: [&str; 2] = ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];

/// What a panic said, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panicked {
    pub(super) message: String,
    pub(super) location: String,
}

/// What a thread that runs a world has heard of panics.
struct Ear {
    seed: u64,
    /// They are printed when they happen, too.
    is_loud: bool,
    heard: Vec<Panicked>,
}

thread_local! {
    static EAR: RefCell<Option<Ear>> = const { RefCell::new(None) };
}

/// Calls `work`, which runs the world of this seed, and keeps a panic of it quiet unless it is to be loud: a failure is run many
/// times before it is reported.
pub(super) fn catch<T>(seed: u64, is_loud: bool, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !hear(info) {
                others(info);
            }
        }));
    });
    let before = EAR.replace(Some(Ear { seed, is_loud, heard: Vec::new() }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let heard = EAR.replace(before).map(|ear| ear.heard).unwrap_or_default();
    result.map_err(|payload| {
        // Others may have been caught before, and in destructors behind it.
        let message = words(payload.as_ref());
        let own = heard.into_iter().rev().find(|panicked| panicked.message == message);
        own.unwrap_or_else(|| Panicked {
            message: message.to_owned(),
            location: "an unknown place".to_owned(),
        })
    })
}

/// Whether a panic of this thread will be told with its seed.
pub(crate) fn is_heard() -> bool {
    EAR.with_borrow(Option::is_some)
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic with something that is no text")
}

/// Keeps what is said, if this thread listens and nobody else is to say it.
fn hear(info: &PanicHookInfo<'_>) -> bool {
    EAR.with_borrow_mut(|ear| {
        let Some(ear) = ear else { return false };
        let message = words(info.payload()).to_owned();
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        if ABORTS.contains(&message.as_str()) {
            ear.last_words();
            return false;
        }
        if ear.heard.len() == KEPT {
            ear.heard.remove(0);
        }
        ear.heard.push(Panicked { message, location });
        if ear.is_loud {
            trace_back();
        }
        !ear.is_loud
    })
}

impl Ear {
    /// Nobody will be asked any more what was heard. The test harness captures what `eprintln` prints, and is gone before it shows it.
    fn last_words(&self) {
        let mut stderr = io::stderr().lock();
        // There is nobody left to tell that it cannot be told.
        let _ = writeln!(stderr, "seed {} panics, and panics again before that has unwound:", self.seed);
        for Panicked { message, location } in &self.heard {
            let _ = writeln!(stderr, "{message}\n  panicked at {location}");
        }
    }
}

/// Shows the way to a panic, where the usual hook will not.
#[allow(clippy::print_stderr)] // somebody has asked for it
fn trace_back() {
    if env::var_os("RUST_BACKTRACE").is_none() {
        eprintln!("{}", Backtrace::force_capture());
    }
}
