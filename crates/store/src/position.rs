//! How far the store is good: the lengths of its files. Pure.

use std::fmt;
use std::str::FromStr;

/// How far the store is good. It stands in `index.db`, in the same transaction as the place of the indexer that it belongs to.
/// As text (`Display`, `FromStr`) it is six numbers.
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
    /// The length of the file of gaps.
    pub gaps_len: u64,
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position of the store; it is six numbers with colons between them")]
pub struct PositionError(String);

impl fmt::Display for StorePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment,
            frames_len,
            tail,
            tail_start,
            tail_len,
            gaps_len,
        } = self;
        write!(
            f,
            "{segment}:{frames_len}:{tail}:{tail_start}:{tail_len}:{gaps_len}"
        )
    }
}

impl FromStr for StorePosition {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let numbers: Option<Vec<u64>> = text.split(':').map(|number| number.parse().ok()).collect();
        let numbers = numbers.and_then(|numbers| <[u64; 6]>::try_from(numbers).ok());
        let [segment, frames_len, tail, tail_start, tail_len, gaps_len] =
            numbers.ok_or_else(|| PositionError(text.to_owned()))?;
        Ok(Self {
            segment,
            frames_len,
            tail,
            tail_start,
            tail_len,
            gaps_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_read_back_from_its_text() {
        let position: StorePosition = "1:2:3:4:5:6".parse().unwrap();
        assert_eq!((position.segment, position.gaps_len), (1, 6));
        assert_eq!(position.to_string(), "1:2:3:4:5:6");
        for text in ["", "1:2:3:4:5", "1:2:3:4:5:6:7", "1:2:3:4:5:x"] {
            assert!(text.parse::<StorePosition>().is_err(), "{text}");
        }
    }
}
