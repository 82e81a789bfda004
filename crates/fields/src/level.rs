//! The level of a line: how grave what it says is.

/// The level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Details for developers: `debug`, `trace`.
    Debug,
    /// Normal work: `info`, `notice`.
    Info,
    /// `warning`.
    Warn,
    /// `error`, and all that is graver.
    Error,
}

/// Only so much of the beginning of a text is searched for the word of a level.
const SEARCHED_MAX: usize = 256;

impl Level {
    /// Every level, the least grave first.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level that a whole word names, in upper or lower case.
    pub fn of_word(word: &[u8]) -> Option<Self> {
        let mut lower = [0; 13];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"debug" | b"trace" | b"verbose" | b"fine" | b"finest" | b"dbg" => Self::Debug,
            b"info" | b"information" | b"informational" | b"notice" | b"inf" => Self::Info,
            b"warn" | b"warning" | b"wrn" => Self::Warn,
            b"error" | b"err" | b"critical" | b"crit" | b"fatal" | b"severe" | b"alert" | b"emerg"
            | b"emergency" | b"panic" => Self::Error,
            _ => return None,
        })
    }

    /// The level of a value: a word; the number that syslog has for it, 0 to 7; or that of pino and bunyan, 10 to 60.
    pub(crate) fn of_value(value: &[u8]) -> Option<Self> {
        match value {
            [b'0'..=b'3'] | b"50" | b"60" => Some(Self::Error),
            b"4" | b"40" => Some(Self::Warn),
            b"5" | b"6" | b"30" => Some(Self::Info),
            b"7" | b"10" | b"20" => Some(Self::Debug),
            word => Self::of_word(word),
        }
    }

    /// The level of an HTTP status.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            500.. => Self::Error,
            400.. => Self::Warn,
            _ => Self::Info,
        }
    }

    /// The level of syslog's priority: `<PRI>`, the severity in its last three bits (RFC 5424, section 6.2.1).
    pub(crate) fn of_priority(line: &[u8]) -> Option<Self> {
        let inside = line.strip_prefix(b"<")?;
        let count = inside
            .iter()
            .take(3)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = inside.split_at_checked(count)?;
        rest.strip_prefix(b">")?;
        let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(match number % 8 {
            0..=3 => Self::Error,
            4 => Self::Warn,
            7 => Self::Debug,
            _ => Self::Info,
        })
    }

    /// The first word of a text that names a level, and where it is.
    pub(crate) fn in_text(text: &[u8]) -> Option<(Self, std::ops::Range<usize>)> {
        let text = text.get(..SEARCHED_MAX).unwrap_or(text);
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        let mut at = 0;
        while let Some(start) = text.get(at..)?.iter().position(is_of_word).map(|skip| at + skip) {
            let len = text
                .get(start..)?
                .iter()
                .take_while(|byte| is_of_word(byte))
                .count();
            at = start + len;
            if let Some(level) = Self::of_word(text.get(start..at)?) {
                return Some((level, start..at));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_word_of_a_level_in_a_text_is_its_level() {
        for (text, expected) in [
            (
                "2026-11-21 02:20:03 INFO [payment-service] no error",
                Some(Level::Info),
            ),
            (
                "2026/11/21 02:20:03 [error] 7#7: *1 open() failed",
                Some(Level::Error),
            ),
            ("WARNING: disk", Some(Level::Warn)),
            ("terror informs debugging errors", None),
            ("a_error warn_b", None),
            ("", None),
        ] {
            assert_eq!(
                Level::in_text(text.as_bytes()).map(|(level, _)| level),
                expected,
                "{text}"
            );
        }
        assert_eq!(Level::in_text(b"x Fatal: y"), Some((Level::Error, 2..7)));
        let far = format!("{} error", "x ".repeat(200));
        assert_eq!(Level::in_text(far.as_bytes()), None);
    }

    #[test]
    fn numbers_of_syslog_and_of_json_loggers_are_levels() {
        for (priority, expected) in [
            ("<34>x", Some(Level::Error)),
            ("<190>x", Some(Level::Info)),
            ("<12>x", Some(Level::Warn)),
            ("<15>", Some(Level::Debug)),
            ("<>x", None),
            ("<1234>", None),
        ] {
            assert_eq!(Level::of_priority(priority.as_bytes()), expected, "{priority}");
        }
        assert_eq!(Level::of_value(b"30"), Some(Level::Info));
        assert_eq!(Level::of_value(b"3"), Some(Level::Error));
        assert_eq!(Level::of_value(b"8"), None);
    }
}
