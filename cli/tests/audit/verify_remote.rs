//! `logferry audit --verify` from outside, with two embedded SFTP servers as destinations.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_embedded_servers::{SftpOptions, SftpServer};
use logferry_ledger::{BatchContents, BatchGrowth, BatchId, BatchState, Commit, Ledger, NewBatch, Window};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::program::result_of;

const TEXT: &[u8] = b"one\ntwo\n";
const NAME: &str = "accessLog_26112108_20-39_web";

/// Kinds and details.
type Findings = Vec<(String, String)>;

/// A relay host with two destinations, `lab` and `edw`. They are verified in this order.
struct TwoDestinations {
    dir: TempDir,
    lab: SftpServer,
    edw: SftpServer,
    ledger: Ledger,
}

impl TwoDestinations {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (lab, edw) = (Self::serve(&dir, "lab").await, Self::serve(&dir, "edw").await);
        let mut config = format!(
            "forwarder:\n  data_dir: {}\n  destinations:\n",
            dir.path().display()
        );
        for (name, server) in [("lab", &lab), ("edw", &edw)] {
            let known_hosts = dir.path().join(format!("{name}.known_hosts"));
            fs::write(&known_hosts, server.known_hosts_line()).unwrap();
            writeln!(
                config,
                "    - {{name: {name}, host: 127.0.0.1, port: {}, user: ferry, password: p, directory: /, \
                 known_hosts: {}, manifest: json, marker: .ok, compress: gzip}}",
                server.port(),
                known_hosts.display()
            )
            .unwrap();
        }
        let path = dir.path().join("logferry.yaml");
        fs::write(&path, config).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let ledger = Ledger::open_or_create(dir.path()).unwrap();
        Self {
            dir,
            lab,
            edw,
            ledger,
        }
    }

    async fn serve(dir: &TempDir, name: &str) -> SftpServer {
        let root = dir.path().join(name);
        fs::create_dir(&root).unwrap();
        let options = SftpOptions {
            root,
            user: "ferry".to_owned(),
            password: Some("p".to_owned()),
            authorized_key: None,
        };
        SftpServer::start(options).await.unwrap()
    }

    /// Seals a batch, as the relay does.
    fn seal(&mut self) -> BatchId {
        let new = NewBatch {
            base_name: NAME.to_owned(),
            source: "web".parse().unwrap(),
            group: "web-1".parse().unwrap(),
            log: None,
            window: Window {
                start: 1_795_227_600,
                seconds: 1200,
                utc_offset: 0,
            },
        };
        let now = Timestamp::now();
        let batch = self.ledger.open_batch(&new, now).unwrap().id;
        let contents = BatchContents {
            lines: 2,
            bytes: TEXT.len() as u64,
            crc32c: crc32c::crc32c(TEXT),
        };
        let batches = vec![BatchGrowth { batch, contents }];
        let streams = Vec::new();
        self.ledger.commit(&Commit { streams, batches }).unwrap();
        self.ledger.seal(batch, now).unwrap();
        let ready = self.dir.path().join("ready/web");
        fs::create_dir_all(&ready).unwrap();
        fs::write(ready.join(format!("{NAME}.log")), TEXT).unwrap();
        batch
    }

    /// Runs a forwarder until the batches are delivered everywhere.
    async fn deliver(&self) {
        let config = logferry_config::load(&self.dir.path().join("logferry.yaml")).unwrap();
        let stop = CancellationToken::new();
        let forwarder = tokio::spawn(logferry_forwarder::run(config.forwarder.unwrap(), stop.clone()));
        let (started, is_sent) = (Instant::now(), || {
            self.ledger.batch_named(NAME).unwrap().unwrap().state == BatchState::Sent
        });
        while !is_sent() {
            assert!(started.elapsed() < Duration::from_mins(1), "not delivered");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        forwarder.await.unwrap().unwrap();
    }

    fn at_edw(&self, end: &str) -> PathBuf {
        self.dir.path().join("edw").join(format!("{NAME}{end}"))
    }

    /// The exit code, stdout and stderr. The servers go on meanwhile.
    fn audit(&self, options: &[&str]) -> (i32, String, String) {
        let config = self.dir.path().join("logferry.yaml");
        let arguments = [&["audit", "--verify"], options].concat();
        tokio::task::block_in_place(|| result_of(config, &arguments))
    }

    /// The exit code, `complete`, and kinds and details of discrepancies and of warnings.
    fn audit_json(&self) -> (i32, bool, Findings, Findings) {
        // The ledger has no stream for these lines. With a time in the filter, the audit does not compare the two.
        let (code, out, _) = self.audit(&["--json", "--since", "2026-11-01T00:00:00Z"]);
        let audit: Value = serde_json::from_str(&out).unwrap();
        let list = |key: &str| {
            let found = audit[key].as_array().unwrap().iter();
            let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
            found.map(|it| (text(it, "kind"), text(it, "detail"))).collect()
        };
        (
            code,
            audit["complete"] == true,
            list("discrepancies"),
            list("warnings"),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_destination_is_named_and_the_others_are_read() {
    let mut host = TwoDestinations::start().await;
    host.seal();
    host.deliver().await;
    assert_eq!(host.audit_json(), (0, true, vec![], vec![]));

    let TwoDestinations { lab, .. } = host;
    lab.stop().await;
    let lab = TwoDestinations::serve(&tempfile::tempdir().unwrap(), "elsewhere").await;
    let host = TwoDestinations { lab, ..host };
    fs::write(host.at_edw(".log.gz"), "altered").unwrap();
    let (code, complete, wrong, warnings) = host.audit_json();
    assert_eq!((code, complete, warnings), (3, false, vec![]));
    let kinds: Vec<_> = wrong.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["remote_unread", "remote_short"]);
    assert!(
        wrong[0]
            .1
            .starts_with("cannot read back the files delivered to lab: cannot connect to"),
        "{wrong:?}"
    );
    let (code, out, err) = host.audit(&[]);
    assert_eq!(code, 3);
    assert!(
        out.contains("NOT complete") && out.contains("files delivered to lab"),
        "{out}"
    );
    assert!(
        err.contains("cannot read back the files delivered to lab: cannot connect to"),
        "{err}"
    );
    host.lab.stop().await;
    host.edw.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_and_markers_are_compared_with_the_ledger() {
    let mut host = TwoDestinations::start().await;
    let batch = host.seal();
    host.deliver().await;
    let manifest = fs::read_to_string(host.at_edw(".json")).unwrap();
    // The same size, with another number of lines.
    fs::write(
        host.at_edw(".json"),
        manifest.replace("\"lines\": 2", "\"lines\": 3"),
    )
    .unwrap();
    fs::write(host.at_edw(".log.gz.ok"), "not empty").unwrap();
    let (code, complete, wrong, warnings) = host.audit_json();
    assert_eq!((code, complete, warnings), (1, false, vec![]));
    let named: Vec<_> = wrong
        .iter()
        .map(|(kind, detail)| (kind.as_str(), detail.split(' ').next().unwrap()))
        .collect();
    let paths = [format!("/{NAME}.json"), format!("/{NAME}.log.gz.ok")];
    let expected = [
        ("remote_differs", paths[0].as_str()),
        ("remote_longer", &paths[1]),
    ];
    assert_eq!(named, expected, "{wrong:?}");

    // The ledger does not record whether they were delivered, so this is a warning.
    fs::remove_file(host.at_edw(".json")).unwrap();
    fs::remove_file(host.at_edw(".log.gz.ok")).unwrap();
    let (code, complete, wrong, warnings) = host.audit_json();
    assert_eq!((code, complete, wrong), (0, true, vec![]));
    let kinds: Vec<_> = warnings.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["companion_missing"; 2], "{warnings:?}");

    // The ledger records the delivery of a window manifest, so this is a discrepancy.
    let edw = "edw".parse().unwrap();
    let new = logferry_ledger::NewManifest {
        window: host.ledger.batch_named(NAME).unwrap().unwrap().window,
        revision: 1,
        name: "WINDOW.json".to_owned(),
        content: "{}".to_owned(),
        batches: vec![batch],
    };
    host.ledger.add_manifest(&edw, &new, Timestamp::now()).unwrap();
    let id = host.ledger.waiting_manifests(&edw).unwrap()[0].id;
    let delivered = host
        .ledger
        .manifest_delivered(id, "/WINDOW.json", Timestamp::now());
    delivered.unwrap();
    let (code, _, wrong, _) = host.audit_json();
    assert_eq!(code, 1);
    assert_eq!(
        wrong,
        [(
            "remote_missing".to_owned(),
            "/WINDOW.json at edw is missing".to_owned()
        )]
    );
    fs::write(host.dir.path().join("edw/WINDOW.json"), "{}").unwrap();
    assert_eq!(host.audit_json().0, 0);
    host.lab.stop().await;
    host.edw.stop().await;
}
