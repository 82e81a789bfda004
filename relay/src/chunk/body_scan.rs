//! What is read of a chunk's body while it arrives: its lines by window, and its checksum.
//!
//! Pure. A body of megabytes leaves the processor's cache before it is complete. Each piece is read when it comes instead.

use logferry_config::WindowLength;
use logferry_fields::LineClock;

use super::window_split::{WindowSplit, WindowSplitter};

#[derive(Debug)]
pub(crate) struct BodyScan<'f> {
    lines: WindowSplitter<'f>,
    crc32c: u32,
    /// How much of the body the checksum has.
    len: usize,
}

impl<'f> BodyScan<'f> {
    pub(crate) fn new(clock: LineClock<'f>, length: WindowLength) -> Self {
        Self {
            lines: WindowSplitter::new(clock, length),
            crc32c: 0,
            len: 0,
        }
    }

    /// Reads on in `body`, which is what has arrived so far.
    pub(crate) fn read(&mut self, body: &[u8]) {
        let piece = body.get(self.len..).unwrap_or_default();
        self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
        self.len = body.len();
        self.lines.read(body);
    }

    /// The split and the CRC-32C of the complete body.
    pub(crate) fn finish(mut self, body: &[u8]) -> (WindowSplit, u32) {
        self.read(body);
        (self.lines.finish(body), self.crc32c)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use logferry_config::TimestampFormat;
    use logferry_fields::Format;
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::split_by_window;

    proptest! {
        #[test]
        fn a_body_in_pieces_is_read_as_a_whole_one(
            lines in prop::collection::vec((0_u32..60, "[a-z ]{0,30}", any::<bool>()), 0..20),
            pieces in prop::collection::vec(0_usize..200, 0..20),
            ends_inside_line in any::<bool>(),
        ) {
            let line = |(minute, text, has_time): (u32, String, bool)| {
                let time = has_time.then(|| format!("[21/Nov/2026:08:{minute:02}:03 +0600] "));
                format!("{}{text}\n", time.unwrap_or_default())
            };
            let mut body: String = lines.into_iter().map(line).collect();
            if ends_inside_line {
                body.push_str("[21/Nov/2026:08:20:03");
            }
            let body = body.as_bytes();
            let (format, length) = (Format::default(), WindowLength::try_from(Duration::from_mins(20)));
            let length = length.expect("divides an hour");
            let clock = || LineClock::new(&format, TimestampFormat::Auto, 0);
            let (mut scan, mut arrived) = (BodyScan::new(clock(), length), 0);
            for piece in pieces {
                arrived = (arrived + piece).min(body.len());
                scan.read(&body[..arrived]);
            }
            let (split, crc32c) = scan.finish(body);
            prop_assert_eq!(crc32c, crc32c::crc32c(body));
            prop_assert_eq!(split, split_by_window(body, clock(), length));
        }
    }
}
