//! Verified and compressed deliveries with manifest and marker, also over connections that break.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flate2::read::GzDecoder;
use logferry_config::{Destination, FileCompression, Publishing, VerifyMode};
use logferry_ledger::{Batch, BatchState};

use crate::support::{Direction, Running, Spool, Sshd, cutting_proxy, destination, names_in, until};

/// A destination whose batches have a manifest and a marker.
pub(crate) fn accompany(edw: &mut Destination, verify: VerifyMode, compress: FileCompression) {
    edw.publish = Publishing {
        verify,
        compress,
        manifest: true,
        marker: Some(".ok".to_owned()),
    };
}

/// Asserts that the folder has exactly these batches, compressed, each with its manifest and marker.
pub(crate) fn assert_published<'a>(
    spool: &Spool,
    drop: &Path,
    batches: impl IntoIterator<Item = (&'a Batch, Vec<u8>)>,
) {
    let mut expected = Vec::new();
    for (batch, text) in batches {
        let file = format!("{}.gz", batch.file_name());
        let packed = fs::read(drop.join(&file)).unwrap();
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == text, "{file}");
        let manifest = fs::read_to_string(drop.join(format!("{}.json", batch.name()))).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["file"], file.as_str());
        assert_eq!(manifest["file_bytes"], packed.len());
        assert_eq!(manifest["bytes"], text.len());
        let delivery = spool.delivery(batch, "edw").unwrap();
        assert_eq!(manifest["file_sha256"], delivery.file_sha256.as_deref().unwrap());
        assert_eq!(manifest["sha256"], spool.now(batch).sha256.as_deref().unwrap());
        assert_eq!(delivery.bytes, Some(packed.len() as u64));
        assert_eq!(delivery.publishing, None);
        expected.extend([format!("{}.json", batch.name()), format!("{file}.ok"), file]);
    }
    expected.sort();
    assert_eq!(names_in(drop), expected);
    let outgoing = spool.dir().join("outgoing/edw");
    assert!(
        !outgoing.exists() || names_in(&outgoing).is_empty(),
        "no compressed file stays"
    );
}

/// A text that differs for each window and is larger than one packet.
pub(crate) fn text(window: u32, lines: u32) -> Vec<u8> {
    (0..lines)
        .flat_map(|n| format!("{window} line {n} {}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_is_published_proved_compressed_and_accompanied() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batches = [(0, 50_000), (1, 1), (2, 0)];
    let sealed = batches.map(|(window, lines)| spool.seal(window, &text(window, lines)));
    let mut edw = destination("edw", &sshd);
    accompany(&mut edw, VerifyMode::ReadBack, FileCompression::Gzip);
    let forwarder = Running::start(spool.dir(), vec![edw]);
    for batch in &sealed {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    let texts = batches.map(|(window, lines)| text(window, lines));
    assert_published(&spool, &sshd.drop_dir(), sealed.iter().zip(texts));
}

/// A `sha256sum` that counts its calls, for servers that run commands.
fn counting_sha256sum(sshd: &Sshd) {
    let script = format!(
        "#!/bin/sh\necho >> {}\nPATH=/usr/bin:/bin exec sha256sum\n",
        sshd.path("calls").display()
    );
    let path = sshd.path("bin");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("sha256sum"), script).unwrap();
    fs::set_permissions(path.join("sha256sum"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hash_is_made_by_the_servers_shell_and_without_one_the_file_is_read_back() {
    for (config, calls) in [("", 4), ("ForceCommand internal-sftp", 0), ("MaxSessions 1", 0)] {
        let mut sshd = Sshd::prepare(config);
        counting_sha256sum(&sshd);
        let path = format!("SetEnv PATH={}:/usr/bin:/bin\n", sshd.path("bin").display());
        let whole = fs::read_to_string(sshd.path("sshd_config")).unwrap() + &path;
        fs::write(sshd.path("sshd_config"), whole).unwrap();
        sshd.launch();
        // Paths that a shell would change.
        let directory = sshd.path("drop/it's $(id) \"quoted\"");
        fs::create_dir(&directory).unwrap();
        let mut edw = destination("edw", &sshd);
        edw.directory = directory.to_str().unwrap().to_owned();
        edw.publish.verify = VerifyMode::Hash;

        let mut spool = Spool::new();
        let texts = [0, 1, 2, 3].map(|window| text(window, 20_000));
        let sealed: Vec<_> = (0..)
            .zip(&texts)
            .map(|(window, text)| spool.seal(window, text))
            .collect();
        let forwarder = Running::start(spool.dir(), vec![edw]);
        for batch in &sealed {
            until("sent", || spool.is_in(BatchState::Sent, batch)).await;
        }
        forwarder.stop().await;
        for (batch, text) in sealed.iter().zip(&texts) {
            assert!(
                fs::read(directory.join(batch.file_name())).unwrap() == *text,
                "{config}"
            );
            assert_eq!(spool.delivery(batch, "edw").unwrap().attempts, 0, "{config}");
        }
        let called = fs::read_to_string(sshd.path("calls")).unwrap_or_default();
        assert_eq!(called.lines().count(), calls, "{config}");
    }
}

/// The numbers of bytes after which connections are cut, spread over a whole session; the same in each run.
fn cuts(count: u64) -> Vec<(Direction, u64)> {
    let spread = |n: u64| 2_500 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 40_000;
    let direction = |n: u64| {
        if n.is_multiple_of(2) {
            Direction::ToServer
        } else {
            Direction::ToClient
        }
    };
    (0..count).map(|n| (direction(n), spread(n))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_at_any_byte_end_in_one_right_file_manifest_and_marker_for_each_batch() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let texts: Vec<_> = (0..8).map(|window| text(window, 700)).collect();
    let sealed: Vec<_> = (0..)
        .zip(&texts)
        .map(|(window, text)| spool.seal(window, text))
        .collect();
    let proxy = cutting_proxy(sshd.port, cuts(40));
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", proxy.port));
    let mut edw = destination("edw", &sshd);
    accompany(&mut edw, VerifyMode::ReadBack, FileCompression::Gzip);
    (edw.port, edw.retry.attempts) = (proxy.port, 1000);
    let forwarder = Running::start(spool.dir(), vec![edw]);
    for batch in &sealed {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    assert_published(&spool, &sshd.drop_dir(), sealed.iter().zip(texts));
}

/// Removes files from a folder as soon as they have their final names.
struct Receiver {
    stop: Arc<AtomicBool>,
    taking: JoinHandle<Vec<String>>,
}

impl Receiver {
    fn start(drop: PathBuf, into: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let taking = thread::spawn(move || {
            let mut taken = Vec::new();
            loop {
                let is_last = stopped.load(Ordering::SeqCst);
                for name in names_in(&drop) {
                    if name.strip_suffix(".part").is_none() {
                        fs::rename(drop.join(&name), into.join(&name)).unwrap();
                        taken.push(name);
                    }
                }
                if is_last {
                    return taken;
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        Self { stop, taking }
    }

    /// What it took, in alphabetical order.
    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut taken = self.taking.join().unwrap();
        taken.sort();
        taken
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_takes_files_at_once_gets_each_once_over_connections_that_are_cut() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let texts: Vec<_> = (0..8).map(|window| text(window, 300)).collect();
    let sealed: Vec<_> = (0..)
        .zip(&texts)
        .map(|(window, text)| spool.seal(window, text))
        .collect();
    let proxy = cutting_proxy(sshd.port, cuts(40));
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", proxy.port));
    let mut edw = destination("edw", &sshd);
    accompany(&mut edw, VerifyMode::Size, FileCompression::None);
    (edw.port, edw.retry.attempts) = (proxy.port, 1000);
    let taken = sshd.path("taken");
    fs::create_dir(&taken).unwrap();
    let receiver = Receiver::start(sshd.drop_dir(), taken.clone());
    let forwarder = Running::start(spool.dir(), vec![edw]);
    for batch in &sealed {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    let names = receiver.stop();
    let expected = sealed.iter().flat_map(|batch| {
        let file = batch.file_name();
        [
            format!("{}.json", batch.name()),
            file.clone(),
            format!("{file}.ok"),
        ]
    });
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    assert_eq!(names, expected);
    for (batch, text) in sealed.iter().zip(texts) {
        assert!(fs::read(taken.join(batch.file_name())).unwrap() == text);
    }
    assert_eq!(names_in(&sshd.drop_dir()), Vec::<String>::new());
}
