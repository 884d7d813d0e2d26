//! The value of the header `traceparent`.

use super::{SpanId, TraceContext, TraceContextError, TraceId};

const SAMPLED: u8 = 1;
/// Of Level 2.
const RANDOM: u8 = 2;
/// No future version will have this number.
const NO_VERSION: u8 = 0xff;

/// Reads version 00, and of a later version what version 00 has: fields can only be added behind it.
pub(super) fn parse(text: &[u8]) -> Result<TraceContext, TraceContextError> {
    let (version, rest) = field(text).ok_or(TraceContextError::TraceParent)?;
    let (trace_id, rest) = next_field(rest).ok_or(TraceContextError::TraceParent)?;
    let (parent_id, rest) = next_field(rest).ok_or(TraceContextError::TraceParent)?;
    let ([flags], rest) = next_field(rest).ok_or(TraceContextError::TraceParent)?;
    let known = match (version, rest) {
        ([NO_VERSION], _) => return Err(TraceContextError::TraceParent),
        ([0], []) => SAMPLED | RANDOM,
        ([0], _) => return Err(TraceContextError::TraceParent),
        (_, [] | [b'-', ..]) => SAMPLED, // what its other flags mean is not known
        _ => return Err(TraceContextError::TraceParent),
    };
    let trace_id = TraceId::from_bytes(trace_id).ok_or(TraceContextError::Zero)?;
    let parent_id = SpanId::from_bytes(parent_id).ok_or(TraceContextError::Zero)?;
    let flags = flags & known;
    Ok(TraceContext {
        sampled: flags & SAMPLED != 0,
        random: flags & RANDOM != 0,
        ..TraceContext::new(trace_id, parent_id)
    })
}

/// The flags that are known; all others must be sent as zero.
pub(super) fn flags(context: &TraceContext) -> u8 {
    (u8::from(context.sampled) * SAMPLED) | (u8::from(context.random) * RANDOM)
}

/// `N` bytes behind a dash.
fn next_field<const N: usize>(text: &[u8]) -> Option<([u8; N], &[u8])> {
    field(text.strip_prefix(b"-")?)
}

/// `N` bytes in lowercase hexadecimal digits, and what follows.
fn field<const N: usize>(text: &[u8]) -> Option<([u8; N], &[u8])> {
    let (digits, rest) = text.split_at_checked(2 * N)?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            *byte = (*byte << 4) | nibble(*digit)?;
        }
    }
    Some((bytes, rest))
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
