use bytes::BytesMut;

use super::{Reader, WireError, Writer};

/// The specification's names of the types that a method's fields have.
#[allow(non_camel_case_types)]
pub(super) mod kind {
    pub(in super::super) type octet = u8;
    pub(in super::super) type short = u16;
    pub(in super::super) type long = u32;
    pub(in super::super) type longlong = u64;
    pub(in super::super) type bit = bool;
    pub(in super::super) type shortstr = crate::amqp::ShortStr;
    pub(in super::super) type longstr = crate::amqp::LongStr;
    pub(in super::super) type secret = crate::amqp::Secret;
    pub(in super::super) type table = crate::amqp::FieldTable;
}

/// What the declaration of the methods generates for each of them.
pub trait Arguments: Sized {
    /// The class id and the method id.
    const ID: (u16, u16);

    /// Reads the arguments, which must take all of `reader`.
    ///
    /// # Errors
    ///
    /// When they are not what the specification says.
    fn read(reader: Reader<'_>) -> Result<Self, WireError>;

    /// Writes the class id, the method id and the arguments: the payload of a method frame.
    fn write(&self, writer: &mut Writer<'_>);
}

/// Turns declarations that read like the specification into types and codecs.
///
/// `10 Declare[short] { name: shortstr, … }[bit]` is method 10 with a reserved short before its fields and a reserved
/// bit behind them. Reserved fields are sent as zero and ignored when read.
macro_rules! methods {
    ($(
        $(#[$class_doc:meta])*
        $class_id:literal $class:ident {
            $(
                $(#[$doc:meta])*
                $id:literal $name:ident $([$($before:ident),*])? {
                    $($(#[$field_doc:meta])* $field:ident: $kind:ident,)*
                } $([$($after:ident),*])? => $variant:ident
            )*
        }
    )*) => {
        $(
            $(#[$class_doc])*
            pub mod $class {
                use super::super::{Reader, WireError, Writer};
                use super::super::method::Arguments;
                #[allow(unused_imports)] // a class may have no fields at all
                use super::super::method::kind;

                $(
                    $(#[$doc])*
                    #[derive(Debug, Clone, PartialEq, Default)]
                    pub struct $name {
                        $($(#[$field_doc])* pub $field: kind::$kind,)*
                    }

                    impl Arguments for $name {
                        const ID: (u16, u16) = ($class_id, $id);

                        #[allow(unused_mut, unused_variables)]
                        fn read(mut reader: Reader<'_>) -> Result<Self, WireError> {
                            $($(reader.$before()?;)*)?
                            let method = Self { $($field: reader.$kind()?,)* };
                            $($(reader.$after()?;)*)?
                            reader.finish()?;
                            Ok(method)
                        }

                        fn write(&self, writer: &mut Writer<'_>) {
                            writer.short(&$class_id).short(&$id);
                            $($(writer.$before(&Default::default());)*)?
                            $(writer.$kind(&self.$field);)*
                            $($(writer.$after(&Default::default());)*)?
                        }
                    }

                    impl From<$name> for super::Method {
                        fn from(arguments: $name) -> Self {
                            Self::$variant(arguments)
                        }
                    }
                )*
            }
        )*

        /// Any method of AMQP 0-9-1, RabbitMQ's extensions included.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        #[allow(missing_docs)] // each variant is documented at its type
        pub enum Method {
            $($($variant($class::$name),)*)*
        }

        impl Method {
            /// The class id and the method id.
            #[must_use]
            pub const fn id(&self) -> (u16, u16) {
                match self {
                    $($(Self::$variant(_) => ($class_id, $id),)*)*
                }
            }

            /// The specification's name, such as `queue.declare-ok` written as `queue.DeclareOk`.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $($(Self::$variant(_) => concat!(stringify!($class), ".", stringify!($name)),)*)*
                }
            }

            /// Every method with default arguments, in the order of the specification.
            #[must_use]
            pub fn all() -> alloc::vec::Vec<Self> {
                alloc::vec![$($(Self::$variant($class::$name::default()),)*)*]
            }

            pub(super) fn read(id: (u16, u16), reader: Reader<'_>) -> Result<Self, WireError> {
                match id {
                    $($(($class_id, $id) => $class::$name::read(reader).map(Self::$variant),)*)*
                    (class, method) => Err(WireError::UnknownMethod { class, method }),
                }
            }

            pub(super) fn write(&self, writer: &mut Writer<'_>) {
                match self {
                    $($(Self::$variant(arguments) => arguments.write(writer),)*)*
                }
            }
        }
    };
}
pub(super) use methods;

impl super::Method {
    /// Reads the payload of a method frame.
    ///
    /// ```
    /// use hopmq_proto::amqp::{Method, basic};
    ///
    /// let ack = Method::decode(&[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 7, 1])?;
    /// assert_eq!(ack, basic::Ack { delivery_tag: 7, multiple: true }.into());
    /// # Ok::<(), hopmq_proto::amqp::WireError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the payload is no method, or not all of it is.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        let id = (reader.short()?, reader.short()?);
        Self::read(id, reader)
    }

    /// Appends the payload of a method frame to `out`, and on an error nothing.
    ///
    /// # Errors
    ///
    /// When an argument cannot be encoded.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), WireError> {
        let start = out.len();
        let mut writer = Writer::new(out);
        self.write(&mut writer);
        let result = writer.finish();
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}
