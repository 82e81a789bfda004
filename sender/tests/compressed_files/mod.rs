//! Rotated logs that are compressed already.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::ShippingFixture;
use crate::fake_relay::FakeRelay;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 1).expect("memory")
}

impl ShippingFixture {
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
async fn a_file_compressed_with_a_backlog_is_finished_from_the_open_file() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = fixture.write("access.log", 500);
    fixture.start();
    fixture.arrived(&expected).await;
    fixture.relay.set_busy(true);
    expected.extend(fixture.write("access.log", 3000));
    fixture.rename("access.log", "access.log.1");
    File::create(fixture.path("access.log")).expect("a new log");
    let metrics = fixture.metrics.clone();
    fixture
        .until("a chunk that is refused", || metrics.totals().retries > 0)
        .await;
    fixture.compress("access.log.1", ".gz", gzip);
    fixture.relay.set_busy(false);
    fixture.expect_no_more(&mut expected).await;
    fixture.expect_no_more(&mut expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_file_compressed_while_the_sender_is_down_is_continued_in_the_archive() {
    for (suffix, by) in [(".gz", gzip as fn(&[u8]) -> Vec<u8>), (".zst", zstd)] {
        let mut fixture = ShippingFixture::new().await;
        let mut expected = fixture.write("access.log", 500);
        fixture.start();
        fixture.arrived(&expected).await;
        fixture.stop().await;
        expected.extend(fixture.write("access.log", 3000));
        fixture.rename("access.log", "access.log.1");
        fixture.compress("access.log.1", suffix, by);
        fixture.expect_no_more(&mut expected).await;
        fixture.end().await;
    }
}

#[tokio::test]
async fn two_files_compressed_while_the_sender_is_down_arrive_in_order() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = fixture.write("access.log", 500);
    fixture.start();
    fixture.arrived(&expected).await;
    fixture.stop().await;
    for (name, age) in [("access.log-20261120", 200), ("access.log-20261121", 100)] {
        expected.extend(fixture.write("access.log", 1000));
        fixture.rename("access.log", name);
        fixture.set_age(name, age);
        fixture.compress(name, ".gz", gzip);
    }
    fixture.expect_no_more(&mut expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_new_archive_is_shipped_completely_and_in_order_with_any_members() {
    let mut fixture = ShippingFixture::new().await;
    let (first, second) = (fixture.write("a", 700), fixture.write("b", 700));
    let mut expected = [first, second].concat();
    let members = ["a", "b"].map(|name| gzip(&fs::read(fixture.path(name)).expect("the text")));
    fixture.append("access.log.2.gz", &members.concat());
    fixture.set_age("access.log.2.gz", 200);
    expected.extend(fixture.write("access.log.1", 700));
    fixture.set_age("access.log.1", 100);
    fixture.expect_no_more(&mut expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_file_and_its_archive_side_by_side_are_one_stream() {
    for age in [0, 100] {
        let mut fixture = ShippingFixture::new().await;
        let mut expected = fixture.write("access.log.1", 700);
        fixture.append(
            "access.log.1.gz",
            &gzip(&fs::read(fixture.path("access.log.1")).expect("the text")),
        );
        for name in ["access.log.1", "access.log.1.gz"] {
            fixture.set_age(name, age);
        }
        fixture.expect_no_more(&mut expected).await;
        fixture.expect_no_more(&mut expected).await;
        fs::remove_file(fixture.path("access.log.1")).expect("the original");
        fixture.expect_no_more(&mut expected).await;
        fs::remove_dir_all(&fixture.config.state_dir).expect("the state");
        fixture.expect_no_more(&mut expected).await;
        fixture.end().await;
    }
}

#[tokio::test]
async fn a_half_written_archive_waits_for_its_end() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = fixture.write("access.log", 500);
    fixture.start();
    fixture.arrived(&expected).await;
    fixture.stop().await;
    let rest = fixture.write("access.log", 3000);
    let archive = gzip(&fs::read(fixture.path("access.log")).expect("the text"));
    fs::remove_file(fixture.path("access.log")).expect("the original");
    let (first, second) = archive.split_at(archive.len() - 100);
    fixture.append("access.log.1.gz", first);
    fixture.start();
    // What is written next comes through meanwhile.
    expected.extend(fixture.write("access.log", 20));
    fixture.arrived(&expected).await;
    fixture.append("access.log.1.gz", second);
    fixture.set_age("access.log.1.gz", 10);
    expected.extend(rest);
    fixture.arrived(&expected).await;
    fixture.expect_no_more(&mut expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_shipped_archive_is_neither_shipped_nor_read_again() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = fixture.write("access.log.1", 500);
    fixture.set_age("access.log.1", 100);
    fixture.compress("access.log.1", ".gz", gzip);
    fixture.start();
    fixture.arrived(&expected).await;
    let checkpoint = fixture.config.state_dir.join("checkpoint");
    fixture
        .until("the archive in the checkpoint", || {
            fs::read_to_string(&checkpoint).is_ok_and(|text| text.contains("access.log.1.gz"))
        })
        .await;
    fixture.stop().await;
    // What it holds is not looked at as long as its facts are the same.
    let bytes = fs::metadata(fixture.path("access.log.1.gz"))
        .expect("the archive")
        .len();
    let modified = fs::metadata(fixture.path("access.log.1.gz"))
        .and_then(|facts| facts.modified())
        .expect("its time");
    let other = OpenOptions::new()
        .write(true)
        .open(fixture.path("access.log.1.gz"))
        .expect("the archive");
    (&other)
        .write_all(&vec![b'x'; usize::try_from(bytes).expect("small")])
        .expect("room");
    other.set_modified(modified).expect("its time");
    fixture.rename("access.log.1.gz", "access.log.2.gz");
    fixture.expect_no_more(&mut expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_damaged_archive_is_left_and_its_neighbours_are_shipped() {
    let mut fixture = ShippingFixture::new().await;
    let sound = fixture.write("access.log.2", 500);
    let mut archive = gzip(&fs::read(fixture.path("access.log.2")).expect("the text"));
    fs::remove_file(fixture.path("access.log.2")).expect("the original");
    let checksum = archive.len() - 8;
    archive[checksum] ^= 1;
    fixture.append("access.log.2.gz", &archive);
    let mut expected = fixture.write("access.log.1", 100);
    fixture.expect_no_more(&mut expected).await;
    // A sound copy takes its place.
    archive[checksum] ^= 1;
    fs::remove_file(fixture.path("access.log.2.gz")).expect("the damaged one");
    fixture.append("access.log.2.gz", &archive);
    expected.extend(sound);
    fixture.start();
    fixture.arrived(&expected).await;
    fixture.expect_no_more(&mut expected).await;
    fixture.end().await;
}

impl FakeRelay {
    fn set_busy(&self, busy: bool) {
        self.busy.store(busy, std::sync::atomic::Ordering::Relaxed);
    }
}
