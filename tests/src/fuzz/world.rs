use crate::world;

/// A whole world, whose every choice these bytes make: the first says which of the two worlds, and each choice after it
/// takes the next, until there are none. Then the trouble is over, and the choices left are those of one seed.
///
/// # Panics
///
/// When a property of the world does not hold; with the last lines of its trace.
pub fn world(data: &[u8]) {
    match data.split_first() {
        Some((which, script)) if which & 1 == 0 => world::run_script(script),
        Some((_, script)) => world::run_session_script(script),
        None => {}
    }
}
