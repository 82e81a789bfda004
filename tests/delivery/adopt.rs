//! The first start of a sender that takes over from the old shipper, with the log rotated and compressed meanwhile or not.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use logferry_traffic::{LogFile, Traffic};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::logferry;
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

/// A site of a host with several, its old shipper, and all of its lines.
struct Site {
    log: LogFile,
    lines: Traffic,
    old: OldShipper,
    all: Vec<u8>,
}

impl Site {
    fn new(pipeline: &Pipeline, name: &str) -> Self {
        let path = pipeline.config.log.parent().unwrap().join(format!("{name}.log"));
        Self {
            log: LogFile::open(&path).unwrap(),
            lines: traffic(name, 1),
            old: OldShipper {
                log: path,
                offset_file: pipeline.test_folder.path(&format!("{name}.offset")),
                shipped: Vec::new(),
            },
            all: Vec::new(),
        }
    }

    fn write(&mut self, at: Timestamp) {
        let before = fs::read(self.log.path()).unwrap().len();
        append(&mut self.log, &mut self.lines, at, LINES);
        self.all
            .extend_from_slice(&fs::read(self.log.path()).unwrap()[before..]);
    }

    fn rotate(&mut self) {
        self.log.rename().unwrap();
        self.log.reopen().unwrap();
    }

    /// What the old shipper has not shipped.
    fn rest(&self) -> WrittenLog {
        WrittenLog::of(self.all[self.old.shipped.len()..].to_vec())
    }
}

/// Two sites, each with a shipper of its own that stops in a file which is rotated twice and compressed afterwards. Both are taken
/// over; a second time is refused.
fn take_over_two_sites(test: &str, set_up: impl FnOnce(&mut Pipeline)) {
    let mut pipeline = Pipeline::new(test, "2s");
    let mut sites = ["shop", "blog"].map(|name| Site::new(&pipeline, name));
    set_up(&mut pipeline);
    pipeline.write_config();
    for (chunks, site) in sites.iter_mut().enumerate() {
        site.write(ago(60));
        for _ in 0..=chunks {
            site.old.event();
        }
        site.old.set_time(Duration::from_secs(40));
        for seconds in [20, 10] {
            site.rotate();
            site.write(ago(seconds));
        }
        compress(&site.log.rotated(2));
    }
    let adopt = |site: &Site| {
        let (offset_file, log) = (site.old.offset_file.display(), site.old.log.display());
        pipeline.command(&["adopt", &offset_file.to_string(), "--file", &log.to_string()])
    };
    for site in &sites {
        let adopted = adopt(site);
        assert!(
            adopted.status.success(),
            "{}",
            String::from_utf8_lossy(&adopted.stderr)
        );
    }
    for site in &sites {
        let again = adopt(site);
        let printed = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(3), "{printed}");
        assert!(printed.contains("already has a place"), "{printed}");
    }
    // One more rotation before the first start.
    sites[0].rotate();
    for site in &mut sites {
        site.write(ago(1));
    }
    pipeline.start_all();
    for site in &mut sites {
        site.write(Timestamp::now());
    }
    let [shop, blog] = sites.map(|site| site.rest());
    let rest = shop.and(blog);
    pipeline.wait_for_delivered_lines(rest.kept_lines());
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    pipeline.delivered().assert_is(&rest, LineOrder::WithinWindow);
    let (_, audit) = pipeline.json("audit");
    assert_eq!(audit["complete"], true, "{audit}");
    assert_eq!(
        audit["totals"]["lines_read"],
        rest.lines(),
        "only the rest was read"
    );
}

#[test]
fn two_sites_of_one_glob_go_on_where_their_old_shippers_stopped() {
    take_over_two_sites("adopt-sites", |pipeline| {
        pipeline.config.log.set_file_name("*.log");
    });
}

#[test]
fn two_logs_that_start_at_their_end_go_on_where_their_old_shippers_stopped() {
    take_over_two_sites("adopt-ends", |pipeline| {
        let config = &mut pipeline.config;
        config.start = "end";
        config.log.set_file_name("shop.log");
        config.other_log = Some(config.log.with_file_name("blog.log"));
    });
}

#[test]
fn old_shipper_takes_over_again_where_the_sender_stopped() {
    let mut pipeline = Pipeline::new("adopt-back", "2s");
    let mut site = Site::new(&pipeline, "access");
    site.write(ago(60));
    site.old.event();
    site.old.set_time(Duration::from_secs(40));
    let text = pipeline.config.to_string();
    pipeline.write_config();
    let offset_file = site.old.offset_file.display().to_string();
    assert!(pipeline.command(&["adopt", &offset_file]).status.success());
    pipeline.start_all();
    site.write(Timestamp::now());
    pipeline.wait_for_delivered_lines(site.rest().kept_lines());
    // Lines come while it stops.
    site.write(Timestamp::now());
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    site.write(Timestamp::now());

    // docs/migrate.md, "The way back". The nginx host has no relay in its configuration.
    let (of_sender, _) = text.split_once("\nrelay:").unwrap();
    let config = pipeline.test_folder.write("nginx-host.yaml", of_sender);
    let status = logferry()
        .arg("-c")
        .arg(config)
        .args(["status", "--json"])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let path = site.old.log.to_str().unwrap();
    let logs = status["sender"]["logs"].as_array().unwrap();
    let live = logs.iter().find(|log| log["path"] == path).expect(path);
    let offset = live["offset"].as_u64().unwrap();
    let by_sender =
        WrittenLog::of(site.all[site.old.shipped.len()..usize::try_from(offset).unwrap()].to_vec());
    fs::write(&site.old.offset_file, offset.to_string()).unwrap();
    site.old.shipped.clear();
    while fs::read_to_string(&site.old.offset_file).unwrap() != site.all.len().to_string() {
        site.old.event();
    }

    pipeline.wait_for_delivered_lines(by_sender.kept_lines());
    pipeline
        .delivered()
        .assert_is(&by_sender, LineOrder::WithinWindow);
    let offset = usize::try_from(offset).unwrap();
    assert!(site.all[offset - 1] == b'\n', "the sender ships whole lines");
    assert!(
        site.old.shipped == site.all[offset..],
        "the old shipper has all others"
    );
    assert!(offset < site.all.len(), "and there are some");
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
