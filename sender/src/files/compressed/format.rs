//! Compression formats: which one a file has, by its first bytes, and a decoder for each.
//!
//! Names say nothing: `access.log.1.gz` may be plain text, and a file may be compressed more than once. Concatenated members,
//! frames and streams are one text in all formats.

use std::io::{self, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;

use super::gzip_members::GzipMembers;

const INPUT_BYTES: usize = 64 * 1024;
/// Most memory of one decoder. `zstd --long=27` and `xz -9` (65 MiB) stay within it.
const WINDOW_LOG_MAX: u32 = 27;
const XZ_MEMORY_KIB: u32 = 1 << (WINDOW_LOG_MAX - 10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressionFormat {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl CompressionFormat {
    /// By the magic number: RFC 1952, 2.3.1; RFC 8878, 3.1.1 and 3.1.2; the .xz file format, 2.1.1.1; the bzip2 manual.
    pub(super) fn of(beginning: &[u8]) -> Option<Self> {
        match beginning {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            // A frame, or a skippable frame, with which pzstd begins.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // A block's magic number is the number pi, that of an empty file's end its square root.
            [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
                if block.starts_with(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59])
                    || block.starts_with(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]) =>
            {
                Some(Self::Bzip2)
            }
            _ => None,
        }
    }

    pub(super) fn decoder(self, input: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
        let input = BufReader::with_capacity(INPUT_BYTES, input);
        Ok(match self {
            Self::Gzip => Box::new(GzipMembers::new(input)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Self::Xz => Box::new(XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB)),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(input)),
        })
    }
}

/// Whether a decoder refused the text because it needs more memory than allowed.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    // zstd has no kind of its own for it (ZSTD_error_frameParameter_windowTooLarge).
    error.kind() == io::ErrorKind::OutOfMemory || error.to_string().contains("too much memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::compressed::LAYERS_MAX;

    #[test]
    fn the_unit_allows_the_memory_of_all_decoders_of_a_file() {
        let unit = include_str!("../../../../deploy/systemd/logferry-sender.service");
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix("MemoryMax="));
        let allowed = lines
            .next()
            .and_then(|size| size.strip_suffix('M')?.parse::<usize>().ok());
        let decoders = LAYERS_MAX << (WINDOW_LOG_MAX - 20);
        assert!(
            allowed.is_some_and(|allowed| allowed >= decoders + 64),
            "{allowed:?}"
        );
    }
}
