//! The members of a gzip file, as one text (RFC 1952, section 2.2), up to the zeros that fill a block of a tape or of a disk.
//!
//! gzip(1) takes such a file for whole too. What follows the zeros is a member, or damage.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

pub(super) struct GzipMembers<R> {
    /// `None` after the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipMembers<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            member: Some(GzDecoder::new(input)),
        }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if let Some(mut input) = self.member.take().map(GzDecoder::into_inner)
                && has_more(&mut input)?
            {
                self.member = Some(GzDecoder::new(input));
            }
        }
        Ok(0)
    }
}

/// Skips zeros. Whether anything else follows.
fn has_more(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = input.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros < bytes.len() || bytes.is_empty() {
            let is_end = bytes.is_empty();
            input.consume(zeros);
            return Ok(!is_end);
        }
        input.consume(zeros);
    }
}
