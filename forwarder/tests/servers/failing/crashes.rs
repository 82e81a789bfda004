//! A forwarder process that is killed with several batches in flight, and started again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use logferry_config::{FileCompression, ForwarderSettings, Login, VerifyMode};
use logferry_ledger::{BatchState, PublishedFile, PublishingNote};
use tokio_util::sync::CancellationToken;

use crate::delivering::publishing::{accompany, assert_published, text};
use crate::support::{
    Direction, Running, Spool, Sshd, cutting_proxy, destination, destination_on_port, names_in, until,
};

/// The variables with the settings of the process below.
const DATA_DIR: &str = "FORWARDER_DATA_DIR";
const PORT: &str = "FORWARDER_PORT";
/// Set if its batches are compressed and have manifests and markers.
const ACCOMPANIED: &str = "FORWARDER_ACCOMPANIED";

/// Slow enough to be killed during any step.
const BANDWIDTH: u64 = 6 << 20;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a process of its own, and is killed there"]
async fn forwarder_process() {
    let (Some(data_dir), Ok(port)) = (std::env::var_os(DATA_DIR), std::env::var(PORT)) else {
        return;
    };
    let sshd = Path::new(&data_dir).join("sshd");
    let read = |name: &str| fs::read_to_string(sshd.join(name)).unwrap();
    let login = Login::Key {
        file: read("key").into(),
        passphrase: None,
    };
    let mut edw = destination_on_port("edw", port.parse().unwrap(), login, read("known_hosts").into());
    edw.user = read("user");
    edw.directory = read("drop");
    edw.bandwidth = Some(BANDWIDTH);
    if std::env::var_os(ACCOMPANIED).is_some() {
        accompany(&mut edw, VerifyMode::Hash, FileCompression::Gzip);
    }
    let config = ForwarderSettings {
        data_dir: data_dir.into(),
        interval: Duration::from_hours(1),
        destinations: vec![edw],
        console_dir: None,
    };
    logferry_forwarder::run(config, CancellationToken::new())
        .await
        .unwrap();
}

/// Starts the process above.
fn start(spool: &Spool, sshd: &Sshd) -> Command {
    let told = spool.dir().join("sshd");
    fs::create_dir_all(&told).unwrap();
    for (name, value) in [
        ("key", sshd.client_key().to_str().unwrap()),
        ("known_hosts", sshd.known_hosts().to_str().unwrap()),
        ("user", &sshd.user),
        ("drop", sshd.drop_dir().to_str().unwrap()),
    ] {
        fs::write(told.join(name), value).unwrap();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "failing::crashes::forwarder_process", "--ignored"])
        .env(DATA_DIR, spool.dir())
        .env(PORT, sshd.port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The published files and their inodes.
fn published(drop: &Path) -> BTreeMap<String, u64> {
    let inode = |name: &String| fs::metadata(drop.join(name)).unwrap().ino();
    let names = names_in(drop)
        .into_iter()
        .filter(|name| name.strip_suffix(".part").is_none());
    names.map(|name| (name.clone(), inode(&name))).collect()
}

#[test]
fn forwarder_killed_with_many_batches_in_flight_delivers_each_once() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let text = |window: u32| -> Vec<u8> {
        (0..60_000u32)
            .flat_map(|word| (word ^ window).to_le_bytes())
            .collect()
    };
    let batches: Vec<_> = (0..30).map(|window| spool.seal(window, &text(window))).collect();
    let drop = sshd.drop_dir();
    let mut seen = BTreeMap::new();
    // Each life ends a little later: when so much of the temporary and published files is there.
    for life in 0u32.. {
        let mut forwarder = start(&spool, &sshd).spawn().unwrap();
        let started = Instant::now();
        let lives = Duration::from_millis(u64::from(100 + 37 * life));
        while started.elapsed() < lives && forwarder.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        forwarder.kill().unwrap();
        forwarder.wait().unwrap();
        let now = published(&drop);
        for (name, inode) in &seen {
            assert_eq!(now.get(name), Some(inode), "{name} was published twice");
        }
        seen = now;
        if batches.iter().all(|batch| spool.state(batch) == BatchState::Sent) {
            assert!(life > 0, "nothing was in flight at a kill");
            break;
        }
    }
    // The last kill may have come before the last files were moved.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
        for batch in &batches {
            until("archived", || spool.is_in(BatchState::Sent, batch)).await;
        }
        forwarder.stop().await;
    });
    let names: Vec<_> = batches.iter().map(logferry_ledger::Batch::file_name).collect();
    assert_eq!(names_in(&drop), names, "no temporary file stays");
    for (window, name) in (0..).zip(names) {
        assert!(fs::read(drop.join(name)).unwrap() == text(window));
    }
}

/// The states of the folder at which the forwarder is killed: endings of names.
const MOMENTS: [(&str, &str); 8] = [
    ("something is being uploaded", ".gz.part"),
    ("a batch is published", ".gz"),
    ("a manifest is being uploaded", ".json.part"),
    ("a manifest is published", ".json"),
    ("a marker is being uploaded", ".ok.part"),
    ("a marker is published", ".ok"),
    (
        "a batch is published, and there is no manifest",
        ".gz without .json",
    ),
    (
        "a manifest is published, and there is no marker",
        ".json without .ok",
    ),
];

/// Whether the folder is in the state `moment`.
fn is_at(moment: &str, names: &[String]) -> bool {
    let count = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    match moment.split_once(" without ") {
        Some((there, missing)) => count(there) > count(missing),
        None => count(moment) > 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarder_killed_at_each_moment_of_publishing_ends_with_one_of_each_file() {
    let sshd = Sshd::start();
    for (name, moment) in MOMENTS {
        let mut spool = Spool::new();
        let texts: Vec<_> = (0..6).map(|window| text(window, 4000)).collect();
        let batches: Vec<_> = (0..).zip(&texts).map(|(n, text)| spool.seal(n, text)).collect();
        let mut forwarder = start(&spool, &sshd).env(ACCOMPANIED, "").spawn().unwrap();
        let started = Instant::now();
        let is_done = || batches.iter().all(|batch| spool.state(batch) == BatchState::Sent);
        let came = || is_at(moment, &names_in(&sshd.drop_dir())) || is_done();
        while !came() && started.elapsed() < Duration::from_mins(1) {
            std::thread::sleep(Duration::from_micros(100));
        }
        forwarder.kill().unwrap();
        forwarder.wait().unwrap();
        let before = published(&sshd.drop_dir());

        let mut edw = destination("edw", &sshd);
        accompany(&mut edw, VerifyMode::Hash, FileCompression::Gzip);
        let forwarder = Running::start(spool.dir(), vec![edw]);
        for batch in &batches {
            until(name, || spool.is_in(BatchState::Sent, batch)).await;
        }
        forwarder.stop().await;
        assert_published(&spool, &sshd.drop_dir(), batches.iter().zip(texts));
        let after = published(&sshd.drop_dir());
        assert!(
            before.iter().all(|(name, inode)| after.get(name) == Some(inode)),
            "{name}: something was published twice"
        );
        for file in names_in(&sshd.drop_dir()) {
            fs::remove_file(sshd.drop_dir().join(file)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_that_was_cut_goes_on_from_what_is_there() {
    const CUT: u64 = 27_000_000;
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let text: Vec<u8> = (0..7_500_000u32).flat_map(u32::to_le_bytes).collect();
    let batch = spool.seal(0, &text);
    // The second connection is cut, too, if it sends as much again.
    let cuts = vec![(Direction::ToServer, CUT), (Direction::ToServer, CUT / 3)];
    let proxy = cutting_proxy(sshd.port, cuts);
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", proxy.port));
    let mut edw = destination("edw", &sshd);
    edw.port = proxy.port;
    edw.retry.attempts = 2;
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
    assert_eq!(spool.delivery(&batch, "edw").unwrap().attempts, 1);
    assert_eq!(names_in(&sshd.drop_dir()), [batch.file_name()]);
    assert!(fs::read(sshd.drop_dir().join(batch.file_name())).unwrap() == text);
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_was_noted_before_a_crash_and_is_gone_at_the_destination_is_presumed_delivered() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let [gone, other] = [0, 1].map(|window| spool.seal(window, b"some\n"));
    let edw = destination("edw", &sshd);
    let published = sshd.drop_dir().join(gone.file_name());
    let place = format!("{}@127.0.0.1:{} {}.part", edw.user, edw.port, published.display());
    let note = PublishingNote {
        file: Some(PublishedFile::Batch),
        place,
        batch: None,
    };
    let name = "edw".parse().unwrap();
    spool
        .ledger
        .note_publishing(&name, &[(gone.id, Some(note))])
        .unwrap();
    let forwarder = Running::start(spool.dir(), vec![edw]);
    for batch in [&gone, &other] {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    assert_eq!(names_in(&sshd.drop_dir()), [other.file_name()]);
    let is_presumed = |batch| spool.delivery(batch, "edw").unwrap().is_presumed;
    assert_eq!([&gone, &other].map(is_presumed), [true, false]);
}
