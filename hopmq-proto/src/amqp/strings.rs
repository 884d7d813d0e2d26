use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::Utf8Error;

use bytes::Bytes;

use super::WireError;

/// A string of at most 255 bytes: names, routing keys, most properties.
///
/// AMQP says UTF-8, but RabbitMQ does not check it on messages, so a peer's string is bytes with a fallible
/// [`as_str`](ShortStr::as_str). Cloning shares the bytes.
///
/// ```
/// use hopmq_proto::amqp::ShortStr;
///
/// let queue: ShortStr = "orders".try_into()?;
/// assert_eq!(queue, "orders");
/// assert!(ShortStr::try_from("x".repeat(256)).is_err());
/// # Ok::<(), hopmq_proto::amqp::WireError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortStr(Bytes);

impl ShortStr {
    /// The most bytes a short string can have.
    pub const MAX_LEN: usize = 255;

    /// The empty string.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Bytes::new())
    }

    /// A short string of any bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::ShortStrTooLong`] when there are more than 255 of them.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, WireError> {
        let bytes = bytes.into();
        if bytes.len() > Self::MAX_LEN {
            Err(WireError::ShortStrTooLong(bytes.len()))
        } else {
            Ok(Self(bytes))
        }
    }

    /// A literal, without copying it.
    ///
    /// # Panics
    ///
    /// When the literal is longer than 255 bytes; in a constant this is a compile error.
    #[must_use]
    #[allow(clippy::panic)]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= Self::MAX_LEN, "a short string has at most 255 bytes");
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The longest prefix of `text` that fits, cut between characters. For reply texts, which may be cut.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        let mut end = text.len().min(Self::MAX_LEN);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(Bytes::copy_from_slice(text.as_bytes().get(..end).unwrap_or_default()))
    }

    /// RabbitMQ takes line breaks out of names that are declared, bound or deleted, and leaves them where a queue is read.
    pub(crate) fn without_line_breaks(&self) -> Self {
        let is_break = |octet: &u8| matches!(octet, b'\r' | b'\n');
        if !self.0.iter().any(is_break) {
            return self.clone();
        }
        Self(self.0.iter().copied().filter(|octet| !is_break(octet)).collect())
    }

    pub(crate) fn copy(bytes: &[u8]) -> Self {
        debug_assert!(bytes.len() <= Self::MAX_LEN);
        Self(Bytes::copy_from_slice(bytes))
    }
}

/// A string or byte array of up to 4 GiB: table values, SASL responses.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LongStr(Bytes);

impl LongStr {
    /// A long string of any bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] when there are 4 GiB of them or more.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, WireError> {
        let bytes = bytes.into();
        if u32::try_from(bytes.len()).is_err() {
            Err(WireError::TooLong(bytes.len()))
        } else {
            Ok(Self(bytes))
        }
    }

    /// A literal, without copying it.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    pub(crate) fn copy(bytes: &[u8]) -> Self {
        Self::from_bytes(Bytes::copy_from_slice(bytes))
    }

    /// Of any length: what is too long fails when it is encoded.
    pub(crate) const fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

macro_rules! byte_string {
    ($name:ident) => {
        impl $name {
            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The bytes, without copying them.
            #[must_use]
            pub fn into_bytes(self) -> Bytes {
                self.0
            }

            /// The text, when it is UTF-8.
            ///
            /// # Errors
            ///
            /// When it is not.
            pub fn as_str(&self) -> Result<&str, Utf8Error> {
                core::str::from_utf8(&self.0)
            }

            /// The text, with U+FFFD for what is not UTF-8.
            #[must_use]
            pub fn to_string_lossy(&self) -> Cow<'_, str> {
                String::from_utf8_lossy(&self.0)
            }

            /// How many bytes.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there are none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.to_string_lossy(), f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_string_lossy())
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl core::borrow::Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = WireError;

            fn try_from(text: &str) -> Result<Self, WireError> {
                Self::new(Bytes::copy_from_slice(text.as_bytes()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = WireError;

            fn try_from(text: String) -> Result<Self, WireError> {
                Self::new(text)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = WireError;

            fn try_from(text: &String) -> Result<Self, WireError> {
                Self::try_from(text.as_str())
            }
        }

        impl TryFrom<Vec<u8>> for $name {
            type Error = WireError;

            fn try_from(bytes: Vec<u8>) -> Result<Self, WireError> {
                Self::new(bytes)
            }
        }

        impl TryFrom<&$name> for $name {
            type Error = WireError;

            fn try_from(same: &$name) -> Result<Self, WireError> {
                Ok(same.clone())
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }
    };
}

byte_string!(ShortStr);
byte_string!(LongStr);

/// A long string that `Debug` does not show: a SASL response, a token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(LongStr);

impl Secret {
    /// Hides `secret` from `Debug`.
    #[must_use]
    pub const fn new(secret: LongStr) -> Self {
        Self(secret)
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &LongStr {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
