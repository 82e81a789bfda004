//! A frame: lines and what is known about them, compressed. Pure.
//!
//! On disk it is a skippable frame of zstd (RFC 8878, section 3.1.2), which has the metadata, and a frame of zstd with the
//! lines, each ending in a newline. So `zstd -dc` of a segment prints its lines. The header of the skippable frame, all
//! numbers little-endian:
//!
//! | bytes | |
//! | --- | --- |
//! | 0..8 | magic and length of a skippable frame |
//! | 8..12 | `lfr1` |
//! | 12..24 | length of the frame with the lines; of the lines; their number |
//! | 24..40 | time of the oldest line and of the newest, milliseconds since 1970 |
//! | 40..44 | length of the metadata before compression |
//! | 44..48 | CRC-32C of bytes 8..44 and of the metadata that follow |
//!
//! Invariant: reading never fails in another way than by `None`, whatever the bytes are, and takes memory in proportion to
//! [`RAW_MAX`] at most.

mod bytes;
mod codec;
mod meta;

pub(crate) use bytes::ByteReader;
pub(crate) use codec::{FrameDecoder, FrameEncoder};
pub(crate) use meta::{FrameEntry, FrameMeta, LineMeta, NewLine, OriginRecord};

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 48;

/// The largest frame, and the largest metadata, that is read.
pub(crate) const RAW_MAX: usize = 32 << 20;
