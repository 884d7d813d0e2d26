use bytes::BytesMut;

use super::{FieldTable, FieldValue, Reader, ShortStr, WireError, Writer};

/// The lowest bit of a flag word says that another word follows.
const CONTINUATION: u16 = 1;

/// Declares the properties once, each with its flag, type and builder.
macro_rules! properties {
    ($($(#[$doc:meta])* $flag:literal $name:ident: $kind:ident $type:ty, $with:ident;)*) => {
        /// The properties of a message.
        ///
        /// All are optional, and none means anything to the broker but `headers` (for a headers exchange),
        /// `delivery_mode`, `priority`, `expiration` and `user_id`.
        /// See <https://www.rabbitmq.com/docs/publishers#message-properties>.
        ///
        /// ```
        /// use hopmq_proto::amqp::{FieldTable, Properties};
        ///
        /// let properties = Properties::new()
        ///     .persistent()
        ///     .with_content_type("application/json")?
        ///     .with_headers(FieldTable::new().with("attempt", 1));
        /// assert_eq!(properties.delivery_mode, Some(2));
        /// # Ok::<(), hopmq_proto::amqp::WireError>(())
        /// ```
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Properties {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl Properties {
            /// Reads the flags and values that end a content header.
            ///
            /// Flags that nobody has defined are skipped, with the bytes behind the known values.
            ///
            /// # Errors
            ///
            /// When a value is cut short or malformed.
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                let mut reader = Reader::new(bytes);
                let flags = Flags::read(&mut reader)?;
                let properties = Self { $($name: if flags.known & $flag == 0 { None } else { Some(reader.$kind()?) },)* };
                flags.finish(&reader)?;
                Ok(properties)
            }

            /// Checks that [`decode`](Properties::decode) would succeed, without allocating for plain strings.
            ///
            /// # Errors
            ///
            /// What `decode` would return.
            pub fn validate(bytes: &[u8]) -> Result<(), WireError> {
                let mut reader = Reader::new(bytes);
                let flags = Flags::read(&mut reader)?;
                $(if flags.known & $flag != 0 { skip::$kind(&mut reader)?; })*
                flags.finish(&reader)
            }

            /// Appends flags and values to `out`.
            ///
            /// # Errors
            ///
            /// When the headers cannot be encoded. Then `out` is as it was.
            pub fn encode(&self, out: &mut BytesMut) -> Result<(), WireError> {
                let start = out.len();
                let flags = 0 $(| if self.$name.is_some() { $flag } else { 0 })*;
                let mut writer = Writer::new(out);
                writer.short(&flags);
                $(if let Some(value) = &self.$name { writer.$kind(value); })*
                let result = writer.finish();
                if result.is_err() {
                    out.truncate(start);
                }
                result
            }

            $(properties!(@with $kind $(#[$doc])* $name $type, $with);)*
        }
    };
    (@with shortstr $(#[$doc:meta])* $name:ident $type:ty, $with:ident) => {
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// [`WireError::ShortStrTooLong`] when it has more than 255 bytes.
        pub fn $with<S>(mut self, value: S) -> Result<Self, WireError>
        where
            S: TryInto<ShortStr>,
            WireError: From<S::Error>,
        {
            self.$name = Some(value.try_into()?);
            Ok(self)
        }
    };
    (@with $kind:ident $(#[$doc:meta])* $name:ident $type:ty, $with:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $with(mut self, value: $type) -> Self {
            self.$name = Some(value);
            self
        }
    };
}

properties! {
    /// The MIME type of the body.
    0x8000 content_type: shortstr ShortStr, with_content_type;
    /// The MIME encoding of the body, such as gzip.
    0x4000 content_encoding: shortstr ShortStr, with_content_encoding;
    /// Named values, for a headers exchange and for the application.
    0x2000 headers: table FieldTable, with_headers;
    /// 1 for transient, 2 for persistent.
    0x1000 delivery_mode: octet u8, with_delivery_mode;
    /// 0 to 255, for a queue with `x-max-priority`.
    0x0800 priority: octet u8, with_priority;
    /// Ties a reply to its request.
    0x0400 correlation_id: shortstr ShortStr, with_correlation_id;
    /// Where to send replies.
    0x0200 reply_to: shortstr ShortStr, with_reply_to;
    /// Time to live in milliseconds, in decimal digits.
    0x0100 expiration: shortstr ShortStr, with_expiration;
    /// The application's name for the message.
    0x0080 message_id: shortstr ShortStr, with_message_id;
    /// Seconds since 1970-01-01 00:00:00 UTC.
    0x0040 timestamp: longlong u64, with_timestamp;
    /// The application's name for the kind of message: the property `type`.
    0x0020 kind: shortstr ShortStr, with_kind;
    /// The user who publishes; RabbitMQ checks it.
    0x0010 user_id: shortstr ShortStr, with_user_id;
    /// The application that publishes.
    0x0008 app_id: shortstr ShortStr, with_app_id;
    /// Reserved.
    0x0004 cluster_id: shortstr ShortStr, with_cluster_id;
}

impl Properties {
    /// No properties.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one header, in place of an earlier value, beside those that are there.
    ///
    /// ```
    /// use hopmq_proto::amqp::Properties;
    ///
    /// let properties = Properties::new().with_header("attempt", 3)?.with_header("trace", "a1b2")?;
    /// assert_eq!(properties.header("attempt").and_then(|value| value.as_i64()), Some(3));
    /// # Ok::<(), hopmq_proto::amqp::WireError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`WireError::ShortStrTooLong`] when the name has more than 255 bytes.
    pub fn with_header<K>(mut self, name: K, value: impl Into<FieldValue>) -> Result<Self, WireError>
    where
        K: TryInto<ShortStr>,
        WireError: From<K::Error>,
    {
        self.set_header(name, value)?;
        Ok(self)
    }

    /// The same, in place: for who adds headers to properties that somebody else has made, such as an injector of
    /// trace contexts.
    ///
    /// # Errors
    ///
    /// [`WireError::ShortStrTooLong`] when the name has more than 255 bytes.
    pub fn set_header<K>(&mut self, name: K, value: impl Into<FieldValue>) -> Result<(), WireError>
    where
        K: TryInto<ShortStr>,
        WireError: From<K::Error>,
    {
        self.headers.get_or_insert_default().insert(name, value)
    }

    /// The value of a header, if there is one of this name.
    #[must_use]
    pub fn header(&self, name: impl AsRef<[u8]>) -> Option<&FieldValue> {
        self.headers.as_ref()?.get(name)
    }

    /// Sets `delivery_mode` to 2: a durable queue keeps the message on disk.
    #[must_use]
    pub fn persistent(self) -> Self {
        self.with_delivery_mode(2)
    }
}

struct Flags {
    known: u16,
    unknown: bool,
}

impl Flags {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let known = reader.short()?;
        let mut unknown = known & 0x0002 != 0;
        let mut word = known;
        while word & CONTINUATION != 0 {
            word = reader.short()?;
            unknown |= word & !CONTINUATION != 0;
        }
        Ok(Self { known, unknown })
    }

    fn finish(&self, reader: &Reader<'_>) -> Result<(), WireError> {
        if self.unknown { Ok(()) } else { reader.finish() }
    }
}

/// Steps over a value, checking it as far as that needs no copy.
mod skip {
    use super::{Reader, WireError};

    pub(super) fn octet(reader: &mut Reader<'_>) -> Result<(), WireError> {
        reader.octet().map(drop)
    }

    pub(super) fn longlong(reader: &mut Reader<'_>) -> Result<(), WireError> {
        reader.longlong().map(drop)
    }

    pub(super) fn shortstr(reader: &mut Reader<'_>) -> Result<(), WireError> {
        reader.short_bytes().map(drop)
    }

    pub(super) fn table(reader: &mut Reader<'_>) -> Result<(), WireError> {
        reader.table().map(drop)
    }
}
