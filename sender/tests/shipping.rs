//! The sender on real files and sockets, against a relay in this process.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod compressed_files;
mod fake_relay;
mod file_system;
mod relay_endpoints;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use logferry_config as config;
use logferry_sender::{SenderError, run};
use logferry_telemetry::{Readiness, SenderMetrics};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::fake_relay::FakeRelay;

/// Far more than anything here takes, on any machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// A folder with logs and state, a relay, and perhaps a sender between them.
struct ShippingFixture {
    dir: TempDir,
    relay: Arc<FakeRelay>,
    config: config::SenderSettings,
    metrics: SenderMetrics,
    sender: Option<(JoinHandle<Result<(), SenderError>>, CancellationToken)>,
    relay_stop: CancellationToken,
    lines: u32,
}

fn log(dir: &Path, name: &str) -> config::LogSettings {
    let path = dir.join(format!("{name}.log")).display().to_string();
    config::LogSettings {
        rotated: config::RotatedNames::Auto,
        path,
        name: name.parse().expect("a name"),
        start: config::StartPosition::Beginning,
        exclude: vec![vec!["ping".into(), "health".into()]],
        max_line: 4096,
    }
}

fn config(dir: &Path, relay: SocketAddr) -> config::SenderSettings {
    config::SenderSettings {
        relay: vec![format!("http://{relay}").parse().expect("an address")],
        source: config::SourceSetting::Auto,
        local_address: None,
        state_dir: dir.join("state"),
        logs: vec![log(dir, "access")],
        captures: None,
        chunk: config::ChunkLimits {
            max_bytes: 8192,
            max_lines: 1000,
            max_delay: Duration::from_millis(20),
        },
        in_flight: 4,
        compression: config::ChunkCompression::None,
        token_file: None,
        tls: config::ClientTls::default(),
        retry: config::Backoff {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(100),
        },
        metrics: None,
    }
}

impl ShippingFixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let relay_stop = CancellationToken::new();
        let (relay, address) = FakeRelay::start(relay_stop.clone()).await;
        let config = config(dir.path(), address);
        Self {
            dir,
            relay,
            config,
            metrics: SenderMetrics::default(),
            sender: None,
            relay_stop,
            lines: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Appends lines to a file, and returns those that are to arrive.
    fn write(&mut self, name: &str, count: u32) -> Vec<u8> {
        let (mut text, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..count {
            self.lines += 1;
            let health = self.lines.is_multiple_of(10);
            let what = if health { "GET /health ping" } else { "GET /page" };
            let line = format!("{:08} {what} \"Mozilla/5.0 \\xff\"\n", self.lines);
            text.extend_from_slice(line.as_bytes());
            if !health {
                kept.extend_from_slice(line.as_bytes());
            }
        }
        self.append(name, &text);
        kept
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        let file = OpenOptions::new().create(true).append(true).open(self.path(name));
        file.expect("the log").write_all(bytes).expect("room for it");
    }

    fn start(&mut self) {
        let stop = CancellationToken::new();
        self.metrics = SenderMetrics::default();
        let sender = tokio::spawn(run(
            self.config.clone(),
            self.metrics.clone(),
            Readiness::default(),
            stop.clone(),
        ));
        self.sender = Some((sender, stop));
    }

    async fn stop(&mut self) {
        if let Some((sender, stop)) = self.sender.take() {
            stop.cancel();
            let stopped = tokio::time::timeout(DEADLINE, sender).await;
            stopped
                .expect("in time")
                .expect("no panic")
                .expect("a clean stop");
        }
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until as much has arrived, stops the sender, and compares.
    async fn expect(&mut self, log: &str, expected: &[u8]) {
        let relay = self.relay.clone();
        self.until("all bytes", || relay.arrived(log).len() >= expected.len())
            .await;
        self.stop().await;
        let arrived = self.relay.arrived(log);
        let lines = |bytes: &[u8]| -> Vec<String> {
            let lines = bytes.split_inclusive(|&byte| byte == b'\n');
            lines
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect()
        };
        let (arrived_lines, expected_lines) = (lines(&arrived), lines(expected));
        for (number, (arrived, expected)) in arrived_lines.iter().zip(&expected_lines).enumerate() {
            assert_eq!(arrived, expected, "line {number}");
        }
        assert_eq!(arrived_lines.len(), expected_lines.len());
    }

    async fn end(mut self) {
        self.stop().await;
        self.relay_stop.cancel();
    }
}

#[tokio::test]
async fn a_log_arrives_as_it_is_without_its_excluded_lines() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = fixture.write("access.log", 5000);
    fixture.start();
    expected.extend(fixture.write("access.log", 1000));
    fixture.expect("access", &expected).await;
    let counted = fixture.metrics.totals();
    assert_eq!((counted.sent_lines, counted.excluded_lines), (5400, 600));
    assert_eq!(
        counted.read_bytes,
        fs::metadata(fixture.path("access.log")).expect("the log").len()
    );
    fixture.end().await;
}

#[tokio::test]
async fn a_rotation_while_it_runs_loses_nothing() {
    let mut fixture = ShippingFixture::new().await;
    fixture.start();
    let mut expected = Vec::new();
    for rotation in 0..10 {
        expected.extend(fixture.write("access.log", 300));
        let rotated = fixture.path(&format!("access.log-2026112100{rotation}"));
        fs::rename(fixture.path("access.log"), &rotated).expect("a rename");
        // nginx writes on to the renamed file until it is told to reopen.
        expected.extend(fixture.write(&format!("access.log-2026112100{rotation}"), 20));
        File::create(fixture.path("access.log")).expect("a new log");
    }
    expected.extend(fixture.write("access.log", 300));
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn rotations_while_it_is_down_are_caught_up_in_order() {
    let mut fixture = ShippingFixture::new().await;
    fixture.start();
    let mut expected = fixture.write("access.log", 500);
    let relay = fixture.relay.clone();
    fixture
        .until("the first lines", || relay.arrived("access") == expected)
        .await;
    fixture.stop().await;
    for (age, name) in [(30, "access.log.2"), (20, "access.log.1")] {
        expected.extend(fixture.write("access.log", 500));
        fs::rename(fixture.path("access.log"), fixture.path(name)).expect("a rename");
        let rotated = OpenOptions::new()
            .append(true)
            .open(fixture.path(name))
            .expect("the rotated log");
        rotated
            .set_modified(SystemTime::now() - Duration::from_secs(age))
            .expect("its time");
    }
    expected.extend(fixture.write("access.log", 500));
    fixture.start();
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_state_folder_that_is_lost_or_full_of_zeros_doubles_nothing() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = fixture.write("access.log", 1000);
    for (spoil, rotated) in [("deleted", "old"), ("zeros", "20261128"), ("torn", "1")] {
        fixture.start();
        let relay = fixture.relay.clone();
        fixture
            .until("what there is", || relay.arrived("access") == expected)
            .await;
        fixture.stop().await;
        let checkpoint = fixture.config.state_dir.join("checkpoint");
        let bytes = fs::read(&checkpoint).expect("a checkpoint after a clean stop");
        match spoil {
            "deleted" => fs::remove_dir_all(&fixture.config.state_dir).expect("deleted"),
            "zeros" => fs::write(&checkpoint, vec![0; bytes.len()]).expect("zeros"),
            _ => fs::write(&checkpoint, &bytes[..bytes.len() / 2]).expect("torn"),
        }
        expected.extend(fixture.write("access.log", 100));
        fs::rename(
            fixture.path("access.log"),
            fixture.path(&format!("access.log.{rotated}")),
        )
        .expect("a rename");
        expected.extend(fixture.write("access.log", 100));
    }
    fixture.start();
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn lost_answers_double_nothing() {
    let mut fixture = ShippingFixture::new().await;
    fixture.relay.lose_every.store(3, Ordering::Relaxed);
    let expected = fixture.write("access.log", 10_000);
    fixture.start();
    fixture.expect("access", &expected).await;
    assert!(fixture.metrics.totals().retries > 0);
    fixture.end().await;
}

#[tokio::test]
async fn a_busy_or_refusing_relay_is_asked_again_until_it_takes_all() {
    let mut fixture = ShippingFixture::new().await;
    fixture.relay.busy.store(true, Ordering::Relaxed);
    let expected = fixture.write("access.log", 2000);
    fixture.start();
    let metrics = fixture.metrics.clone();
    fixture
        .until("some retries", || metrics.totals().retries > 3)
        .await;
    fixture.relay.refuses.store(true, Ordering::Relaxed);
    fixture.relay.busy.store(false, Ordering::Relaxed);
    let before = metrics.totals().retries;
    fixture
        .until("more retries", || metrics.totals().retries > before + 3)
        .await;
    assert!(fixture.relay.arrived("access").is_empty());
    fixture.relay.refuses.store(false, Ordering::Relaxed);
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn part_of_a_line_is_shipped_with_its_end() {
    let mut fixture = ShippingFixture::new().await;
    fixture.append("access.log", b"first\nhalf a ");
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("the first line", || relay.arrived("access") == b"first\n")
        .await;
    fixture.append("access.log", b"line\n");
    fixture.expect("access", b"first\nhalf a line\n").await;
    fixture.end().await;
}

#[tokio::test]
async fn an_old_rotated_log_gets_its_last_newline_and_a_long_line_goes_in_pieces() {
    let mut fixture = ShippingFixture::new().await;
    let long = "x".repeat(50_000);
    fixture.append("access.log.1", format!("before\n{long}\nlast").as_bytes());
    let rotated = OpenOptions::new()
        .append(true)
        .open(fixture.path("access.log.1"))
        .expect("the rotated log");
    rotated
        .set_modified(SystemTime::now() - Duration::from_hours(1))
        .expect("its time");
    fixture.append("access.log", b"live\n");
    fixture.start();
    let relay = fixture.relay.clone();
    let expected = format!("before\n{long}\n").len() + "last\nlive\n".len();
    fixture
        .until("all bytes", || relay.arrived("access").len() == expected)
        .await;
    fixture.stop().await;
    let arrived = String::from_utf8(fixture.relay.arrived("access")).expect("text");
    assert!(arrived.starts_with(&format!("before\n{long}\n")));
    assert!(
        arrived.contains("\nlast\n") && arrived.contains("\nlive\n"),
        "in either order"
    );
    assert_eq!(fixture.metrics.totals().long_lines, 1);
    fixture.end().await;
}

#[tokio::test]
async fn several_logs_are_shipped_each_for_itself() {
    let mut fixture = ShippingFixture::new().await;
    let dir = fixture.dir.path().to_owned();
    fixture.config.logs = ["access", "error", "later"].map(|name| log(&dir, name)).to_vec();
    let access = fixture.write("access.log", 3000);
    let error = fixture.write("error.log", 100);
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("the second log", || relay.arrived("error") == error)
        .await;
    let later = fixture.write("later.log", 100);
    fixture
        .until("the log that came later", || relay.arrived("later") == later)
        .await;
    fixture.expect("access", &access).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_log_that_is_truncated_and_begun_anew_is_read_from_its_start() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = fixture.write("access.log", 500);
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("the first life", || relay.arrived("access") == expected)
        .await;
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(fixture.path("access.log"))
        .expect("truncated");
    expected.extend(fixture.write("access.log", 800));
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_stop_is_quick_when_the_relay_is_dead() {
    let mut fixture = ShippingFixture::new().await;
    fixture.config.relay[0].port = 9;
    fixture.write("access.log", 100);
    fixture.start();
    let metrics = fixture.metrics.clone();
    fixture.until("a failure", || metrics.totals().retries > 0).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_second_sender_on_the_state_folder_is_refused() {
    let mut fixture = ShippingFixture::new().await;
    fixture.start();
    let lock = fixture.config.state_dir.join("lock");
    fixture
        .until("the lock", || {
            fs::read_to_string(&lock).is_ok_and(|pid| !pid.is_empty())
        })
        .await;
    let second = run(
        fixture.config.clone(),
        SenderMetrics::default(),
        Readiness::default(),
        CancellationToken::new(),
    )
    .await;
    assert!(matches!(second, Err(SenderError::Locked(_))), "{second:?}");
    fixture.end().await;
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_written_stops_nothing() {
    let mut fixture = ShippingFixture::new().await;
    fixture.append("not-a-folder", b"");
    fixture.config.state_dir = fixture.path("not-a-folder");
    let expected = fixture.write("access.log", 100);
    fixture.start();
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_heartbeat_reports_the_version_and_the_source() {
    let mut fixture = ShippingFixture::new().await;
    fixture.config.source = config::SourceSetting::Named("web-7".parse().expect("a source"));
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("a heartbeat", || !relay.heartbeats().is_empty())
        .await;
    assert_eq!(fixture.relay.sources(), [Some("web-7".to_owned())]);
    assert_eq!(fixture.relay.heartbeats()[0].version, env!("CARGO_PKG_VERSION"));
    fixture.end().await;
}
