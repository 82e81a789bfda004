//! Decoding of compressed bodies, piece by piece as they arrive.
//!
//! Invariants:
//! - At most the reserved bytes are decoded, however small the compressed body is.
//! - The decoder's own memory is reserved too, so a malicious frame cannot use more.

use std::io::{self, Write};

use flate2::write::GzDecoder;
use zstd::stream::write::Decoder as ZstdDecoder;

use crate::chunk::RequestBody;

/// Largest accepted zstd window, as a power of two: 2 MiB, more than the fast levels use. A smaller body needs at most a
/// window of its own size.
const WINDOW_LOG_MAX: u32 = 21;
/// Smallest window of the format (RFC 8878, section 3.1.1.1.2).
const WINDOW_LOG_MIN: u32 = 10;
/// Memory of a zstd decoder apart from its window: tables, and one block on each side.
const ZSTD_MEMORY: usize = 512 << 10;
/// Memory of a gzip decoder: window, tables, one block.
const GZIP_MEMORY: usize = 128 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEncoding {
    Plain,
    Zstd,
    Gzip,
}

impl BodyEncoding {
    /// The encoding in a `Content-Encoding` header; `None` if it is not supported.
    pub(crate) fn from_header(header: Option<&str>) -> Option<Self> {
        match header.map(str::trim) {
            None | Some("" | "identity") => Some(Self::Plain),
            Some("zstd") => Some(Self::Zstd),
            Some("gzip") => Some(Self::Gzip),
            Some(_) => None,
        }
    }

    /// Bytes that decoding needs in addition to a body of `plain` bytes.
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

#[derive(Debug)]
pub(crate) enum DecodeError {
    /// It is longer than the reserved bytes.
    TooLong,
    /// It is not valid in its encoding. The text says why, in one line.
    Damaged(String),
}

pub(crate) enum BodyDecoder {
    Plain(BoundedBody),
    Zstd(ZstdDecoder<'static, BoundedBody>),
    Gzip(Box<GzDecoder<BoundedBody>>),
}

pub(crate) struct BoundedBody {
    body: RequestBody,
    limit: usize,
    is_exceeded: bool,
}

impl Write for BoundedBody {
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

impl BodyDecoder {
    /// Decodes into `body`, which is empty, at most the `limit` bytes that were reserved for it.
    pub(crate) fn new(encoding: BodyEncoding, body: RequestBody, limit: usize) -> Result<Self, DecodeError> {
        let bounded = BoundedBody {
            body,
            limit,
            is_exceeded: false,
        };
        Ok(match encoding {
            BodyEncoding::Plain => Self::Plain(bounded),
            BodyEncoding::Gzip => Self::Gzip(Box::new(GzDecoder::new(bounded))),
            BodyEncoding::Zstd => {
                let window = zstd::stream::raw::DParameter::WindowLogMax(window_log(limit));
                let mut decoder = zstd::stream::raw::Decoder::new().map_err(|error| damaged(&error))?;
                decoder.set_parameter(window).map_err(|error| damaged(&error))?;
                Self::Zstd(ZstdDecoder::with_decoder(bounded, decoder))
            }
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let written = match self {
            Self::Plain(bounded) => bounded.write_all(bytes),
            Self::Zstd(decoder) => decoder.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
        };
        written.map_err(|error| self.decode_error(&error))
    }

    /// What is decoded so far.
    pub(crate) fn decoded(&self) -> &[u8] {
        &self.bounded().body
    }

    /// The complete body, after the last piece.
    pub(crate) fn finish(mut self) -> Result<RequestBody, DecodeError> {
        let finished = match &mut self {
            Self::Plain(_) => Ok(()),
            Self::Zstd(decoder) => decoder.do_finish(),
            Self::Gzip(decoder) => decoder.try_finish(),
        };
        if let Err(error) = finished {
            return Err(self.decode_error(&error));
        }
        Ok(match self {
            Self::Plain(bounded) => bounded.body,
            Self::Zstd(decoder) => decoder.into_inner().body,
            Self::Gzip(decoder) => decoder.finish().map_err(|error| damaged(&error))?.body,
        })
    }

    fn bounded(&self) -> &BoundedBody {
        match self {
            Self::Plain(bounded) => bounded,
            Self::Zstd(decoder) => decoder.get_ref(),
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    fn decode_error(&self, error: &io::Error) -> DecodeError {
        if self.bounded().is_exceeded {
            DecodeError::TooLong
        } else {
            damaged(error)
        }
    }
}

fn damaged(error: &io::Error) -> DecodeError {
    DecodeError::Damaged(match error.kind() {
        // The decoder accepts nothing more: the compressed data has ended.
        io::ErrorKind::WriteZero => "there are bytes after its end".to_owned(),
        io::ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests;
