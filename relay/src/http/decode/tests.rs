//! Tests of decoding: round trips, decompression bombs, damaged bodies.

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::chunk::BodyPool;

const LIMIT: usize = 1 << 20;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 1).expect("memory")
}

/// A frame whose header does not give its decompressed length.
fn zstd_streamed(plain: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("memory");
    encoder.window_log(window_log).expect("in range");
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

/// Decodes a body that arrives in pieces of `piece` bytes.
fn decode(encoding: BodyEncoding, sent: &[u8], limit: usize, piece: usize) -> Result<Vec<u8>, DecodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let body = runtime
        .expect("a runtime")
        .block_on(BodyPool::new(LIMIT * 8).reserve(limit, 0));
    let mut decoder = BodyDecoder::new(encoding, body, limit)?;
    for piece in sent.chunks(piece) {
        decoder.write(piece)?;
    }
    Ok(decoder.finish()?.to_vec())
}

fn reason(decoded: Result<Vec<u8>, DecodeError>) -> String {
    match decoded {
        Err(DecodeError::Damaged(reason)) => reason,
        other => panic!("not damaged: {other:?}"),
    }
}

#[test]
fn an_unknown_encoding_is_not_accepted() {
    assert_eq!(BodyEncoding::from_header(None), Some(BodyEncoding::Plain));
    assert_eq!(BodyEncoding::from_header(Some("zstd")), Some(BodyEncoding::Zstd));
    assert_eq!(BodyEncoding::from_header(Some("gzip")), Some(BodyEncoding::Gzip));
    for unknown in ["br", "gzip, zstd", "zst"] {
        assert_eq!(BodyEncoding::from_header(Some(unknown)), None);
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let bomb = vec![b'x'; 64 << 20];
    for (encoding, sent) in [
        (BodyEncoding::Gzip, gzip(&bomb)),
        (BodyEncoding::Zstd, zstd(&bomb)),
        (BodyEncoding::Zstd, zstd_streamed(&bomb, 19)),
    ] {
        assert!(sent.len() < LIMIT, "the compressed body is small");
        let decoded = decode(encoding, &sent, LIMIT, 4096);
        assert!(matches!(decoded, Err(DecodeError::TooLong)), "{encoding:?}");
    }
}

#[test]
fn a_frame_that_asks_for_a_large_window_is_refused() {
    let sent = zstd_streamed(b"small", 27);
    let said = reason(decode(BodyEncoding::Zstd, &sent, LIMIT, 4096));
    assert!(said.contains("too much memory"), "{said}");
}

#[test]
fn truncated_bodies_and_trailing_bytes_are_damaged() {
    let plain = b"one line\n".repeat(1000);
    for (encoding, sent) in [
        (BodyEncoding::Gzip, gzip(&plain)),
        (BodyEncoding::Zstd, zstd(&plain)),
    ] {
        for len in [0, 1, sent.len() / 2, sent.len() - 1] {
            reason(decode(encoding, &sent[..len], LIMIT, 7));
        }
        let longer = [&sent, &b"more"[..]].concat();
        reason(decode(encoding, &longer, LIMIT, 4096));
        assert!(matches!(
            decode(encoding, &plain, LIMIT, 4096),
            Err(DecodeError::Damaged(_))
        ));
    }
}

proptest! {
    #[test]
    fn every_body_survives_encoding_and_decoding(
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..200),
        repeat in 1_usize..200,
        piece in 1_usize..5000,
    ) {
        let plain = words.concat().repeat(repeat);
        for (encoding, sent) in [
            (BodyEncoding::Plain, plain.clone()),
            (BodyEncoding::Gzip, gzip(&plain)),
            (BodyEncoding::Zstd, zstd(&plain)),
        ] {
            let decoded = decode(encoding, &sent, plain.len(), piece).ok();
            prop_assert_eq!(decoded.as_ref(), Some(&plain));
        }
    }

    #[test]
    fn arbitrary_bytes_decode_within_the_limit_or_fail(
        sent in prop::collection::vec(any::<u8>(), 0..2000),
        flip in any::<prop::sample::Index>(),
    ) {
        let mut frame = zstd(&sent);
        let at = flip.index(frame.len());
        frame[at] ^= 0x55;
        for (encoding, sent) in [(BodyEncoding::Zstd, &frame), (BodyEncoding::Zstd, &sent), (BodyEncoding::Gzip, &sent)] {
            if let Ok(decoded) = decode(encoding, sent, 2000, 333) {
                prop_assert!(decoded.len() <= 2000);
            }
        }
    }
}
