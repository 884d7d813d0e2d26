use alloc::string::String;
use alloc::vec::{self, Vec};
use core::num::TryFromIntError;

use bytes::{Bytes, BytesMut};

use super::{LongStr, Reader, ShortStr, WireError, Writer};

/// How deep tables and arrays may be nested, both ways.
pub const MAX_TABLE_DEPTH: usize = 32;

/// Named values: arguments, message headers, client and server properties.
///
/// Keeps the order of insertion, which is the order on the wire. A duplicate key from a peer is kept on the wire's
/// terms: [`get`](FieldTable::get) finds the first, as the Java client does.
///
/// ```
/// use hopmq_proto::amqp::{FieldTable, FieldValue};
///
/// let mut arguments = FieldTable::new();
/// arguments.insert("x-max-length", 100)?;
/// arguments.insert("x-overflow", "reject-publish")?;
/// assert_eq!(arguments.get("x-max-length"), Some(&FieldValue::I32(100)));
/// # Ok::<(), hopmq_proto::amqp::WireError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldTable(Vec<(ShortStr, FieldValue)>);

impl FieldTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets `key`, in place of an earlier value.
    ///
    /// # Errors
    ///
    /// [`WireError::ShortStrTooLong`] when the key has more than 255 bytes.
    pub fn insert<K>(&mut self, key: K, value: impl Into<FieldValue>) -> Result<(), WireError>
    where
        K: TryInto<ShortStr>,
        WireError: From<K::Error>,
    {
        self.set(key.try_into()?, value.into());
        Ok(())
    }

    /// Sets a key that is known to fit, in place of an earlier value.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<FieldValue>) -> Self {
        self.set(ShortStr::from_static(key), value.into());
        self
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&FieldValue> {
        self.0.iter().find(|(name, _)| name.as_bytes() == key.as_ref()).map(|(_, value)| value)
    }

    /// Removes `key`, a peer's duplicates of it too, and returns the value that [`get`](FieldTable::get) would find.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Option<FieldValue> {
        let at = self.0.iter().position(|(name, _)| name.as_bytes() == key.as_ref())?;
        let (_, value) = self.0.remove(at);
        self.0.retain(|(name, _)| name.as_bytes() != key.as_ref());
        Some(value)
    }

    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&ShortStr, &FieldValue)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Replaces the first entry of `key` and drops a peer's duplicates of it, or appends one.
    pub(crate) fn set(&mut self, key: ShortStr, value: FieldValue) {
        let mut value = Some(value);
        self.0.retain_mut(|(name, old)| *name != key || value.take().map(|value| *old = value).is_some());
        self.0.extend(value.map(|value| (key, value)));
    }

    /// The same bytes for the same entries, whatever their order: what makes two bindings one.
    pub(crate) fn canonical(&self) -> Result<Bytes, WireError> {
        if self.is_empty() {
            return Ok(Bytes::new());
        }
        let mut sorted = self.clone();
        sorted.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut out = BytesMut::new();
        let mut writer = Writer::new(&mut out);
        writer.table(&sorted);
        writer.finish()?;
        Ok(out.freeze())
    }

    pub(crate) fn push(&mut self, key: ShortStr, value: FieldValue) {
        self.0.push((key, value));
    }
}

impl IntoIterator for FieldTable {
    type Item = (ShortStr, FieldValue);
    type IntoIter = vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(ShortStr, FieldValue)> for FieldTable {
    fn from_iter<I: IntoIterator<Item = (ShortStr, FieldValue)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

/// A value in a [`FieldTable`].
///
/// The type tags are RabbitMQ's, which differ from the printed specification; see
/// <https://www.rabbitmq.com/amqp-0-9-1-errata#section_3>.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// `t`: true or false.
    Bool(bool),
    /// `b`: 8 bits, signed.
    I8(i8),
    /// `B`: 8 bits, unsigned.
    U8(u8),
    /// `s`: 16 bits, signed.
    I16(i16),
    /// `u`: 16 bits, unsigned.
    U16(u16),
    /// `I`: 32 bits, signed.
    I32(i32),
    /// `i`: 32 bits, unsigned.
    U32(u32),
    /// `l`: 64 bits, signed. A peer's `L` is read as this too.
    I64(i64),
    /// `f`: a 32-bit float. RabbitMQ has finite ones only: another in the headers of a message is a 541 of the connection.
    F32(f32),
    /// `d`: a 64-bit float; the same holds.
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// How many decimal digits follow the point.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`: a string; bytes when it is not UTF-8.
    String(LongStr),
    /// `x`: bytes.
    Bytes(LongStr),
    /// `A`: values without names.
    Array(Vec<FieldValue>),
    /// `T`: seconds since 1970-01-01 00:00:00 UTC.
    Timestamp(u64),
    /// `F`: a nested table.
    Table(FieldTable),
    /// `V`: no value.
    Void,
}

impl FieldValue {
    /// The string, when the value is one and is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => text.as_str().ok(),
            _ => None,
        }
    }

    /// The number, when the value is an integer of any width.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Self::I8(n) => n.into(),
            Self::U8(n) => n.into(),
            Self::I16(n) => n.into(),
            Self::U16(n) => n.into(),
            Self::I32(n) => n.into(),
            Self::U32(n) => n.into(),
            Self::I64(n) => n,
            _ => return None,
        })
    }

    /// The number, when the value is an integer of any width and not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i64().and_then(|n| u64::try_from(n).ok())
    }

    /// The number, when the value is a floating-point number of either width.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(n) => Some(n.into()),
            Self::F64(n) => Some(n),
            _ => None,
        }
    }

    /// The bytes, when the value is a string or bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::String(bytes) | Self::Bytes(bytes) => Some(bytes.as_bytes()),
            _ => None,
        }
    }

    /// Seconds since 1970-01-01 00:00:00 UTC, when the value is a time.
    #[must_use]
    pub fn as_timestamp(&self) -> Option<u64> {
        match self {
            Self::Timestamp(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// The values, when the value is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The table, when the value is one.
    #[must_use]
    pub fn as_table(&self) -> Option<&FieldTable> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The truth value, when the value is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident,)*) => {
        $(impl From<$type> for FieldValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Bool, i8 => I8, u8 => U8, i16 => I16, u16 => U16, i32 => I32, u32 => U32, i64 => I64, f32 => F32, f64 => F64,
    LongStr => String, FieldTable => Table, Vec<FieldValue> => Array,
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::String(LongStr::copy(text.as_bytes()))
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for FieldValue {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

/// Bytes, not a string; without copying them.
impl From<Bytes> for FieldValue {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(LongStr::from_bytes(bytes))
    }
}

/// Bytes, not a string.
impl From<Vec<u8>> for FieldValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

/// Bytes, not a string.
impl From<&[u8]> for FieldValue {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(LongStr::copy(bytes))
    }
}

/// `None` is no value.
impl<T: Into<FieldValue>> From<Option<T>> for FieldValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Void, Into::into)
    }
}

impl<T: Into<FieldValue>> FromIterator<T> for FieldValue {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

macro_rules! try_from {
    ($($type:ty),*) => {
        $(/// AMQP's largest integer is an `i64`.
        impl TryFrom<$type> for FieldValue {
            type Error = TryFromIntError;

            fn try_from(value: $type) -> Result<Self, TryFromIntError> {
                i64::try_from(value).map(Self::I64)
            }
        })*
    };
}

try_from! { u64, usize, isize }

impl From<ShortStr> for FieldValue {
    fn from(text: ShortStr) -> Self {
        Self::String(LongStr::copy(text.as_bytes()))
    }
}

/// Reads the entries of a table, up to the end of `reader`.
pub(super) fn read_entries(mut reader: Reader<'_>, depth: usize) -> Result<FieldTable, WireError> {
    let mut table = FieldTable::new();
    while !reader.is_empty() {
        let key = reader.shortstr()?;
        table.push(key, read_value(&mut reader, depth)?);
    }
    Ok(table)
}

fn read_value(reader: &mut Reader<'_>, depth: usize) -> Result<FieldValue, WireError> {
    Ok(match reader.octet()? {
        b't' => FieldValue::Bool(reader.octet()? != 0),
        b'b' => FieldValue::I8(reader.octet()?.cast_signed()),
        b'B' => FieldValue::U8(reader.octet()?),
        b's' | b'U' => FieldValue::I16(reader.short()?.cast_signed()),
        b'u' => FieldValue::U16(reader.short()?),
        b'I' => FieldValue::I32(reader.long()?.cast_signed()),
        b'i' => FieldValue::U32(reader.long()?),
        b'l' | b'L' => FieldValue::I64(reader.longlong()?.cast_signed()),
        b'f' => FieldValue::F32(f32::from_bits(reader.long()?)),
        b'd' => FieldValue::F64(f64::from_bits(reader.longlong()?)),
        b'D' => FieldValue::Decimal { scale: reader.octet()?, value: reader.long()? },
        b'S' => FieldValue::String(reader.longstr()?),
        b'x' => FieldValue::Bytes(reader.longstr()?),
        b'T' => FieldValue::Timestamp(reader.longlong()?),
        b'V' => FieldValue::Void,
        b'F' => FieldValue::Table(read_entries(reader.sized()?, deeper(depth)?)?),
        b'A' => FieldValue::Array(read_array(reader.sized()?, deeper(depth)?)?),
        tag => return Err(WireError::UnknownFieldType(tag)),
    })
}

fn read_array(mut reader: Reader<'_>, depth: usize) -> Result<Vec<FieldValue>, WireError> {
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(read_value(&mut reader, depth)?);
    }
    Ok(values)
}

fn deeper(depth: usize) -> Result<usize, WireError> {
    if depth < MAX_TABLE_DEPTH { Ok(depth + 1) } else { Err(WireError::TableTooDeep) }
}

pub(super) fn write_entries(writer: &mut Writer<'_>, table: &FieldTable, depth: usize) {
    for (key, value) in &table.0 {
        writer.shortstr(key);
        write_value(writer, value, depth);
    }
}

fn write_value(writer: &mut Writer<'_>, value: &FieldValue, depth: usize) {
    match value {
        FieldValue::Bool(truth) => writer.octet(&b't').octet(&u8::from(*truth)),
        FieldValue::I8(n) => writer.octet(&b'b').octet(&n.cast_unsigned()),
        FieldValue::U8(n) => writer.octet(&b'B').octet(n),
        FieldValue::I16(n) => writer.octet(&b's').short(&n.cast_unsigned()),
        FieldValue::U16(n) => writer.octet(&b'u').short(n),
        FieldValue::I32(n) => writer.octet(&b'I').long(&n.cast_unsigned()),
        FieldValue::U32(n) => writer.octet(&b'i').long(n),
        FieldValue::I64(n) => writer.octet(&b'l').longlong(&n.cast_unsigned()),
        FieldValue::F32(n) => writer.octet(&b'f').long(&n.to_bits()),
        FieldValue::F64(n) => writer.octet(&b'd').longlong(&n.to_bits()),
        FieldValue::Decimal { scale, value } => writer.octet(&b'D').octet(scale).long(value),
        FieldValue::String(text) => writer.octet(&b'S').longstr(text),
        FieldValue::Bytes(bytes) => writer.octet(&b'x').longstr(bytes),
        FieldValue::Timestamp(seconds) => writer.octet(&b'T').longlong(seconds),
        FieldValue::Void => writer.octet(&b'V'),
        FieldValue::Table(_) | FieldValue::Array(_) if depth >= MAX_TABLE_DEPTH => {
            writer.fail(WireError::TableTooDeep)
        }
        FieldValue::Table(table) => writer.octet(&b'F').sized(|w| write_entries(w, table, depth + 1)),
        FieldValue::Array(values) => {
            writer.octet(&b'A').sized(|w| values.iter().for_each(|value| write_value(w, value, depth + 1)))
        }
    };
}
