use hopmq_proto::amqp::{FieldTable, FieldValue, Method, Properties, Reader, ShortStr};

/// The kinds of all methods' fields, as pika has them.
const LAYOUT: &str = include_str!("../../../hopmq-proto/tests/codec/methods.txt");

/// Which of the strings in a frame are UTF-8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Texts {
    /// All short strings, names in tables included.
    pub(crate) short: bool,
    /// All long strings, those in tables included.
    pub(crate) long: bool,
}

impl Texts {
    const ALL: Self = Self { short: true, long: true };

    fn and(self, other: Self) -> Self {
        Self { short: self.short && other.short, long: self.long && other.long }
    }

    fn short(bytes: &[u8]) -> Self {
        Self { short: std::str::from_utf8(bytes).is_ok(), long: true }
    }

    fn long(bytes: &[u8]) -> Self {
        Self { short: true, long: std::str::from_utf8(bytes).is_ok() }
    }

    fn of_table(table: &FieldTable) -> Self {
        let entries =
            table.iter().map(|(name, value)| Self::short(name.as_bytes()).and(Self::of_value(value)));
        entries.fold(Self::ALL, Self::and)
    }

    fn of_value(value: &FieldValue) -> Self {
        match value {
            FieldValue::String(text) => Self::long(text.as_bytes()),
            FieldValue::Table(table) => Self::of_table(table),
            FieldValue::Array(values) => values.iter().map(Self::of_value).fold(Self::ALL, Self::and),
            _ => Self::ALL,
        }
    }

    pub(crate) fn of_properties(properties: &Properties) -> Self {
        let p = properties;
        let short = [
            &p.content_type,
            &p.content_encoding,
            &p.correlation_id,
            &p.reply_to,
            &p.expiration,
            &p.message_id,
            &p.kind,
            &p.user_id,
            &p.app_id,
            &p.cluster_id,
        ];
        let short = short.into_iter().flatten().map(|text: &ShortStr| Self::short(text.as_bytes()));
        short.fold(p.headers.as_ref().map_or(Self::ALL, Self::of_table), Self::and)
    }

    /// Walks through a method's octets by pika's list of its fields.
    pub(crate) fn of_method(method: &Method, mut octets: &[u8]) -> Self {
        let line = LAYOUT.lines().find(|line| line.split(' ').nth(2) == Some(method.name())).unwrap();
        let kinds = line.split(' ').skip(3).map(|field| field.split_once(':').unwrap().1);
        let (mut texts, mut bits) = (Self::ALL, 0);
        for kind in kinds {
            bits = if kind == "bit" { bits + 1 } else { 0 };
            let (prefix, len) = match kind {
                "bit" => (0, usize::from(bits % 8 == 1)),
                "octet" => (0, 1),
                "short" => (0, 2),
                "long" => (0, 4),
                "longlong" => (0, 8),
                "shortstr" => (1, octets[0].into()),
                _ => (4, u32::from_be_bytes(octets[..4].try_into().unwrap()) as usize),
            };
            let content = &octets[prefix..prefix + len];
            texts = texts.and(match kind {
                "shortstr" => Self::short(content),
                "longstr" => Self::long(content),
                "table" => Self::of_table(&Reader::new(octets).table().unwrap()),
                _ => Self::ALL,
            });
            octets = &octets[prefix + len..];
        }
        assert!(octets.is_empty(), "{}", method.name());
        texts
    }
}

/// The one table of a method that has one.
pub(crate) fn table_of(method: &mut Method) -> Option<&mut FieldTable> {
    Some(match method {
        Method::ConnectionStart(start) => &mut start.server_properties,
        Method::ConnectionStartOk(start) => &mut start.client_properties,
        Method::ExchangeDeclare(declare) => &mut declare.arguments,
        Method::ExchangeBind(bind) => &mut bind.arguments,
        Method::ExchangeUnbind(unbind) => &mut unbind.arguments,
        Method::QueueDeclare(declare) => &mut declare.arguments,
        Method::QueueBind(bind) => &mut bind.arguments,
        Method::QueueUnbind(unbind) => &mut unbind.arguments,
        Method::BasicConsume(consume) => &mut consume.arguments,
        _ => return None,
    })
}

/// A table as a map holds it: sorted by name, of duplicates the last.
pub(crate) fn as_map(
    entries: impl Iterator<Item = (ShortStr, FieldValue)>,
) -> std::collections::BTreeMap<Vec<u8>, FieldValue> {
    entries.map(|(name, value)| (name.as_bytes().to_vec(), value)).collect()
}
