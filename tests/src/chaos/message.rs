//! Numbered bodies, which show when they were altered.

use bytes::{BufMut, Bytes, BytesMut};

use super::history::MessageId;

/// The shortest body: run, publisher, number, length.
pub const HEADER: usize = 8 + 2 + 4 + 4;

/// The body of a message: its header, and bytes that follow from it, up to `size`.
#[must_use]
pub fn encode(run: u64, id: MessageId, size: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(size.max(HEADER));
    body.put_u64(run);
    body.put_u16(id.publisher);
    body.put_u32(id.number);
    let rest = size.saturating_sub(HEADER);
    body.put_u32(u32::try_from(rest).unwrap_or(u32::MAX));
    body.extend(filler(id, rest));
    body.freeze()
}

/// Whose body it is; `None` when it is of no message of this run, or was altered.
#[must_use]
pub fn decode(run: u64, body: &[u8]) -> Option<MessageId> {
    let (head, rest) = body.split_first_chunk::<8>()?;
    let (publisher, rest) = rest.split_first_chunk::<2>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let id = MessageId { publisher: u16::from_be_bytes(*publisher), number: u32::from_be_bytes(*number) };
    let whole = usize::try_from(u32::from_be_bytes(*length)).is_ok_and(|length| length == rest.len());
    let intact = whole && u64::from_be_bytes(*head) == run && filler(id, rest.len()).eq(rest.iter().copied());
    intact.then_some(id)
}

fn filler(id: MessageId, length: usize) -> impl Iterator<Item = u8> {
    let [.., mut state] = id.number.wrapping_mul(31).wrapping_add(u32::from(id.publisher)).to_be_bytes();
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(5).wrapping_add(17);
        state
    })
    .take(length)
}
