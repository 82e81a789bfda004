//! Who sends: the id of a sender, and of one run of its process.
//!
//! A sender makes its id once and keeps it in its state folder. So a relay recognises it from whatever address it comes,
//! and tells two senders with one source apart. The id is no credential: it opens no port and selects no source that a
//! token or a certificate gives.
//!
//! A copied state folder has the id of its original. A run id, new with each start and never saved, tells two processes
//! with one id apart: the relay sees the first again after the second.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::stream::{ParseError, parse_hex};

/// The id of a sender. Text form: 32 hex digits. [`fmt::Debug`] shows only its beginning: logs do not hold the whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SenderId(u128);

impl SenderId {
    /// The id of this number, which must be random.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// The first 8 digits, for people. Enough to tell the senders of a site apart, too few to pass for one.
    pub fn short(self) -> String {
        format!("{:08x}", self.0 >> 96)
    }
}

impl fmt::Display for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}...", self.short())
    }
}

impl FromStr for SenderId {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let number = parse_hex(text, 32).map(Self);
        number.ok_or_else(|| invalid("a sender's id of 32 hex digits"))
    }
}

impl TryFrom<String> for SenderId {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<SenderId> for String {
    fn from(id: SenderId) -> Self {
        id.to_string()
    }
}

/// One run of a sender's process. Text form: 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SenderRun(u64);

impl SenderRun {
    /// The run of this number, which must be random.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for SenderRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SenderRun {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let number = parse_hex(text, 16).and_then(|number| u64::try_from(number).ok());
        number.map(Self).ok_or_else(|| invalid("a run of 16 hex digits"))
    }
}

/// What a sender says about itself with each request, in [`SENDER_HEADER`](crate::SENDER_HEADER): `ID/RUN`, or `ID` from
/// a command that runs beside the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderName {
    /// The sender.
    pub id: SenderId,
    /// Its process; `None` if it is a command beside it, such as `logferry backfill`.
    pub run: Option<SenderRun>,
}

impl fmt::Display for SenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)?;
        self.run.map_or(Ok(()), |run| write!(f, "/{run}"))
    }
}

impl FromStr for SenderName {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (id, run) = match text.split_once('/') {
            Some((id, run)) => (id, Some(run.parse()?)),
            None => (text, None),
        };
        Ok(Self { id: id.parse()?, run })
    }
}

/// Does not repeat what is wrong: it may be most of an id, and the error goes to the log.
fn invalid(expected: &'static str) -> ParseError {
    ParseError::new(expected, "something else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_reads_back_and_nothing_else_does() {
        let id = SenderId::new(0xbeef << 96);
        let run = Some(SenderRun::new(7));
        for name in [SenderName { id, run }, SenderName { id, run: None }] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        let id = id.to_string();
        assert_eq!(id, "0000beef000000000000000000000000");
        for bad in [
            "",
            "beef",
            "/",
            &format!("{id}/"),
            &format!("{id}/+000000000000007"),
            &format!("{id}/7/7"),
        ] {
            assert!(bad.parse::<SenderName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_log_never_holds_a_whole_id() {
        let id = SenderId::new(u128::MAX / 3);
        let text = id.to_string();
        assert_eq!(format!("{id:?}"), format!("{}...", &text[..8]));
        let error = text[..31].parse::<SenderId>().expect_err("too short").to_string();
        assert!(!error.contains(&text[8..16]), "{error}");
    }
}
