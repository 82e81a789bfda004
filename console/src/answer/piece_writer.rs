//! Writes lines into a body from a thread for blocking work.
//!
//! Invariant: a line is sent once. What a reader did not take in time is in [`PieceWriter::rest`], in its order.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;

use super::stream_body::BodyWriter;

/// A piece has about so many bytes: one chunk of HTTP for many lines.
const PIECE_BYTES: usize = 32 << 10;

/// A reader that takes no piece for so long gets no more: whoever writes may hold up others.
const SEND_WAIT: Duration = Duration::from_secs(30);

/// Collects lines, and sends them in pieces.
#[derive(Debug)]
pub(crate) struct PieceWriter {
    writer: BodyWriter,
    runtime: Handle,
    until: Instant,
    piece: Vec<u8>,
    is_stuck: bool,
}

impl PieceWriter {
    /// Waits for its reader at most until that time. Made on a thread of the runtime.
    pub(crate) fn new(writer: BodyWriter, until: Instant) -> Self {
        Self {
            writer,
            runtime: Handle::current(),
            until,
            piece: Vec::new(),
            is_stuck: false,
        }
    }

    /// Adds a line, whose newline is not in it. Sends nothing, so async code may call it.
    pub(crate) fn push(&mut self, line: &[u8]) {
        self.piece.extend_from_slice(line);
        self.piece.push(b'\n');
    }

    /// Adds a line, and sends what there is if it is a piece; false if its reader takes no more.
    pub(crate) fn add(&mut self, line: &[u8]) -> bool {
        self.push(line);
        self.piece.len() < PIECE_BYTES || self.flush()
    }

    /// Sends what there is; false if its reader takes no more.
    pub(crate) fn flush(&mut self) -> bool {
        if self.is_stuck || self.writer.is_closed() {
            return false;
        }
        if self.piece.is_empty() {
            return true;
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        let wait = SEND_WAIT.min(self.until.saturating_duration_since(Instant::now()));
        let send = async { self.writer.send_timeout(piece, wait).await };
        match self.runtime.block_on(send) {
            Ok(()) => true,
            Err(SendTimeoutError::Timeout(piece)) => {
                self.piece = piece.into();
                self.is_stuck = true;
                false
            }
            Err(SendTimeoutError::Closed(_)) => false,
        }
    }

    /// Whether its reader did not take a piece in time.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// What is not sent.
    pub(crate) fn rest(self) -> Vec<u8> {
        self.piece
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::super::stream_body::body;
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn reader_that_takes_nothing_ends_the_writing_and_no_line_is_lost_or_doubled() {
        let (sender, body) = body();
        let mut writer = PieceWriter::new(sender, Instant::now() + Duration::from_millis(100));
        let written = tokio::task::spawn_blocking(move || {
            let line = |number: usize| format!("{number} {}", "x".repeat(1000)).into_bytes();
            let lines = (0..1000).take_while(|number| writer.add(&line(*number))).count() + 1;
            assert!(writer.is_stuck() && !writer.add(b"more") && !writer.flush());
            (lines, writer.rest())
        });
        let (lines, rest) = written.await.unwrap();
        assert!(lines < 1000, "the channel is not without a bound");
        let mut sent = body.collect().await.unwrap().to_bytes().to_vec();
        assert!(
            sent.len() >= 2 * PIECE_BYTES && sent.len() < 3 * PIECE_BYTES,
            "{}",
            sent.len()
        );
        sent.extend(rest);
        let text = String::from_utf8(sent).unwrap();
        let mut numbers: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(numbers.pop(), Some("more"));
        let wanted: Vec<_> = (0..lines).map(|number| number.to_string()).collect();
        assert_eq!(numbers, wanted);
    }
}
