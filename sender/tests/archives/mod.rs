//! Rotated logs that are compressed already.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Site;
use crate::relay::Relay;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 1).expect("memory")
}

impl Site {
    /// Sets when a file was written last, as compressors do to what they made.
    fn set_age(&self, name: &str, seconds: u64) {
        let file = OpenOptions::new()
            .append(true)
            .open(self.path(name))
            .expect("the file");
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .expect("its time");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("a rename");
    }

    /// Replaces a file by a compressed one, as gzip does: the new one grows beside it, then the old one goes.
    fn compress(&self, name: &str, suffix: &str, by: fn(&[u8]) -> Vec<u8>) {
        let text = fs::read(self.path(name)).expect("the file");
        let modified = fs::metadata(self.path(name))
            .and_then(|facts| facts.modified())
            .expect("its time");
        let archive = by(&text);
        let (first, second) = archive.split_at(archive.len() / 2);
        let compressed = format!("{name}{suffix}");
        self.append(&compressed, first);
        self.append(&compressed, second);
        let file = OpenOptions::new()
            .append(true)
            .open(self.path(&compressed))
            .expect("the archive");
        file.set_modified(modified).expect("its time");
        fs::remove_file(self.path(name)).expect("the file");
    }

    async fn arrived(&self, expected: &[u8]) {
        let relay = self.relay.clone();
        self.until("what there is", || relay.arrived("access") == expected)
            .await;
    }

    /// Starts the sender, waits until something new at the end of the live log has arrived, and compares all.
    async fn expect_no_more(&mut self, expected: &mut Vec<u8>) {
        if self.sender.is_none() {
            self.start();
        }
        expected.extend(self.write("access.log", 10));
        self.expect("access", expected).await;
    }
}

#[tokio::test]
async fn compressed_while_it_runs_with_a_backlog_is_finished_from_the_open_file() {
    let mut site = Site::new().await;
    let mut expected = site.write("access.log", 500);
    site.start();
    site.arrived(&expected).await;
    site.relay.set_busy(true);
    expected.extend(site.write("access.log", 3000));
    site.rename("access.log", "access.log.1");
    File::create(site.path("access.log")).expect("a new log");
    let metrics = site.metrics.clone();
    site.until("a chunk that is refused", || metrics.totals().retries > 0)
        .await;
    site.compress("access.log.1", ".gz", gzip);
    site.relay.set_busy(false);
    site.expect_no_more(&mut expected).await;
    site.expect_no_more(&mut expected).await;
    site.end().await;
}

#[tokio::test]
async fn compressed_while_it_is_down_is_read_on_inside_the_archive() {
    for (suffix, by) in [(".gz", gzip as fn(&[u8]) -> Vec<u8>), (".zst", zstd)] {
        let mut site = Site::new().await;
        let mut expected = site.write("access.log", 500);
        site.start();
        site.arrived(&expected).await;
        site.stop().await;
        expected.extend(site.write("access.log", 3000));
        site.rename("access.log", "access.log.1");
        site.compress("access.log.1", suffix, by);
        site.expect_no_more(&mut expected).await;
        site.end().await;
    }
}

#[tokio::test]
async fn two_generations_compressed_while_it_is_down_come_in_order() {
    let mut site = Site::new().await;
    let mut expected = site.write("access.log", 500);
    site.start();
    site.arrived(&expected).await;
    site.stop().await;
    for (name, age) in [("access.log-20261120", 200), ("access.log-20261121", 100)] {
        expected.extend(site.write("access.log", 1000));
        site.rename("access.log", name);
        site.set_age(name, age);
        site.compress(name, ".gz", gzip);
    }
    site.expect_no_more(&mut expected).await;
    site.end().await;
}

#[tokio::test]
async fn an_archive_never_seen_is_shipped_whole_in_its_place_whatever_its_members() {
    let mut site = Site::new().await;
    let (first, second) = (site.write("a", 700), site.write("b", 700));
    let mut expected = [first, second].concat();
    let members = ["a", "b"].map(|name| gzip(&fs::read(site.path(name)).expect("the text")));
    site.append("access.log.2.gz", &members.concat());
    site.set_age("access.log.2.gz", 200);
    expected.extend(site.write("access.log.1", 700));
    site.set_age("access.log.1", 100);
    site.expect_no_more(&mut expected).await;
    site.end().await;
}

#[tokio::test]
async fn a_file_and_its_archive_side_by_side_are_one_stream() {
    for age in [0, 100] {
        let mut site = Site::new().await;
        let mut expected = site.write("access.log.1", 700);
        site.append(
            "access.log.1.gz",
            &gzip(&fs::read(site.path("access.log.1")).expect("the text")),
        );
        for name in ["access.log.1", "access.log.1.gz"] {
            site.set_age(name, age);
        }
        site.expect_no_more(&mut expected).await;
        site.expect_no_more(&mut expected).await;
        fs::remove_file(site.path("access.log.1")).expect("the original");
        site.expect_no_more(&mut expected).await;
        fs::remove_dir_all(&site.config.state_dir).expect("the state");
        site.expect_no_more(&mut expected).await;
        site.end().await;
    }
}

#[tokio::test]
async fn a_half_written_archive_waits_for_its_end() {
    let mut site = Site::new().await;
    let mut expected = site.write("access.log", 500);
    site.start();
    site.arrived(&expected).await;
    site.stop().await;
    let rest = site.write("access.log", 3000);
    let archive = gzip(&fs::read(site.path("access.log")).expect("the text"));
    fs::remove_file(site.path("access.log")).expect("the original");
    let (first, second) = archive.split_at(archive.len() - 100);
    site.append("access.log.1.gz", first);
    site.start();
    // What is written next comes through meanwhile.
    expected.extend(site.write("access.log", 20));
    site.arrived(&expected).await;
    site.append("access.log.1.gz", second);
    site.set_age("access.log.1.gz", 10);
    expected.extend(rest);
    site.arrived(&expected).await;
    site.expect_no_more(&mut expected).await;
    site.end().await;
}

#[tokio::test]
async fn a_shipped_archive_is_neither_shipped_nor_read_again() {
    let mut site = Site::new().await;
    let mut expected = site.write("access.log.1", 500);
    site.set_age("access.log.1", 100);
    site.compress("access.log.1", ".gz", gzip);
    site.start();
    site.arrived(&expected).await;
    let checkpoint = site.config.state_dir.join("checkpoint");
    site.until("the archive in the checkpoint", || {
        fs::read_to_string(&checkpoint).is_ok_and(|text| text.contains("access.log.1.gz"))
    })
    .await;
    site.stop().await;
    // What it holds is not looked at as long as its facts are the same.
    let bytes = fs::metadata(site.path("access.log.1.gz"))
        .expect("the archive")
        .len();
    let modified = fs::metadata(site.path("access.log.1.gz"))
        .and_then(|facts| facts.modified())
        .expect("its time");
    let other = OpenOptions::new()
        .write(true)
        .open(site.path("access.log.1.gz"))
        .expect("the archive");
    (&other)
        .write_all(&vec![b'x'; usize::try_from(bytes).expect("small")])
        .expect("room");
    other.set_modified(modified).expect("its time");
    site.rename("access.log.1.gz", "access.log.2.gz");
    site.expect_no_more(&mut expected).await;
    site.end().await;
}

#[tokio::test]
async fn a_damaged_archive_is_left_and_its_neighbours_are_shipped() {
    let mut site = Site::new().await;
    let sound = site.write("access.log.2", 500);
    let mut archive = gzip(&fs::read(site.path("access.log.2")).expect("the text"));
    fs::remove_file(site.path("access.log.2")).expect("the original");
    let checksum = archive.len() - 8;
    archive[checksum] ^= 1;
    site.append("access.log.2.gz", &archive);
    let mut expected = site.write("access.log.1", 100);
    site.expect_no_more(&mut expected).await;
    // A sound copy takes its place.
    archive[checksum] ^= 1;
    fs::remove_file(site.path("access.log.2.gz")).expect("the damaged one");
    site.append("access.log.2.gz", &archive);
    expected.extend(sound);
    site.start();
    site.arrived(&expected).await;
    site.expect_no_more(&mut expected).await;
    site.end().await;
}

impl Relay {
    fn set_busy(&self, busy: bool) {
        self.busy.store(busy, std::sync::atomic::Ordering::Relaxed);
    }
}
