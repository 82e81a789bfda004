//! The first start of a sender that takes over from the old shipper, with the log rotated and compressed meanwhile or not.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;

use crate::support::logs::comparison::{DeliveredFiles, LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};

/// More than two chunks of the old shipper.
const LINES: usize = 2_500;

/// Lines of one of its chunks; in the field it takes 10,000.
const CHUNK_LINES: usize = 1_000;

/// What the old shipper does at an event: it reads a chunk from its offset on, which may end inside a line, and writes the new offset in
/// place. If the log is shorter than the offset, it begins at 0.
struct OldShipper {
    log: PathBuf,
    offset_file: PathBuf,
    shipped: Vec<u8>,
}

impl OldShipper {
    fn event(&mut self) {
        let log = fs::read(&self.log).unwrap_or_default();
        let offset = fs::read_to_string(&self.offset_file).map_or(0, |text| text.trim().parse().unwrap());
        let offset = if log.len() < offset { 0 } else { offset };
        let chunk: Vec<u8> = log[offset..]
            .split_inclusive(|&byte| byte == b'\n')
            .take(CHUNK_LINES)
            .flatten()
            .copied()
            .collect();
        self.shipped.extend_from_slice(&chunk);
        fs::write(&self.offset_file, (offset + chunk.len()).to_string()).unwrap();
    }

    /// When it has written its offset last.
    fn set_time(&self, ago: Duration) {
        let file = File::options().append(true).open(&self.offset_file).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    }
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

/// As gzip(1) does, which keeps the time.
fn compress(path: &Path) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut file = File::create(path.with_added_extension("gz")).unwrap();
    file.write_all(&encoder.finish().unwrap()).unwrap();
    file.set_modified(modified).unwrap();
    fs::remove_file(path).unwrap();
}

/// Has the old shipper take `chunks`, takes over after `rotations`, and compares what the two have shipped with the log.
fn take_over(test: &str, chunks: usize, is_inside_line: bool, rotations: usize, is_compressed: bool) {
    let mut pipeline = Pipeline::new(test, "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut lines = traffic(test, 1);
    let mut all = Vec::new();
    let mut write = |log: &mut LogFile, at, all: &mut Vec<u8>| {
        let before = fs::read(log.path()).unwrap().len();
        append(log, &mut lines, at, LINES);
        all.extend_from_slice(&fs::read(log.path()).unwrap()[before..]);
    };
    // A file that the shipper finished long ago.
    write(&mut log, ago(100), &mut all);
    let mut old = OldShipper {
        log: pipeline.config.log.clone(),
        offset_file: pipeline.test_folder.path("latest.offset"),
        shipped: all.clone(),
    };
    log.rename().unwrap();
    log.reopen().unwrap();
    write(&mut log, ago(60), &mut all);
    for _ in 0..chunks {
        old.event();
    }
    if is_inside_line {
        let half = fs::read_to_string(&old.offset_file)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            - 30;
        old.shipped.truncate(old.shipped.len() - 30);
        fs::write(&old.offset_file, half.to_string()).unwrap();
    }
    old.set_time(Duration::from_secs(40));
    for rotation in 0..rotations {
        log.rename().unwrap();
        log.reopen().unwrap();
        write(&mut log, ago(20 - i64::try_from(rotation).unwrap()), &mut all);
    }
    if is_compressed {
        for number in (1..=u32::try_from(rotations).unwrap() + 1)
            .rev()
            .filter(|number| *number > 1)
        {
            compress(&log.rotated(number));
        }
    }
    pipeline.write_config();
    let offset_file = old.offset_file.display().to_string();
    let dry = pipeline.command(&["adopt", "--dry-run", &offset_file]);
    assert!(dry.status.success(), "{}", String::from_utf8_lossy(&dry.stderr));
    assert!(!pipeline.config.state_dir.join("checkpoint").exists());
    let adopted = pipeline.command(&["adopt", &offset_file]);
    let printed = String::from_utf8_lossy(&adopted.stdout).into_owned();
    assert!(
        adopted.status.success(),
        "{}",
        String::from_utf8_lossy(&adopted.stderr)
    );
    assert_eq!(printed.contains("inside a line"), is_inside_line, "{printed}");

    pipeline.start_all();
    write(&mut log, Timestamp::now(), &mut all);
    let rest = WrittenLog::of(all[old.shipped.len()..].to_vec());
    pipeline.wait_for_delivered_lines(rest.kept_lines());
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    DeliveredFiles::read(&pipeline.config.destination.directory).assert_is(&rest, LineOrder::WithinWindow);
    let (_, audit) = pipeline.json("audit");
    assert_eq!(audit["complete"], true, "{audit}");
    assert_eq!(
        audit["totals"]["lines_read"],
        rest.lines(),
        "only the rest was read"
    );
}

#[test]
fn sender_goes_on_where_the_old_shipper_stopped_in_the_live_log() {
    take_over("adopt-live", 2, false, 0, false);
}

#[test]
fn sender_goes_on_in_the_file_that_was_rotated_meanwhile() {
    take_over("adopt-rotated", 2, false, 2, false);
}

#[test]
fn sender_goes_on_in_the_file_that_was_rotated_and_compressed_meanwhile() {
    take_over("adopt-compressed", 1, false, 2, true);
}

#[test]
fn sender_goes_on_inside_a_line() {
    take_over("adopt-inside", 2, true, 1, true);
}

#[test]
fn sender_goes_on_after_a_file_that_was_read_to_its_end() {
    take_over("adopt-end", 3, false, 1, true);
}

#[test]
fn place_that_is_gone_is_refused_clearly_and_nothing_is_written() {
    let pipeline = Pipeline::new("adopt-gone", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    append(&mut log, &mut traffic("adopt-gone", 1), Timestamp::now(), LINES);
    let offset_file = pipeline.test_folder.write("latest.offset", "1234");
    File::options()
        .append(true)
        .open(&offset_file)
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_hours(1))
        .unwrap();
    pipeline.write_config();
    let refused = pipeline.command(&["adopt", offset_file.to_str().unwrap()]);
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{printed}");
    assert!(
        printed.contains("the place was not found") && printed.contains("--in FILE"),
        "{printed}"
    );
    assert!(!pipeline.config.state_dir.join("checkpoint").exists());
}
