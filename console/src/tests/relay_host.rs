//! A data folder with a relay's ledger and files, and a console beside it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use logferry_config::{ConsoleSettings, parse};
use logferry_durable::RealDisk;
use logferry_ledger::{Batch, Ledger, NewBatch, Window};
use logferry_numbers::{CountedLine, IndexChange, IndexDb, IndexGap, SeriesKey};
use logferry_store::StoreWriter;
use logferry_telemetry::Readiness;
use logferry_testkit::batches::commit;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::http::{Answer, Ask};
use crate::access::scope::AccessScope;
use crate::accounts::Accounts;
use crate::database::ConsoleDb;
use crate::server::{ConsoleCertificate, serve};

pub(super) const SOURCE: &str = "198.51.100.1";

/// A relay host.
pub(super) struct RelayFixture {
    pub(super) dir: TempDir,
    pub(super) ledger: Ledger,
    written: Vec<u8>,
    pub(super) batch: Batch,
}

/// A console that serves.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) settings: ConsoleSettings,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl RelayFixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data_dir = dir.path().join("data");
        fs::create_dir_all(&data_dir).expect("made");
        let mut ledger = Ledger::open_or_create(&data_dir).expect("a ledger");
        let now = Timestamp::now();
        let new = NewBatch {
            source: SOURCE.parse().expect("valid"),
            group: "web-1".parse().expect("valid"),
            log: None,
            window: Window {
                start: now.as_second() - now.as_second().rem_euclid(1200),
                seconds: 1200,
                utc_offset: 0,
            },
            base_name: "accessLog_26112108_00-19_198-51-100-1".to_owned(),
        };
        let batch = ledger.open_batch(&new, now).expect("opened");
        Self {
            dir,
            ledger,
            written: Vec::new(),
            batch,
        }
    }

    pub(super) fn file(&self, state: &str) -> PathBuf {
        let folder = self.dir.path().join("data").join(state).join(SOURCE);
        fs::create_dir_all(&folder).expect("made");
        folder.join(self.batch.file_name())
    }

    /// Makes bytes durable as the relay does; returns where they begin.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let at = self.written.len();
        self.written.extend_from_slice(bytes);
        fs::write(self.file("open"), &self.written).expect("written");
        commit(&mut self.ledger, &self.batch, &self.written);
        at
    }

    /// Notes that the source has made contact, as the relay does.
    pub(super) fn make_contact(&mut self) {
        let noted = self
            .ledger
            .note_contact(&self.batch.source, &self.batch.group, Timestamp::now());
        noted.expect("noted");
    }

    /// The id of the line that begins there.
    pub(super) fn id(&self, offset: usize) -> String {
        format!("{}@{offset}", self.batch.name())
    }

    /// Counts lines as the indexer does; it has read none of their text.
    pub(super) fn count(&self, levels: &[Option<logferry_fields::Level>]) {
        let minute = Timestamp::now().as_second() - 60;
        let lines = levels
            .iter()
            .map(|level| (minute, SOURCE.to_owned(), *level, None));
        self.count_lines(lines, Vec::new());
    }

    /// Notes so many bytes of another batch that were gone before the indexer read them.
    pub(super) fn count_with_gap(&self, bytes: u64) {
        let window = self.batch.window;
        let gap = IndexGap {
            batch: "gone".to_owned(),
            from: 0,
            bytes,
            source: SOURCE.to_owned(),
            group: "web-1".to_owned(),
            window_start: window.start,
            window_end: window.end(),
            reason: "it was deleted".to_owned(),
            noticed_at: window.start,
        };
        self.count_lines(std::iter::empty(), vec![gap]);
    }

    /// Counts lines of these sources in each ten minutes of the last 24 hours.
    pub(super) fn count_day(&self, sources: impl Iterator<Item = String>) {
        let now = Timestamp::now().as_second();
        let lines = sources.flat_map(move |source| {
            (0..144).map(move |step| (now - 60 - step * 600, source.clone(), None, Some(200)))
        });
        self.count_lines(lines, Vec::new());
    }

    fn count_lines(
        &self,
        lines: impl Iterator<Item = (i64, String, Option<logferry_fields::Level>, Option<u16>)>,
        gaps: Vec<IndexGap>,
    ) {
        let index = self.dir.path().join("index");
        fs::create_dir_all(&index).expect("made");
        let mut db = IndexDb::open_or_create(&index).expect("an index");
        // A store without lines: all of them are behind it, in the spool.
        let now_ms = Timestamp::now().as_millisecond();
        let opened = StoreWriter::open(RealDisk, &index, None, now_ms);
        let mut writer = opened.expect("a store").writer;
        let position = writer.sync(now_ms).expect("synced");
        let mut change = IndexChange {
            store_position: position.to_string(),
            ledger: self.ledger.id().expect("read").to_string(),
            gaps,
            ..IndexChange::default()
        };
        let now = Timestamp::now().as_second();
        for (minute, source, level, status) in lines {
            let series = change.tally.series(SeriesKey {
                source,
                group: "web-1".to_owned(),
                log: None,
            });
            change.tally.minute(minute, series).count(&CountedLine {
                bytes: 10,
                status,
                level,
                is_parsed: true,
                request_micros: None,
            });
        }
        let kept = logferry_numbers::NumbersKept {
            minutes: std::time::Duration::from_hours(48),
            hours: std::time::Duration::from_hours(480),
            gaps: std::time::Duration::from_hours(480),
        };
        db.record(&mut change, kept, now).expect("recorded");
    }

    fn settings(&self, more: &str) -> ConsoleSettings {
        let folder = |name: &str| self.dir.path().join(name).display().to_string();
        let text = format!(
            "console:\n  listen: 127.0.0.1:0\n  data_dir: {}\n  store_dir: {}\n  state_dir: {}\n{more}",
            folder("data"),
            folder("index"),
            folder("console")
        );
        let config = parse(&text, self.dir.path(), &|_| None).expect("valid");
        config.console.expect("a section")
    }

    /// A console that needs no login.
    pub(super) async fn open_console(&self) -> Running {
        self.console("  open: true\n").await
    }

    pub(super) async fn console(&self, more: &str) -> Running {
        let settings = self.settings(more);
        fs::create_dir_all(&settings.state_dir).expect("made");
        let db = ConsoleDb::open_or_create(&settings.state_dir).expect("opened");
        let certificate = settings.tls.as_ref().map(ConsoleCertificate::load);
        let certificate = certificate.transpose().expect("a certificate");
        let listener = TcpListener::bind(settings.listen).await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let (token, served) = (stop.clone(), settings.clone());
        let task = tokio::spawn(async move {
            let ready = Readiness::default();
            serve(listener, served, certificate, db, &ready, &token)
                .await
                .expect("served");
        });
        Running {
            address,
            settings,
            stop,
            task,
        }
    }
}

impl Running {
    pub(super) async fn send(&self, ask: Ask) -> Answer {
        ask.send(self.address).await
    }

    pub(super) fn accounts(&self) -> Accounts {
        Accounts::open(&self.settings.state_dir).expect("opened")
    }

    /// A token with this scope.
    pub(super) fn token(&self, scope: AccessScope) -> String {
        let token = self.accounts().add_token(scope.as_str(), scope, None);
        format!("Bearer {}", token.expect("added"))
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("ended");
    }
}
