//! Copies of the recorded state, on which today's roles work.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use flate2::read::GzDecoder;

use crate::support::pipeline::Pipeline;

pub(super) const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data");

/// A foreign file in the drop folder. Because of it, version 0.1 could not deliver a batch.
pub(super) const FOREIGN_FILE: &str = "accessLog_24112008_40-59_127-0-0-1.log";

/// Lines in the spool of version 0.1, and unshipped lines of its sender.
pub(super) const SPOOL_LINES: usize = 100;
pub(super) const UNSHIPPED_LINES: usize = 40;

/// A pipeline that works on copies of the data of version 0.1. `relay`: the name of the data folder to copy.
pub(super) fn pipeline_on_copy(test: &str, relay: &str) -> Pipeline {
    let pipeline = Pipeline::new(test, "20m");
    let data = Path::new(DATA).join("version_0_1");
    let config = &pipeline.config;
    copy_folder(&data.join(relay), &config.data_dir);
    copy_folder(&data.join("sender"), &config.state_dir);
    copy_folder(&data.join("log"), config.log.parent().unwrap());
    copy_folder(&data.join("delivered"), &config.destination.directory);
    pipeline
}

/// Copies a folder. The ledger's files are stored compressed and are unpacked here; compressed batches are not.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            copy_folder(&path, &to.join(name));
        } else if let Some(name) = name
            .strip_suffix(".gz")
            .filter(|name| name.starts_with("ledger.db"))
        {
            let mut decoder = GzDecoder::new(File::open(&path).unwrap());
            io::copy(&mut decoder, &mut File::create(to.join(name)).unwrap()).unwrap();
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
