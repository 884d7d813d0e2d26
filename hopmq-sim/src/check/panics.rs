use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

/// What a panic said, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panicked {
    pub(super) message: String,
    pub(super) location: String,
}

thread_local! {
    /// The last panic of this thread, where it is listened for.
    static HEARD: RefCell<Option<Option<Panicked>>> = const { RefCell::new(None) };
}

/// Calls `work`, and keeps a panic of it quiet: a failure is run many times before it is reported.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !hear(info) {
                others(info);
            }
        }));
    });
    let before = HEARD.replace(Some(None));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let heard = HEARD.replace(before).flatten();
    let unknown = || Panicked { message: "a panic without a message".to_owned(), location: String::new() };
    result.map_err(|_| heard.unwrap_or_else(unknown))
}

/// Keeps what is said, if this thread listens. The first panic counts: what is dropped then may panic as well.
fn hear(info: &PanicHookInfo<'_>) -> bool {
    HEARD.with_borrow_mut(|heard| {
        let Some(first) = heard else { return false };
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic with something that is no text");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        first.get_or_insert_with(|| Panicked { message: text.to_owned(), location });
        true
    })
}
