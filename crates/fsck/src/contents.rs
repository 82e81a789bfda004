//! What is in a batch's file, against what the ledger says.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use logferry_durable::{DiskError, DiskOperation};
use logferry_ledger::{Batch, BatchState};

use crate::judge::{Finding, Kind};

/// Read at once; large enough that the calls do not count.
const BLOCK_LEN: usize = 256 << 10;

/// Length and checksum of what was read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Measure {
    bytes: u64,
    crc32c: u32,
}

/// Reads a batch's file, plain or compressed. `None`: it is as the ledger says, or gone meanwhile.
pub(crate) fn fault(batch: &Batch, path: &Path) -> Result<Option<Finding>, DiskError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::new(DiskOperation::Open, path, error)),
    };
    let read_error = |error| DiskError::new(DiskOperation::Read, path, error);
    let expected = batch.contents;
    let finding = |kind, detail: String| Some(Finding::new(kind, path.to_owned(), Some(batch), detail));
    let measured = if path.extension().is_some_and(|extension| extension == "gz") {
        match measure(MultiGzDecoder::new(file)) {
            Ok(measured) => measured,
            Err(error) => {
                let detail = format!("it cannot be decompressed: {error}; restore it from a backup");
                return Ok(finding(Kind::Contents, detail));
            }
        }
    } else if batch.state == BatchState::Open {
        // What is beyond is not committed yet, or will be cut off by the relay.
        measure(file.take(expected.bytes)).map_err(read_error)?
    } else {
        measure(file).map_err(read_error)?
    };
    Ok(if measured.bytes != expected.bytes {
        let detail = format!(
            "{} bytes, where the ledger says {}; restore it from a backup",
            measured.bytes, expected.bytes
        );
        finding(Kind::Size, detail)
    } else if measured.crc32c != expected.crc32c {
        let detail = "its checksum is not the ledger's: bytes have changed; restore it from a backup";
        finding(Kind::Contents, detail.to_owned())
    } else {
        None
    })
}

fn measure(mut input: impl Read) -> io::Result<Measure> {
    let mut block = vec![0; BLOCK_LEN];
    let mut measure = Measure::default();
    loop {
        match input.read(&mut block) {
            Ok(0) => return Ok(measure),
            Ok(read) => {
                let bytes = block.get(..read).unwrap_or_default();
                measure.bytes += u64::try_from(read).unwrap_or(u64::MAX);
                measure.crc32c = crc32c::crc32c_append(measure.crc32c, bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
