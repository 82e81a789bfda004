//! Compresses chunks. Each connection has a compressor of its own, whose output buffer is used again.

use std::io::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::write::GzEncoder;
use logferry_config::ChunkCompression;

/// The fastest level: log lines shrink well at any level.
const ZSTD_LEVEL: i32 = 1;

pub(super) struct ChunkCompressor {
    compression: ChunkCompression,
    /// Created with the first body: an idle sender needs none.
    zstd: Option<zstd::bulk::Compressor<'static>>,
    out: BytesMut,
}

impl ChunkCompressor {
    pub(super) fn new(compression: ChunkCompression) -> Self {
        Self {
            compression,
            zstd: None,
            out: BytesMut::new(),
        }
    }

    /// Compresses `plain` on a thread for blocking work. Returns the smaller body and its `Content-Encoding`, or `None` if
    /// `plain` is to be sent uncompressed.
    pub(super) async fn compress(&mut self, plain: &Bytes) -> Option<(Bytes, &'static str)> {
        if self.compression == ChunkCompression::None {
            return None;
        }
        let mut compressor = std::mem::replace(self, Self::new(self.compression));
        let plain = plain.clone();
        let compressing = tokio::task::spawn_blocking(move || {
            let compressed = compressor.compress_now(&plain);
            (compressor, compressed)
        });
        // The task fails only when the process ends; then uncompressed is as good.
        let (compressor, compressed) = compressing.await.ok()?;
        *self = compressor;
        compressed
    }

    fn compress_now(&mut self, plain: &[u8]) -> Option<(Bytes, &'static str)> {
        // The buffer is free again once no request uses its last contents.
        self.out.clear();
        let (compressed, encoding) = match self.compression {
            ChunkCompression::None => return None,
            ChunkCompression::Zstd => (self.zstd(plain), "zstd"),
            ChunkCompression::Gzip => (self.gzip(plain), "gzip"),
        };
        compressed.ok().filter(|()| self.out.len() < plain.len())?;
        Some((self.out.split().freeze(), encoding))
    }

    /// Fails if the output is not smaller.
    fn zstd(&mut self, plain: &[u8]) -> io::Result<()> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        self.out.resize(plain.len(), 0);
        let len = zstd.compress_to_buffer(plain, &mut self.out[..])?;
        self.out.truncate(len);
        Ok(())
    }

    fn gzip(&mut self, plain: &[u8]) -> io::Result<()> {
        let mut encoder = GzEncoder::new((&mut self.out).writer(), flate2::Compression::fast());
        encoder.write_all(plain)?;
        encoder.finish().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn unpacked(body: &[u8], encoding: &str) -> Vec<u8> {
        let mut plain = Vec::new();
        match encoding {
            "zstd" => zstd::stream::copy_decode(body, &mut plain).map(|()| plain),
            _ => flate2::read::GzDecoder::new(body)
                .read_to_end(&mut plain)
                .map(|_| plain),
        }
        .expect("whole")
    }

    #[tokio::test]
    async fn compressed_bodies_are_smaller_and_decompress_to_the_lines() {
        for compression in [ChunkCompression::Zstd, ChunkCompression::Gzip] {
            let mut compressor = ChunkCompressor::new(compression);
            for count in [1000, 3, 50_000] {
                let plain = Bytes::from(b"198.51.100.7 GET /page\n".repeat(count));
                let (body, encoding) = compressor.compress(&plain).await.expect("smaller");
                assert!(body.len() < plain.len());
                assert_eq!(unpacked(&body, encoding), plain);
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_become_smaller_is_sent_uncompressed() {
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let noise: Bytes = (0..10_000).flat_map(|n| hash(n).to_le_bytes()).collect();
        for compression in [ChunkCompression::Zstd, ChunkCompression::Gzip] {
            let mut compressor = ChunkCompressor::new(compression);
            for plain in [Bytes::new(), Bytes::from_static(b"x\n"), noise.clone()] {
                let smaller = compressor.compress(&plain).await;
                assert!(smaller.is_none_or(|(body, _)| body.len() < plain.len()));
            }
            let short = compressor.compress(&Bytes::from_static(b"a short line\n")).await;
            assert!(short.is_none());
        }
        let mut none = ChunkCompressor::new(ChunkCompression::None);
        assert!(none.compress(&Bytes::from(vec![0; 1000])).await.is_none());
    }

    #[test]
    fn the_output_buffer_is_used_again() {
        let plain = b"the same line again and again\n".repeat(1000);
        let mut compressor = ChunkCompressor::new(ChunkCompression::Zstd);
        let first = compressor.compress_now(&plain).expect("smaller").0.as_ptr();
        let second = compressor.compress_now(&plain).expect("smaller").0.as_ptr();
        assert_eq!(first, second);
    }
}
