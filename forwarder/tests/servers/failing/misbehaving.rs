//! The forwarder against a server that misbehaves as scripted, and killed at each of its steps there. In every combination
//! each batch ends as exactly one correct file with its manifest and marker, no other file of the forwarder stays, and
//! files that were there before do not change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use logferry_embedded_servers::{FaultAction, FaultScript, OfferedExtensions, ScriptedFault, SftpOperation};
use logferry_ledger::{Batch, BatchState, FailureKind, NewManifest};
use tokio_util::sync::CancellationToken;

use crate::connecting::embedded::Embedded;
use crate::delivering::publishing::text;
use crate::support::{Running, Spool, names_in, until};

/// The variable with the configuration file of the process below.
const CONFIG: &str = "MISBEHAVING_CONFIG";

const ALWAYS: usize = usize::MAX;

/// Foreign files in the folder.
const THEIRS: [(&str, &str); 2] = [("theirs.log.part", "being sent"), ("theirs.log", "sent")];

/// The file of the batch that is delivered.
const LOG: &str = "accessLog_00_198-51-100-44.log";
/// The file of a batch whose name a foreign file has.
const TAKEN: &str = "accessLog_01_198-51-100-44.log";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a process of its own, and is killed there"]
async fn forwarder_process() {
    let Some(config) = std::env::var_os(CONFIG) else {
        return;
    };
    let config = logferry_config::load(Path::new(&config)).unwrap();
    let forwarder = config.forwarder.unwrap();
    logferry_forwarder::run(forwarder, CancellationToken::new())
        .await
        .unwrap();
}

/// A spool, and a server with its drop.
struct Scenario {
    embedded: Embedded,
    spool: Spool,
}

impl Scenario {
    async fn new() -> Self {
        Self::configured("").await
    }

    /// With further settings of the destination.
    async fn configured(settings: &str) -> Self {
        let scenario = Self {
            embedded: Embedded::start().await,
            spool: Spool::new(),
        };
        for (name, content) in THEIRS {
            fs::write(scenario.embedded.drop_dir().join(name), content).unwrap();
        }
        let destination = format!(
            "name: edw, host: 127.0.0.1, port: {}, user: ferry, password: open sesame, directory: /, \
             known_hosts: {}, manifest: json, marker: .ok, verify: read-back, stall_after: 500ms, \
             retry: {{attempts: 3, initial: 5ms, max: 20ms}}, failed_every: 20ms{settings}",
            scenario.embedded.server.port(),
            scenario.embedded.known_hosts().display(),
        );
        let config = format!(
            "forwarder: {{data_dir: {}, interval: 1h, destinations: [{{{destination}}}]}}\n",
            scenario.spool.dir().display()
        );
        fs::write(scenario.spool.dir().join("forwarder.yaml"), config).unwrap();
        scenario
    }

    /// Seals a batch that will be delivered, and one whose name is taken.
    fn seal(&mut self) -> (Batch, Batch) {
        fs::write(self.embedded.drop_dir().join(TAKEN), "a stranger's").unwrap();
        let batch = self.spool.seal(0, &text(0, 3000));
        let held = self.spool.seal(1, &text(1, 3000));
        assert_eq!(
            (batch.file_name().as_str(), held.file_name().as_str()),
            (LOG, TAKEN)
        );
        (batch, held)
    }

    /// Starts a forwarder that can be killed.
    fn start_process(&self) -> Doomed {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "failing::misbehaving::forwarder_process", "--ignored"])
            .env(CONFIG, self.spool.dir().join("forwarder.yaml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Doomed(process.unwrap())
    }

    fn start(&self) -> Running {
        let config = logferry_config::load(&self.spool.dir().join("forwarder.yaml")).unwrap();
        Running::start(self.spool.dir(), config.forwarder.unwrap().destinations)
    }

    /// Whether a batch is held because its name is taken.
    fn is_held(&self, batch: &Batch) -> bool {
        let delivery = self.spool.delivery(batch, "edw");
        self.spool.is_in(BatchState::Failed, batch)
            && delivery.is_some_and(|it| it.error_kind == Some(FailureKind::NameTaken))
    }

    /// Our published files and their inodes.
    fn published(&self) -> BTreeMap<String, u64> {
        let drop = self.embedded.drop_dir();
        let inode = |name: &String| fs::metadata(drop.join(name)).unwrap().ino();
        let ours = names_in(&drop)
            .into_iter()
            .filter(|name| name != TAKEN && !name.contains("theirs") && name.strip_suffix(".part").is_none());
        ours.map(|name| (name.clone(), inode(&name))).collect()
    }

    /// Asserts that these batches, accompanied, and what strangers have there, are all that is in the drop.
    fn assert_ends_right(&self, batches: &[(&Batch, Vec<u8>)], context: &str) {
        let drop = self.embedded.drop_dir();
        let read = |name: &str| fs::read(drop.join(name)).unwrap();
        let mut expected: Vec<String> = THEIRS.map(|(name, _)| name.to_owned()).into();
        for (name, content) in THEIRS {
            assert_eq!(read(name), content.as_bytes(), "{context}");
        }
        if drop.join(TAKEN).exists() && !batches.iter().any(|(batch, _)| batch.file_name() == TAKEN) {
            assert_eq!(read(TAKEN), b"a stranger's", "{context}");
            expected.push(TAKEN.to_owned());
        }
        for (batch, text) in batches {
            let (file, manifest) = (batch.file_name(), format!("{}.json", batch.name()));
            assert!(read(&file) == *text, "{context}: {file}");
            let said: serde_json::Value = serde_json::from_slice(&read(&manifest)).unwrap();
            assert_eq!(said["file_sha256"], Spool::sha256(text), "{context}");
            assert_eq!(read(&format!("{file}.ok")), b"", "{context}");
            assert_eq!(
                self.spool.delivery(batch, "edw").unwrap().publishing,
                None,
                "{context}"
            );
            expected.extend([format!("{file}.ok"), file, manifest]);
        }
        expected.sort();
        assert_eq!(names_in(&drop), expected, "{context}");
    }
}

/// A forwarder in a process of its own, killed at the end of the test at the latest.
struct Doomed(Child);

impl Drop for Doomed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// This goes wrong, at files whose paths end so, so many times.
fn fault(
    operation: SftpOperation,
    file: impl Into<String>,
    times: usize,
    action: FaultAction,
) -> ScriptedFault {
    ScriptedFault {
        operation,
        file: file.into(),
        skip: 0,
        times,
        action,
    }
}

/// This goes wrong with everything of ours, so many times.
fn once_each(operation: SftpOperation, action: FaultAction) -> FaultScript {
    let ends = [".log", ".json", ".ok"];
    let of = |end: &str| {
        let file = match operation {
            SftpOperation::Stat => end.to_owned(),
            _ => format!("{end}.part"),
        };
        fault(operation, file, 1, action)
    };
    FaultScript {
        faults: ends.map(of).into(),
        ..FaultScript::default()
    }
}

/// The steps of a file's publication at which the forwarder is killed: the server stops at this request, before it has
/// carried it out or after.
fn crash_points_of(file: &str) -> Vec<ScriptedFault> {
    let temporary = format!("{file}.part");
    let requests = [
        (SftpOperation::Open, FaultAction::DoThenStall),
        (SftpOperation::Write, FaultAction::DoThenStall),
        (SftpOperation::Close, FaultAction::DoThenStall),
        (SftpOperation::Read, FaultAction::DoThenStall),
        (SftpOperation::Rename, FaultAction::Stall),
        (SftpOperation::Rename, FaultAction::DoThenStall),
    ];
    // A marker is empty.
    let is_made = |(operation, _): &(SftpOperation, FaultAction)| {
        *operation != SftpOperation::Write || file.strip_suffix(".ok").is_none()
    };
    let at = |(operation, action)| fault(operation, &temporary, 1, action);
    let mut points: Vec<_> = requests.into_iter().filter(is_made).map(at).collect();
    // The second look, after the rename was noted.
    points.push(ScriptedFault {
        skip: 1,
        ..fault(SftpOperation::Stat, file, 1, FaultAction::Stall)
    });
    points
}

/// Kills the forwarder at each step while the server behaves like this, and starts it again.
async fn ends_right_wherever_it_is_killed(behaviour: FaultScript) {
    let files = [LOG.to_owned(), LOG.replace(".log", ".json"), format!("{LOG}.ok")];
    for point in files.iter().flat_map(|file| crash_points_of(file)) {
        let context = format!("killed at {point:?}");
        let mut scenario = Scenario::new().await;
        let (batch, held) = scenario.seal();
        let mut script = behaviour.clone();
        script.faults.insert(0, point);
        scenario.embedded.server.set_fault_script(script);
        let doomed = scenario.start_process();
        until(&context, || {
            let is_sent = scenario.spool.state(&batch) == BatchState::Sent;
            let is_there = scenario.embedded.server.fault_count(0) > 0;
            assert!(is_there || !is_sent, "not {context}");
            is_there
        })
        .await;
        drop(doomed);
        let before = scenario.published();

        let forwarder = scenario.start();
        until(&context, || scenario.spool.is_in(BatchState::Sent, &batch)).await;
        until(&context, || scenario.is_held(&held)).await;
        forwarder.stop().await;
        scenario.assert_ends_right(&[(&batch, text(0, 3000))], &context);
        let after = scenario.published();
        assert!(
            before.iter().all(|(name, inode)| after.get(name) == Some(inode)),
            "{context}: something was published twice"
        );
        scenario.embedded.server.stop().await;
    }
}

/// The same for a window manifest.
async fn window_manifest_ends_right_wherever_it_is_killed(behaviour: FaultScript) {
    const NAME: &str = "WINDOW_26010100_00-19.json";
    const CONTENT: &[u8] = b"{\"revision\": 1}\n";
    let edw = "edw".parse().unwrap();
    for point in crash_points_of(NAME) {
        let context = format!("killed at {point:?}");
        let mut scenario = Scenario::configured(", window_manifest: true").await;
        let window = scenario.spool.seal(0, &text(0, 10)).window;
        let manifest = NewManifest {
            window,
            revision: 1,
            name: NAME.to_owned(),
            content: String::from_utf8(CONTENT.to_vec()).unwrap(),
            batches: Vec::new(),
        };
        let now = Timestamp::now();
        scenario.spool.ledger.manifests_since(&edw, now).unwrap();
        scenario.spool.ledger.add_manifest(&edw, &manifest, now).unwrap();
        let mut script = behaviour.clone();
        script.faults.insert(0, point);
        scenario.embedded.server.set_fault_script(script);
        let doomed = scenario.start_process();
        until(&context, || scenario.embedded.server.fault_count(0) > 0).await;
        drop(doomed);
        let before = scenario.published();

        let forwarder = scenario.start();
        until(&context, || {
            scenario.spool.ledger.waiting_manifests(&edw).unwrap().is_empty()
        })
        .await;
        forwarder.stop().await;
        let path = scenario.embedded.drop_dir().join(NAME);
        assert_eq!(fs::read(path).unwrap(), CONTENT, "{context}");
        let record = scenario
            .spool
            .ledger
            .last_manifest(window, &edw)
            .unwrap()
            .unwrap();
        assert_eq!(record.publishing, None, "{context}");
        let after = scenario.published();
        assert!(
            before.iter().all(|(name, inode)| after.get(name) == Some(inode)),
            "{context}: something was published twice"
        );
        let names = names_in(&scenario.embedded.drop_dir());
        let is_left = |name: &&String| name.strip_suffix(".part").is_some() && name.as_str() != THEIRS[0].0;
        assert_eq!(names.iter().find(is_left), None, "{context}");
        scenario.embedded.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn window_manifest_is_published_once_wherever_the_forwarder_is_killed() {
    window_manifest_ends_right_wherever_it_is_killed(FaultScript::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn window_manifest_is_linked_once_wherever_the_forwarder_is_killed() {
    window_manifest_ends_right_wherever_it_is_killed(FaultScript {
        extensions: OfferedExtensions::WithHardlink,
        rename_replaces: true,
        ..FaultScript::default()
    })
    .await;
}

/// One test for each behaviour, so that they run in parallel.
macro_rules! behaviours {
    ($($name:ident: $script:expr,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            ends_right_wherever_it_is_killed($script).await;
        }
    )*};
}

behaviours! {
    server_that_behaves: FaultScript::default(),
    server_without_extensions: FaultScript { extensions: OfferedExtensions::None, ..FaultScript::default() },
    server_whose_rename_replaces: FaultScript { rename_replaces: true, ..FaultScript::default() },
    server_whose_rename_replaces_and_that_can_link: FaultScript {
        extensions: OfferedExtensions::WithHardlink,
        rename_replaces: true,
        ..FaultScript::default()
    },
    server_that_denies_renames_it_has_done: FaultScript {
        faults: vec![fault(SftpOperation::Rename, ".part", ALWAYS, FaultAction::DoThenFail)],
        ..FaultScript::default()
    },
    server_that_tells_nothing_of_names: FaultScript {
        faults: vec![fault(SftpOperation::Stat, ".part", ALWAYS, FaultAction::Refuse)],
        ..FaultScript::default()
    },
    server_that_writes_half_and_says_so: once_each(SftpOperation::Write, FaultAction::WriteHalf),
    server_that_writes_half_and_does_not_say_so: once_each(SftpOperation::Write, FaultAction::WriteHalfSilently),
    server_that_writes_something_else: once_each(SftpOperation::Write, FaultAction::CorruptFirstByte),
    server_whose_close_fails: once_each(SftpOperation::Close, FaultAction::DoThenFail),
    server_whose_sync_fails_after_writes_that_did_not: once_each(SftpOperation::Sync, FaultAction::DoThenFail),
    server_that_loses_the_answer_to_an_open: once_each(SftpOperation::Open, FaultAction::DoThenDisconnect),
    server_that_loses_the_answer_to_a_write: once_each(SftpOperation::Write, FaultAction::DoThenDisconnect),
    server_that_loses_the_answer_to_a_close: once_each(SftpOperation::Close, FaultAction::DoThenDisconnect),
    server_that_loses_the_answer_to_a_rename: once_each(SftpOperation::Rename, FaultAction::DoThenDisconnect),
    server_that_hangs_up_when_asked_to_rename: once_each(SftpOperation::Rename, FaultAction::Disconnect),
    server_that_stalls_once: FaultScript {
        faults: vec![fault(SftpOperation::Write, ".log.part", 1, FaultAction::DoThenStall)],
        ..FaultScript::default()
    },
}

/// Faults that prevent a delivery while they last.
const HOPELESS: [(SftpOperation, FaultAction); 11] = [
    (SftpOperation::Open, FaultAction::Refuse),
    (SftpOperation::Open, FaultAction::Disconnect),
    (SftpOperation::Write, FaultAction::WriteHalf),
    (SftpOperation::Write, FaultAction::WriteHalfSilently),
    (SftpOperation::Write, FaultAction::CorruptFirstByte),
    (SftpOperation::Sync, FaultAction::DoThenFail),
    (SftpOperation::Close, FaultAction::DoThenFail),
    (SftpOperation::Close, FaultAction::DoThenDisconnect),
    (SftpOperation::Read, FaultAction::Refuse),
    (SftpOperation::Rename, FaultAction::Refuse),
    (SftpOperation::Rename, FaultAction::Disconnect),
];

/// A batch is held, and delivered when the server behaves again.
async fn is_held_while(operation: SftpOperation, action: FaultAction) {
    let context = format!("{operation:?} {action:?}");
    let mut scenario = Scenario::new().await;
    let (batch, taken) = scenario.seal();
    let other = scenario.spool.seal(2, &text(2, 3000));
    let server = &scenario.embedded.server;
    server.set_fault_script(FaultScript {
        faults: vec![fault(operation, format!("{LOG}.part"), ALWAYS, action)],
        ..FaultScript::default()
    });
    let forwarder = scenario.start();
    until(&context, || scenario.spool.is_in(BatchState::Sent, &other)).await;
    until(&context, || scenario.spool.is_in(BatchState::Failed, &batch)).await;
    let delivery = scenario.spool.delivery(&batch, "edw").unwrap();
    assert!(
        delivery.last_error.is_some() && delivery.error_kind.is_some(),
        "{context}"
    );
    assert!(!scenario.embedded.drop_dir().join(LOG).exists(), "{context}");
    // A batch after it is not held up either.
    let later = scenario.spool.seal(3, &text(3, 10));
    until(&context, || scenario.spool.is_in(BatchState::Sent, &later)).await;

    server.set_fault_script(FaultScript::default());
    until(&context, || scenario.spool.is_in(BatchState::Sent, &batch)).await;
    until(&context, || scenario.is_held(&taken)).await;
    forwarder.stop().await;
    let texts = [text(0, 3000), text(2, 3000), text(3, 10)];
    let delivered: Vec<_> = [&batch, &other, &later].into_iter().zip(texts).collect();
    scenario.assert_ends_right(&delivered, &context);
    scenario.embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_the_server_never_takes_is_held_and_the_others_go_on() {
    for (operation, action) in HOPELESS {
        is_held_while(operation, action).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_at_which_the_server_always_stalls_is_held_and_the_others_go_on() {
    is_held_while(SftpOperation::Write, FaultAction::Stall).await;
}

/// One request of a dead session is carried out when the next session is about to rename.
async fn ends_right_with_a_late(operation: SftpOperation, first: Vec<ScriptedFault>) {
    let context = format!("late {operation:?}");
    let mut scenario = Scenario::new().await;
    let (batch, taken) = scenario.seal();
    let part = format!("{LOG}.part");
    let late = fault(operation, &part, 1, FaultAction::DoAfterDisconnect);
    let after = fault(SftpOperation::Rename, &part, 1, FaultAction::DoAfterDelayed);
    let count = first.len();
    scenario.embedded.server.set_fault_script(FaultScript {
        faults: first.into_iter().chain([late, after]).collect(),
        ..FaultScript::default()
    });
    let forwarder = scenario.start();
    until(&context, || scenario.spool.is_in(BatchState::Sent, &batch)).await;
    until(&context, || scenario.is_held(&taken)).await;
    forwarder.stop().await;
    let server = &scenario.embedded.server;
    assert_eq!(
        [server.fault_count(count), server.fault_count(count + 1)],
        [1, 1],
        "{context}"
    );
    scenario.assert_ends_right(&[(&batch, text(0, 3000))], &context);
    scenario.embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_that_a_dead_session_left_behind_does_not_empty_what_the_next_one_sends() {
    ends_right_with_a_late(SftpOperation::Open, Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_that_a_dead_session_left_behind_does_not_take_what_the_next_one_sends() {
    let fails = fault(
        SftpOperation::Write,
        format!("{LOG}.part"),
        1,
        FaultAction::WriteHalf,
    );
    ends_right_with_a_late(SftpOperation::Remove, vec![fails]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rename_that_a_dead_session_left_behind_publishes_once() {
    ends_right_with_a_late(SftpOperation::Rename, Vec::new()).await;
}
