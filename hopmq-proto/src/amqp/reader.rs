use super::table::read_entries;
use super::{FieldTable, LongStr, Secret, ShortStr, WireError};

/// Takes AMQP values off the front of a byte slice. Its methods carry the specification's names of the types.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    bits: u8,
    bits_left: u8,
}

impl<'a> Reader<'a> {
    /// Reads from `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, bits: 0, bits_left: 0 }
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::TrailingBytes(self.rest.len())) }
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(WireError::Truncated)?;
        self.rest = rest;
        self.bits_left = 0;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        self.bits_left = 0;
        Ok(*taken)
    }

    /// One octet.
    pub(crate) fn octet(&mut self) -> Result<u8, WireError> {
        self.array().map(|[octet]| octet)
    }

    /// 16 bits.
    pub(crate) fn short(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// 32 bits.
    pub(crate) fn long(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// 64 bits.
    pub(crate) fn longlong(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// One bit; consecutive bits share octets, lowest bit first.
    pub(crate) fn bit(&mut self) -> Result<bool, WireError> {
        if self.bits_left == 0 {
            self.bits = self.octet()?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 != 0;
        self.bits >>= 1;
        self.bits_left -= 1;
        Ok(bit)
    }

    /// The bytes of a short string, not copied.
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.octet()?;
        self.take(len.into())
    }

    /// The bytes of a long string, table or array, not copied.
    pub(crate) fn long_bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.long()?;
        self.take(usize::try_from(len).map_err(|_| WireError::Truncated)?)
    }

    /// A short string, copied.
    pub(crate) fn shortstr(&mut self) -> Result<ShortStr, WireError> {
        self.short_bytes().map(ShortStr::copy)
    }

    /// A long string, copied.
    pub(crate) fn longstr(&mut self) -> Result<LongStr, WireError> {
        self.long_bytes().map(LongStr::copy)
    }

    /// A long string that must not be shown.
    pub(crate) fn secret(&mut self) -> Result<Secret, WireError> {
        self.longstr().map(Secret::new)
    }

    /// A reader of the next length-prefixed run of bytes.
    pub(crate) fn sized(&mut self) -> Result<Reader<'a>, WireError> {
        self.long_bytes().map(Reader::new)
    }

    /// A field table.
    ///
    /// # Errors
    ///
    /// When the bytes are no table, or one nested too deep.
    pub fn table(&mut self) -> Result<FieldTable, WireError> {
        read_entries(self.sized()?, 1)
    }
}
