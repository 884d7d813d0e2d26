use super::channels::Channels;
use super::said::Said;
use super::voice::Voice;

/// What both sides of a connection say, as far as it is AMQP: when who has dialled begins with a protocol header.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    dialler: Voice,
    acceptor: Voice,
    channels: Channels,
}

impl Talk {
    /// One side, by its number, has written `bytes`: adds to `said` what has become whole by them.
    pub(crate) fn hear(&mut self, side: usize, bytes: &[u8], said: &mut Said) {
        let Self { dialler, acceptor, channels } = self;
        if side == 0 {
            dialler.hear(bytes, channels, said);
            return;
        }
        if acceptor.is_new() && !bytes.is_empty() {
            if dialler.has_begun() {
                acceptor.answer(bytes);
            } else {
                acceptor.give_up(); // in AMQP it never speaks first
            }
        }
        acceptor.hear(bytes, channels, said);
    }
}
