use bytes::{BufMut, BytesMut};

use super::table::write_entries;
use super::{FieldTable, LongStr, Secret, ShortStr, WireError};

/// Appends AMQP values to a buffer. Its methods carry the specification's names of the types.
///
/// A value that cannot be encoded is remembered and reported by [`finish`](Writer::finish); the caller then drops what
/// was written.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    /// How many bits of the last octet are in use; 0 when the last value was not a bit.
    bits_used: u8,
    error: Option<WireError>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub const fn new(out: &'a mut BytesMut) -> Self {
        Self { out, bits_used: 0, error: None }
    }

    /// Whether everything could be encoded.
    ///
    /// # Errors
    ///
    /// The first value that could not.
    pub fn finish(self) -> Result<(), WireError> {
        self.error.map_or(Ok(()), Err)
    }

    pub(crate) fn fail(&mut self, error: WireError) -> &mut Self {
        self.error.get_or_insert(error);
        self
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bits_used = 0;
        self.out.extend_from_slice(bytes);
        self
    }

    pub(crate) fn octet(&mut self, octet: &u8) -> &mut Self {
        self.put(&[*octet])
    }

    pub(crate) fn short(&mut self, n: &u16) -> &mut Self {
        self.put(&n.to_be_bytes())
    }

    pub(crate) fn long(&mut self, n: &u32) -> &mut Self {
        self.put(&n.to_be_bytes())
    }

    pub(crate) fn longlong(&mut self, n: &u64) -> &mut Self {
        self.put(&n.to_be_bytes())
    }

    /// One bit; consecutive bits share octets, lowest bit first.
    pub(crate) fn bit(&mut self, bit: &bool) -> &mut Self {
        if self.bits_used == 0 {
            self.out.put_u8(0);
        }
        if let Some(last) = self.out.last_mut() {
            *last |= u8::from(*bit) << self.bits_used;
        }
        self.bits_used = (self.bits_used + 1) % 8;
        self
    }

    pub(crate) fn shortstr(&mut self, text: &ShortStr) -> &mut Self {
        self.short_bytes(text.as_bytes())
    }

    /// A short string of borrowed bytes.
    pub(crate) fn short_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        match u8::try_from(bytes.len()) {
            Ok(len) => self.put(&[len]).put(bytes),
            Err(_) => self.fail(WireError::ShortStrTooLong(bytes.len())),
        }
    }

    pub(crate) fn longstr(&mut self, text: &LongStr) -> &mut Self {
        self.sized(|w| {
            w.put(text.as_bytes());
        })
    }

    pub(crate) fn secret(&mut self, secret: &Secret) -> &mut Self {
        self.longstr(secret.expose())
    }

    /// A field table.
    pub fn table(&mut self, table: &FieldTable) -> &mut Self {
        self.sized(|w| write_entries(w, table, 1))
    }

    /// What `content` writes, behind its length in bytes.
    pub(crate) fn sized(&mut self, content: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.out.len();
        self.long(&0);
        content(self);
        self.bits_used = 0;
        let len = self.out.len() - at - 4;
        match (u32::try_from(len), self.out.get_mut(at..at + 4)) {
            (Ok(len), Some(prefix)) => prefix.copy_from_slice(&len.to_be_bytes()),
            _ => {
                self.fail(WireError::TooLong(len));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    /// No method has two runs of bits, so only this test sees where a run ends.
    #[test]
    fn trap_21_any_other_field_ends_a_run_of_bits() {
        let mut out = BytesMut::new();
        let mut writer = Writer::new(&mut out);
        for n in 0..9 {
            writer.bit(&(n % 2 == 0));
        }
        writer.octet(&7).bit(&true).shortstr(&ShortStr::empty()).bit(&true);
        writer.table(&FieldTable::new()).bit(&true).bit(&true);
        assert_eq!(out, [0b0101_0101, 1, 7, 1, 0, 1, 0, 0, 0, 0, 3].as_slice());

        let mut reader = Reader::new(&out);
        for n in 0..9 {
            assert_eq!(reader.bit(), Ok(n % 2 == 0));
        }
        assert_eq!((reader.octet(), reader.bit()), (Ok(7), Ok(true)));
        assert_eq!((reader.shortstr(), reader.bit()), (Ok(ShortStr::empty()), Ok(true)));
        assert_eq!((reader.table(), reader.bit(), reader.bit()), (Ok(FieldTable::new()), Ok(true), Ok(true)));
        assert_eq!(reader.bit(), Ok(false), "the rest of the octet");
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn trap_24_a_long_name_is_an_error_and_never_cut() {
        let mut out = BytesMut::new();
        let mut writer = Writer::new(&mut out);
        writer.short_bytes(&[b'x'; 256]).short_bytes(&[b'x'; 300]);
        assert_eq!(writer.finish(), Err(WireError::ShortStrTooLong(256)), "the first fault is reported");
        assert!(out.is_empty());
    }
}
