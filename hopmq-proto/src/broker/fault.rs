use alloc::format;
use alloc::string::String;

use crate::amqp::{ReplyCode, ShortStr};

/// Why a channel or the connection must be closed: the peer's fault, in RabbitMQ's words.
///
/// The code decides whether the channel or the whole connection goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) code: ReplyCode,
    pub(super) text: String,
    /// Class and method id of the offending method; zeros when it was none.
    pub(super) method: (u16, u16),
}

impl Fault {
    pub(super) fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), method: (0, 0) }
    }

    /// Blames `method`.
    pub(super) fn on(mut self, method: (u16, u16)) -> Self {
        self.method = method;
        self
    }

    /// `NOT_FOUND - no queue …`, at most 255 bytes.
    pub(super) fn reply_text(&self) -> ShortStr {
        let text = match self.code.name() {
            Some(name) => format!("{name} - {}", self.text),
            None => self.text.clone(),
        };
        if text.len() <= ShortStr::MAX_LEN {
            return ShortStr::truncated(&text);
        }
        let mut end = ShortStr::MAX_LEN - 3;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        ShortStr::truncated(&format!("{}...", text.get(..end).unwrap_or_default()))
    }

    pub(super) fn precondition(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::PRECONDITION_FAILED, text)
    }

    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::ACCESS_REFUSED, text)
    }

    pub(super) fn not_allowed(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::NOT_ALLOWED, text)
    }

    pub(super) fn not_implemented(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::NOT_IMPLEMENTED, text)
    }

    pub(super) fn unexpected_frame(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::UNEXPECTED_FRAME, text)
    }

    pub(super) fn no_queue(name: &ShortStr, vhost: &str) -> Self {
        Self::new(ReplyCode::NOT_FOUND, format!("no {}", queue(name, vhost)))
    }

    pub(super) fn no_exchange(name: &[u8], vhost: &str) -> Self {
        Self::new(ReplyCode::NOT_FOUND, format!("no {}", exchange(name, vhost)))
    }

    pub(super) fn locked(name: &ShortStr, vhost: &str) -> Self {
        Self::new(
            ReplyCode::RESOURCE_LOCKED,
            format!(
                "cannot obtain exclusive access to locked {}. It could be originally declared on another \
                 connection or the exclusive property value does not match that of the original declaration.",
                queue(name, vhost)
            ),
        )
    }

    pub(super) fn unknown_tag(tag: u64) -> Self {
        Self::precondition(format!("unknown delivery tag {tag}"))
    }
}

/// `queue 'name' in vhost '/'`.
pub(super) fn queue(name: &ShortStr, vhost: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

/// `exchange 'name' in vhost '/'`.
pub(super) fn exchange(name: &[u8], vhost: &str) -> String {
    format!("exchange '{}' in vhost '{vhost}'", String::from_utf8_lossy(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_as_rabbitmq_cuts_it() {
        let name = ShortStr::try_from("x".repeat(255)).unwrap();
        let text = Fault::no_queue(&name, "/").reply_text();
        assert_eq!(text.len(), 255);
        assert!(text.as_str().unwrap().ends_with("xxx..."));
    }
}
