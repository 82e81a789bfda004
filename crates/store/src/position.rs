//! How far the store is good: the lengths of its files. Pure.

use std::fmt;
use std::str::FromStr;

/// How far the store is good. It stands in `index.db`, in the same transaction as the place of the indexer that it belongs to.
/// As text (`Display`, `FromStr`) it is five numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StorePosition {
    /// The number of the segment that is being written.
    pub segment: u64,
    /// The length of its frames.
    pub frames_len: u64,
    /// The number of the tail file, which has the lines that are in no frame yet.
    pub tail: u64,
    /// Where these lines begin in it.
    pub tail_start: u64,
    /// The length of the tail file.
    pub tail_len: u64,
}

impl StorePosition {
    /// Whether a store that was good up to `other` is good up to here: a store only grows.
    pub fn reaches(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.segment, it.frames_len, it.tail, it.tail_len);
        key(self) >= key(other)
    }
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position of the store; it is five numbers with colons between them")]
pub struct PositionError(String);

impl fmt::Display for StorePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment,
            frames_len,
            tail,
            tail_start,
            tail_len,
        } = self;
        write!(f, "{segment}:{frames_len}:{tail}:{tail_start}:{tail_len}")
    }
}

impl FromStr for StorePosition {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let numbers: Option<Vec<u64>> = text.split(':').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            // An older store had a file of gaps, whose length was the sixth.
            Some(
                &[segment, frames_len, tail, tail_start, tail_len]
                | &[segment, frames_len, tail, tail_start, tail_len, _],
            ) => Ok(Self {
                segment,
                frames_len,
                tail,
                tail_start,
                tail_len,
            }),
            _ => Err(PositionError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_read_back_from_its_text() {
        let position: StorePosition = "1:2:3:4:5".parse().unwrap();
        assert_eq!((position.segment, position.tail_len), (1, 5));
        assert_eq!(position.to_string(), "1:2:3:4:5");
        assert_eq!("1:2:3:4:5:6".parse(), Ok(position), "of an older store");
        for text in ["", "1:2:3:4", "1:2:3:4:5:6:7", "1:2:3:4:x"] {
            assert!(text.parse::<StorePosition>().is_err(), "{text}");
        }
    }
}
