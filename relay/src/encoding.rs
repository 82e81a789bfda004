//! Bodies that come compressed: decoded piece by piece as they come in.
//!
//! Invariants:
//! - Not a byte is decoded beyond what was reserved for the body, however small the compressed text is.
//! - What a decoder needs beside the body is reserved too, so a hostile frame cannot ask for more.

use std::io::{self, Write};

use flate2::write::GzDecoder;
use zstd::stream::write::Decoder as ZstdDecoder;

use crate::body::Body;

/// The largest zstd window that is decoded, as a power of two: 2 MiB, more than the fast levels use. A smaller body
/// never needs more than itself.
const WINDOW_LOG_MAX: u32 = 21;
/// The smallest window of the format (RFC 8878, section 3.1.1.1.2).
const WINDOW_LOG_MIN: u32 = 10;
/// What a zstd decoder has beside its window: tables, and one block on each side.
const ZSTD_MEMORY: usize = 512 << 10;
/// What a gzip decoder has: window, tables, one block.
const GZIP_MEMORY: usize = 128 << 10;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Zstd,
    Gzip,
}

impl Encoding {
    /// The encoding of a `Content-Encoding` header; `None` if it is not known here.
    pub(crate) fn named(header: Option<&str>) -> Option<Self> {
        match header.map(str::trim) {
            None | Some("" | "identity") => Some(Self::Plain),
            Some("zstd") => Some(Self::Zstd),
            Some("gzip") => Some(Self::Gzip),
            Some(_) => None,
        }
    }

    /// Bytes that decoding needs beside a body of `plain` bytes.
    pub(crate) fn memory(self, plain: usize) -> usize {
        match self {
            Self::Plain => 0,
            Self::Zstd => (1 << window_log(plain)) + ZSTD_MEMORY,
            Self::Gzip => GZIP_MEMORY,
        }
    }
}

fn window_log(plain: usize) -> u32 {
    plain
        .checked_next_power_of_two()
        .map_or(WINDOW_LOG_MAX, usize::trailing_zeros)
        .clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX)
}

/// Why a body cannot be decoded.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// It is longer than its room.
    TooLong,
    /// It is not what its encoding says; why, in one line.
    Damaged(String),
}

/// A body on its way in.
pub(crate) enum Decoder {
    Plain(Room),
    Zstd(ZstdDecoder<'static, Room>),
    Gzip(Box<GzDecoder<Room>>),
}

/// A body with a limit.
pub(crate) struct Room {
    body: Body,
    limit: usize,
    is_exceeded: bool,
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.body.len() {
            self.is_exceeded = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.body.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    /// Decodes into `body`, which is empty, at most the `limit` bytes that were reserved for it.
    pub(crate) fn new(encoding: Encoding, body: Body, limit: usize) -> Result<Self, DecodeError> {
        let room = Room {
            body,
            limit,
            is_exceeded: false,
        };
        Ok(match encoding {
            Encoding::Plain => Self::Plain(room),
            Encoding::Gzip => Self::Gzip(Box::new(GzDecoder::new(room))),
            Encoding::Zstd => {
                let window = zstd::stream::raw::DParameter::WindowLogMax(window_log(limit));
                let mut decoder = zstd::stream::raw::Decoder::new().map_err(|error| damaged(&error))?;
                decoder.set_parameter(window).map_err(|error| damaged(&error))?;
                Self::Zstd(ZstdDecoder::with_decoder(room, decoder))
            }
        })
    }

    /// Takes the next piece of what came in.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let written = match self {
            Self::Plain(room) => room.write_all(bytes),
            Self::Zstd(decoder) => decoder.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
        };
        written.map_err(|error| self.judge(&error))
    }

    /// The body, once all of it came in.
    pub(crate) fn finish(mut self) -> Result<Body, DecodeError> {
        let finished = match &mut self {
            Self::Plain(_) => Ok(()),
            Self::Zstd(decoder) => decoder.do_finish(),
            Self::Gzip(decoder) => decoder.try_finish(),
        };
        if let Err(error) = finished {
            return Err(self.judge(&error));
        }
        Ok(match self {
            Self::Plain(room) => room.body,
            Self::Zstd(decoder) => decoder.into_inner().body,
            Self::Gzip(decoder) => decoder.finish().map_err(|error| damaged(&error))?.body,
        })
    }

    fn judge(&self, error: &io::Error) -> DecodeError {
        let room = match self {
            Self::Plain(room) => room,
            Self::Zstd(decoder) => decoder.get_ref(),
            Self::Gzip(decoder) => decoder.get_ref(),
        };
        if room.is_exceeded {
            DecodeError::TooLong
        } else {
            damaged(error)
        }
    }
}

fn damaged(error: &io::Error) -> DecodeError {
    DecodeError::Damaged(match error.kind() {
        // A write that takes nothing: the encoded text has ended.
        io::ErrorKind::WriteZero => "there is more behind its end".to_owned(),
        io::ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests;
