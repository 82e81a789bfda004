//! The sender on real files and sockets, against a relay in this process.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod archives;
mod field;
mod relay;
mod wire;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use logferry_config as config;
use logferry_sender::{SenderError, run};
use logferry_telemetry::{Ready, SenderMetrics};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::relay::Relay;

/// Far more than anything here takes, on any machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// A folder with logs and state, a relay, and perhaps a sender between them.
struct Site {
    dir: TempDir,
    relay: Arc<Relay>,
    config: config::Sender,
    metrics: SenderMetrics,
    sender: Option<(JoinHandle<Result<(), SenderError>>, CancellationToken)>,
    relay_stop: CancellationToken,
    lines: u32,
}

fn log(dir: &Path, name: &str) -> config::Log {
    let path = dir.join(format!("{name}.log")).display().to_string();
    config::Log {
        rotated: vec![format!("{path}.*"), format!("{path}-*")],
        path,
        name: name.parse().expect("a name"),
        start: config::Start::Beginning,
        exclude: vec![vec!["ping".into(), "health".into()]],
        max_line: 4096,
    }
}

fn config(dir: &Path, relay: SocketAddr) -> config::Sender {
    config::Sender {
        relay: vec![format!("http://{relay}").parse().expect("an address")],
        source: config::SourceSetting::Auto,
        local_address: None,
        state_dir: dir.join("state"),
        logs: vec![log(dir, "access")],
        chunk: config::ChunkLimits {
            max_bytes: 8192,
            max_lines: 1000,
            max_delay: Duration::from_millis(20),
        },
        in_flight: 4,
        compression: config::Compression::None,
        token_file: None,
        tls: config::ClientTls::default(),
        retry: config::Backoff {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(100),
        },
        metrics: None,
    }
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let relay_stop = CancellationToken::new();
        let (relay, address) = Relay::start(relay_stop.clone()).await;
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
            Ready::default(),
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
    let mut site = Site::new().await;
    let mut expected = site.write("access.log", 5000);
    site.start();
    expected.extend(site.write("access.log", 1000));
    site.expect("access", &expected).await;
    let counted = site.metrics.totals();
    assert_eq!((counted.sent_lines, counted.excluded_lines), (5400, 600));
    assert_eq!(
        counted.read_bytes,
        fs::metadata(site.path("access.log")).expect("the log").len()
    );
    site.end().await;
}

#[tokio::test]
async fn a_rotation_while_it_runs_loses_nothing() {
    let mut site = Site::new().await;
    site.start();
    let mut expected = Vec::new();
    for rotation in 0..10 {
        expected.extend(site.write("access.log", 300));
        let rotated = site.path(&format!("access.log-2026112100{rotation}"));
        fs::rename(site.path("access.log"), &rotated).expect("a rename");
        // nginx writes on to the renamed file until it is told to reopen.
        expected.extend(site.write(&format!("access.log-2026112100{rotation}"), 20));
        File::create(site.path("access.log")).expect("a new log");
    }
    expected.extend(site.write("access.log", 300));
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn rotations_while_it_is_down_are_caught_up_in_order() {
    let mut site = Site::new().await;
    site.start();
    let mut expected = site.write("access.log", 500);
    let relay = site.relay.clone();
    site.until("the first lines", || relay.arrived("access") == expected)
        .await;
    site.stop().await;
    for (age, name) in [(30, "access.log.2"), (20, "access.log.1")] {
        expected.extend(site.write("access.log", 500));
        fs::rename(site.path("access.log"), site.path(name)).expect("a rename");
        let rotated = OpenOptions::new()
            .append(true)
            .open(site.path(name))
            .expect("the rotated log");
        rotated
            .set_modified(SystemTime::now() - Duration::from_secs(age))
            .expect("its time");
    }
    expected.extend(site.write("access.log", 500));
    site.start();
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn a_state_folder_that_is_lost_or_full_of_zeros_doubles_nothing() {
    let mut site = Site::new().await;
    let mut expected = site.write("access.log", 1000);
    for spoil in ["deleted", "zeros", "torn"] {
        site.start();
        let relay = site.relay.clone();
        site.until("what there is", || relay.arrived("access") == expected)
            .await;
        site.stop().await;
        let checkpoint = site.config.state_dir.join("checkpoint");
        let bytes = fs::read(&checkpoint).expect("a checkpoint after a clean stop");
        match spoil {
            "deleted" => fs::remove_dir_all(&site.config.state_dir).expect("deleted"),
            "zeros" => fs::write(&checkpoint, vec![0; bytes.len()]).expect("zeros"),
            _ => fs::write(&checkpoint, &bytes[..bytes.len() / 2]).expect("torn"),
        }
        expected.extend(site.write("access.log", 100));
        fs::rename(site.path("access.log"), site.path(&format!("access.log.{spoil}"))).expect("a rename");
        expected.extend(site.write("access.log", 100));
    }
    site.start();
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn lost_answers_double_nothing() {
    let mut site = Site::new().await;
    site.relay.lose_every.store(3, Ordering::Relaxed);
    let expected = site.write("access.log", 10_000);
    site.start();
    site.expect("access", &expected).await;
    assert!(site.metrics.totals().retries > 0);
    site.end().await;
}

#[tokio::test]
async fn a_busy_or_refusing_relay_is_asked_again_until_it_takes_all() {
    let mut site = Site::new().await;
    site.relay.busy.store(true, Ordering::Relaxed);
    let expected = site.write("access.log", 2000);
    site.start();
    let metrics = site.metrics.clone();
    site.until("some retries", || metrics.totals().retries > 3).await;
    site.relay.refuses.store(true, Ordering::Relaxed);
    site.relay.busy.store(false, Ordering::Relaxed);
    let before = metrics.totals().retries;
    site.until("more retries", || metrics.totals().retries > before + 3)
        .await;
    assert!(site.relay.arrived("access").is_empty());
    site.relay.refuses.store(false, Ordering::Relaxed);
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn half_a_line_at_rest_is_shipped_whole() {
    let mut site = Site::new().await;
    site.append("access.log", b"first\nhalf a ");
    site.start();
    let relay = site.relay.clone();
    site.until("the first line", || relay.arrived("access") == b"first\n")
        .await;
    site.append("access.log", b"line\n");
    site.expect("access", b"first\nhalf a line\n").await;
    site.end().await;
}

#[tokio::test]
async fn an_old_rotated_log_gets_its_last_newline_and_a_long_line_goes_in_pieces() {
    let mut site = Site::new().await;
    let long = "x".repeat(50_000);
    site.append("access.log.1", format!("before\n{long}\nlast").as_bytes());
    let rotated = OpenOptions::new()
        .append(true)
        .open(site.path("access.log.1"))
        .expect("the rotated log");
    rotated
        .set_modified(SystemTime::now() - Duration::from_hours(1))
        .expect("its time");
    site.append("access.log", b"live\n");
    site.start();
    let relay = site.relay.clone();
    let expected = format!("before\n{long}\n").len() + "last\nlive\n".len();
    site.until("all bytes", || relay.arrived("access").len() == expected)
        .await;
    site.stop().await;
    let arrived = String::from_utf8(site.relay.arrived("access")).expect("text");
    assert!(arrived.starts_with(&format!("before\n{long}\n")));
    assert!(
        arrived.contains("\nlast\n") && arrived.contains("\nlive\n"),
        "in either order"
    );
    assert_eq!(site.metrics.totals().long_lines, 1);
    site.end().await;
}

#[tokio::test]
async fn several_logs_are_shipped_each_for_itself() {
    let mut site = Site::new().await;
    let dir = site.dir.path().to_owned();
    site.config.logs = ["access", "error", "later"].map(|name| log(&dir, name)).to_vec();
    let access = site.write("access.log", 3000);
    let error = site.write("error.log", 100);
    site.start();
    let relay = site.relay.clone();
    site.until("the second log", || relay.arrived("error") == error)
        .await;
    let later = site.write("later.log", 100);
    site.until("the log that came later", || relay.arrived("later") == later)
        .await;
    site.expect("access", &access).await;
    site.end().await;
}

#[tokio::test]
async fn a_log_that_is_truncated_and_begun_anew_is_read_from_its_start() {
    let mut site = Site::new().await;
    let mut expected = site.write("access.log", 500);
    site.start();
    let relay = site.relay.clone();
    site.until("the first life", || relay.arrived("access") == expected)
        .await;
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(site.path("access.log"))
        .expect("truncated");
    expected.extend(site.write("access.log", 800));
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn a_stop_is_quick_when_the_relay_is_dead() {
    let mut site = Site::new().await;
    site.config.relay[0].port = 9;
    site.write("access.log", 100);
    site.start();
    let metrics = site.metrics.clone();
    site.until("a failure", || metrics.totals().retries > 0).await;
    site.end().await;
}

#[tokio::test]
async fn a_second_sender_on_the_state_folder_is_refused() {
    let mut site = Site::new().await;
    site.start();
    let lock = site.config.state_dir.join("lock");
    site.until("the lock", || {
        fs::read_to_string(&lock).is_ok_and(|pid| !pid.is_empty())
    })
    .await;
    let second = run(
        site.config.clone(),
        SenderMetrics::default(),
        Ready::default(),
        CancellationToken::new(),
    )
    .await;
    assert!(matches!(second, Err(SenderError::Locked(_))), "{second:?}");
    site.end().await;
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_written_stops_nothing() {
    let mut site = Site::new().await;
    site.append("not-a-folder", b"");
    site.config.state_dir = site.path("not-a-folder");
    let expected = site.write("access.log", 100);
    site.start();
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn a_heartbeat_tells_how_far_it_is_and_whose() {
    let mut site = Site::new().await;
    site.config.source = config::SourceSetting::Named("web-7".parse().expect("a source"));
    site.start();
    let relay = site.relay.clone();
    site.until("a heartbeat", || !relay.heartbeats().is_empty()).await;
    assert_eq!(site.relay.sources(), [Some("web-7".to_owned())]);
    assert_eq!(site.relay.heartbeats()[0].version, env!("CARGO_PKG_VERSION"));
    site.end().await;
}
