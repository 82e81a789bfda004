//! The number that a syslog message begins with: `<PRI>`, facility × 8 + severity (RFC 5424, section 6.2.1).

/// Where a message comes from, and how grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Priority(u8);

const PRIORITY_MAX: u8 = 191;

/// By number (RFC 5424, table 1), with the names of `logger(1)`.
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// By number (RFC 5424, table 2), with the names of `logger(1)`.
const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

impl Priority {
    /// The name of the facility.
    pub(crate) fn facility(self) -> &'static str {
        FACILITIES.get(usize::from(self.0 / 8)).copied().unwrap_or("user")
    }

    /// The name of the severity.
    pub(crate) fn severity(self) -> &'static str {
        SEVERITIES.get(usize::from(self.0 % 8)).copied().unwrap_or("info")
    }

    /// The record's level.
    pub(crate) fn level(self) -> &'static str {
        level_of(self.0)
    }
}

/// The level of a record with that severity, of which the last three bits of `number` count.
pub(crate) fn level_of(number: u8) -> &'static str {
    match number % 8 {
        0..=2 => "CRITICAL",
        3 => "ERROR",
        4 => "WARNING",
        7 => "DEBUG",
        _ => "INFO",
    }
}

/// The priority of a message and what follows it.
pub(super) fn strip(message: &str) -> Option<(Priority, &str)> {
    let (digits, rest) = message.strip_prefix('<')?.split_once('>')?;
    if digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok().filter(|number| *number <= PRIORITY_MAX)?;
    Some((Priority(number), rest))
}
