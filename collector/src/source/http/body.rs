//! Reading bodies: bounded in size, memory and time, before and after decompression.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use logferry_http_server::BodyTimeout;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::source::http::rejection::Rejection;
use crate::source::record_memory::{HeldRecords, RecordMemory};

/// Memory of all bodies of a source together, at least and by the largest body: one that is compressed needs its own bytes and
/// those that come out of it. Any body that is allowed must fit, else its client would be told to wait for ever.
const MEMORY_MIN: usize = 64 << 20;
const MEMORY_FACTOR: usize = 2;

/// How long a body waits for memory.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body must bring some bytes in each such interval.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// The largest window of a zstd body, as a power of two: 8 MiB, which `zstd` uses up to level 19.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyCoding {
    Plain,
    Gzip,
    Zstd,
}

impl BodyCoding {
    /// By the header `Content-Encoding`; `None` if it is not supported.
    pub(super) fn of(header: Option<&str>) -> Option<Self> {
        match header.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Some(Self::Plain),
            Some("gzip" | "x-gzip") => Some(Self::Gzip),
            Some("zstd") => Some(Self::Zstd),
            Some(_) => None,
        }
    }
}

/// The memory of the bodies of a source, and of their records.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory {
    bodies: Arc<Semaphore>,
    records: RecordMemory,
}

/// A body in memory, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct HeldBody {
    pub(super) bytes: Vec<u8>,
    /// In KiB.
    held: Option<OwnedSemaphorePermit>,
}

impl BodyMemory {
    /// For bodies of at most `max_body` bytes, whose records are in `records`.
    pub(super) fn new(max_body: usize, records: RecordMemory) -> Self {
        let memory = MEMORY_MIN.max(max_body.saturating_mul(MEMORY_FACTOR));
        Self {
            // What is held is rounded up.
            bodies: Arc::new(Semaphore::new(memory / 1024 + 1)),
            records,
        }
    }

    /// Takes memory for the records of a body, before they are made.
    pub(super) async fn hold_records(&self, body: &HeldBody) -> Result<HeldRecords, Rejection> {
        if !self.records.has_room_for(&body.bytes) {
            return Err(Rejection::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body has more records or values than fit into memory at once; post it in parts",
            ));
        }
        let held = tokio::time::timeout(MEMORY_TIMEOUT, self.records.hold(&body.bytes)).await;
        held.map_err(|_| too_busy())
    }

    /// Takes memory for so many bytes more. A body that only begins holds none, so that clients that stall keep no others away.
    async fn hold(&self, body: &mut HeldBody, bytes: usize) -> Result<(), Rejection> {
        let held = body.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        // By what it holds altogether: a body of small pieces needs no more than another.
        let needed = (body.bytes.len() + bytes).div_ceil(1024).saturating_sub(held);
        if needed == 0 {
            return Ok(());
        }
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.bodies).acquire_many_owned(needed);
        match tokio::time::timeout(MEMORY_TIMEOUT, permit).await {
            Ok(Ok(permit)) => {
                match &mut body.held {
                    Some(held) => held.merge(permit),
                    none => *none = Some(permit),
                }
                Ok(())
            }
            _ => Err(too_busy()),
        }
    }

    /// Reads a body of at most `limit` bytes, before and after decompression.
    pub(super) async fn read(
        &self,
        mut incoming: Incoming,
        coding: BodyCoding,
        limit: usize,
    ) -> Result<HeldBody, Rejection> {
        let announced = incoming.size_hint().lower();
        if usize::try_from(announced).is_ok_and(|announced| announced > limit) {
            return Err(too_large(limit));
        }
        let mut body = HeldBody {
            bytes: Vec::new(),
            held: None,
        };
        let mut progress = BodyTimeout::new(PROGRESS_INTERVAL, std::time::Instant::now());
        loop {
            let frame = tokio::time::timeout_at(progress.deadline().into(), incoming.frame()).await;
            let frame = frame
                .map_err(|_| Rejection::new(StatusCode::REQUEST_TIMEOUT, "the body arrives too slowly"))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| {
                Rejection::new(
                    StatusCode::BAD_REQUEST,
                    format!("the body is incomplete: {error}"),
                )
            })?;
            if let Some(data) = frame.data_ref() {
                if body.bytes.len() + data.len() > limit {
                    return Err(too_large(limit));
                }
                self.hold(&mut body, data.len()).await?;
                body.bytes.extend_from_slice(data);
                progress.received(data.len(), std::time::Instant::now());
            }
        }
        if coding == BodyCoding::Plain {
            return Ok(body);
        }
        // Nobody knows yet how much comes out.
        self.hold(&mut body, limit).await?;
        let HeldBody { bytes, held } = body;
        let bytes = tokio::task::spawn_blocking(move || decompress(&bytes, coding, limit))
            .await
            .map_err(|_| {
                Rejection::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the body could not be decompressed",
                )
            })??;
        Ok(HeldBody { bytes, held })
    }
}

fn too_busy() -> Rejection {
    Rejection::wait(
        Duration::from_secs(5),
        "too many large bodies are being received at once",
    )
}

fn too_large(limit: usize) -> Rejection {
    Rejection::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {limit} bytes (max_body); post it in parts"),
    )
}

/// What a compressed body holds, at most `limit` bytes.
fn decompress(bytes: &[u8], coding: BodyCoding, limit: usize) -> Result<Vec<u8>, Rejection> {
    let read = match coding {
        BodyCoding::Plain => Ok(bytes.to_vec()),
        BodyCoding::Gzip => read_bounded(MultiGzDecoder::new(bytes), limit),
        BodyCoding::Zstd => zstd::stream::read::Decoder::new(bytes)
            .and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            })
            .and_then(|decoder| read_bounded(decoder, limit)),
    };
    let plain = read.map_err(|error| {
        Rejection::new(
            StatusCode::BAD_REQUEST,
            format!("the body cannot be decompressed: {error}"),
        )
    })?;
    if plain.len() > limit {
        return Err(too_large(limit));
    }
    Ok(plain)
}

/// Reads up to one byte more than `limit`.
fn read_bounded(reader: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut plain = Vec::new();
    reader.take(most).read_to_end(&mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn compressed_bodies_are_read_and_bombs_are_not_unpacked() {
        let plain = vec![b'x'; 100_000];
        for (coding, packed) in [
            (BodyCoding::Gzip, gzip(&plain)),
            (BodyCoding::Zstd, zstd::encode_all(&plain[..], 3).expect("memory")),
        ] {
            assert_eq!(decompress(&packed, coding, 100_000).expect("fits"), plain);
            let error = decompress(&packed, coding, 99_999).expect_err("too large");
            assert_eq!(error.status, StatusCode::PAYLOAD_TOO_LARGE);
            let error = decompress(&packed[..packed.len() - 3], coding, 100_000).expect_err("torn");
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
            assert!(decompress(b"not compressed", coding, 100).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn largest_body_fits_into_memory_with_what_comes_out_of_it_in_whatever_pieces() {
        const MAX: usize = 64 << 20;
        let memory = BodyMemory::new(MAX, RecordMemory::new(1 << 20));
        let mut body = HeldBody {
            bytes: Vec::new(),
            held: None,
        };
        for piece in [1, 1000, 24, 1].into_iter().chain([1 << 20; 63]) {
            memory.hold(&mut body, piece).await.expect("memory");
            body.bytes.resize(body.bytes.len() + piece, 0);
        }
        let left = MAX - body.bytes.len();
        memory.hold(&mut body, left).await.expect("memory");
        body.bytes.resize(MAX, 0);
        memory.hold(&mut body, MAX).await.expect("memory");
        let mut other = HeldBody {
            bytes: Vec::new(),
            held: None,
        };
        assert!(memory.hold(&mut other, 1 << 20).await.is_err(), "it is bounded");
        drop(body);
        memory.hold(&mut other, MAX).await.expect("memory");
    }

    #[test]
    fn codings_are_known_by_their_names() {
        assert_eq!(BodyCoding::of(None), Some(BodyCoding::Plain));
        assert_eq!(BodyCoding::of(Some(" GZIP ")), Some(BodyCoding::Gzip));
        assert_eq!(BodyCoding::of(Some("zstd")), Some(BodyCoding::Zstd));
        assert_eq!(BodyCoding::of(Some("br")), None);
    }
}
