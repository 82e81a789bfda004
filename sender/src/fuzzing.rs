//! The properties of any checkpoint, for the fuzz target `checkpoint` and the test of its corpus.

use crate::checkpoint::Checkpoint;

/// Reads `data` as a checkpoint, as it is and with the right checksum. A readable checkpoint is equal after it is written
/// and read again, and is refused if its last byte is cut off.
#[expect(clippy::missing_panics_doc, reason = "a panic reports a violated property")]
pub fn checkpoint(data: &[u8]) {
    let mut sealed = [data, b"\n"].concat();
    let checksum = format!("crc32c {:08x}\n", crc32c::crc32c(&sealed));
    sealed.extend_from_slice(checksum.as_bytes());
    for bytes in [data, &sealed] {
        if let Ok(checkpoint) = Checkpoint::from_bytes(bytes) {
            assert_eq!(Checkpoint::from_bytes(&checkpoint.to_bytes()), Ok(checkpoint));
            let cut = &bytes[..bytes.len() - 1];
            assert!(Checkpoint::from_bytes(cut).is_err(), "half a checkpoint");
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_testkit::corpus;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn corpus_of_checkpoints_holds() {
        for entry in corpus::entries("checkpoint") {
            checkpoint(&entry);
        }
    }

    proptest! {
        #[test]
        fn changed_corpus_of_checkpoints_holds(dice: [u16; 6]) {
            checkpoint(&corpus::mutant("checkpoint", dice));
        }
    }
}
