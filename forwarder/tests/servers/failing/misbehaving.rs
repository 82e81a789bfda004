//! The forwarder against a server that misbehaves as scripted, and killed at each of its steps there: whatever comes
//! together, each batch ends as exactly one right file with its manifest and marker, nothing of ours stays beside them,
//! and what was there before is untouched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use logferry_embedded_servers::{FaultAction, FaultScript, OfferedExtensions, ScriptedFault, SftpOperation};
use logferry_ledger::{Batch, BatchState, FailureKind};
use tokio_util::sync::CancellationToken;

use crate::connecting::embedded::Embedded;
use crate::delivering::publishing::text;
use crate::support::{Running, Spool, names_in, until};

/// Where the process below finds what to do.
const CONFIG: &str = "MISBEHAVING_CONFIG";

const ALWAYS: usize = usize::MAX;

/// What strangers have in the drop.
const THEIRS: [(&str, &str); 2] = [("theirs.log.part", "being sent"), ("theirs.log", "sent")];

/// The file of the batch that is delivered.
const LOG: &str = "accessLog_00_198-51-100-44.log";
/// The file of a batch whose name a stranger has.
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
struct Site {
    embedded: Embedded,
    spool: Spool,
}

impl Site {
    async fn new() -> Self {
        let site = Self {
            embedded: Embedded::start().await,
            spool: Spool::new(),
        };
        for (name, content) in THEIRS {
            fs::write(site.embedded.drop_dir().join(name), content).unwrap();
        }
        let destination = format!(
            "name: edw, host: 127.0.0.1, port: {}, user: ferry, password: open sesame, directory: /, \
             known_hosts: {}, manifest: json, marker: .ok, verify: read-back, stall_after: 500ms, \
             retry: {{attempts: 3, initial: 5ms, max: 20ms}}, failed_every: 20ms",
            site.embedded.server.port(),
            site.embedded.known_hosts().display(),
        );
        let config = format!(
            "forwarder: {{data_dir: {}, interval: 1h, destinations: [{{{destination}}}]}}\n",
            site.spool.dir().display()
        );
        fs::write(site.spool.dir().join("forwarder.yaml"), config).unwrap();
        site
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

/// A forwarder in a process of its own, killed at the latest with the test.
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

/// The steps at which the forwarder is killed: the server stops at this request for this file, before it has carried
/// it out or after.
fn crash_points() -> Vec<ScriptedFault> {
    let json = LOG.replace(".log", ".json");
    let mut points = Vec::new();
    for file in [LOG, &json, &format!("{LOG}.ok")] {
        let temporary = format!("{file}.part");
        for (operation, action) in [
            (SftpOperation::Open, FaultAction::DoThenStall),
            (SftpOperation::Write, FaultAction::DoThenStall),
            (SftpOperation::Close, FaultAction::DoThenStall),
            (SftpOperation::Read, FaultAction::DoThenStall),
            (SftpOperation::Rename, FaultAction::Stall),
            (SftpOperation::Rename, FaultAction::DoThenStall),
        ] {
            // The marker is empty.
            if operation != SftpOperation::Write || file.strip_suffix(".ok").is_none() {
                points.push(fault(operation, &temporary, 1, action));
            }
        }
        // The second look, after the rename was noted.
        points.push(ScriptedFault {
            skip: 1,
            ..fault(SftpOperation::Stat, file, 1, FaultAction::Stall)
        });
    }
    points
}

/// Has the forwarder killed at each step while the server behaves so, and started again.
async fn ends_right_wherever_it_is_killed(behaviour: FaultScript) {
    for point in crash_points() {
        let context = format!("killed at {point:?}");
        let mut site = Site::new().await;
        let (batch, held) = site.seal();
        let mut script = behaviour.clone();
        script.faults.insert(0, point);
        site.embedded.server.set_fault_script(script);
        let doomed = site.start_process();
        until(&context, || {
            let is_sent = site.spool.state(&batch) == BatchState::Sent;
            let is_there = site.embedded.server.fault_count(0) > 0;
            assert!(is_there || !is_sent, "not {context}");
            is_there
        })
        .await;
        drop(doomed);
        let before = site.published();

        let forwarder = site.start();
        until(&context, || site.spool.is_in(BatchState::Sent, &batch)).await;
        until(&context, || site.is_held(&held)).await;
        forwarder.stop().await;
        site.assert_ends_right(&[(&batch, text(0, 3000))], &context);
        let after = site.published();
        assert!(
            before.iter().all(|(name, inode)| after.get(name) == Some(inode)),
            "{context}: something was published twice"
        );
        site.embedded.server.stop().await;
    }
}

/// A test of its own for each behaviour, so that they run side by side.
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
        faults: Vec::new(),
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

/// What keeps a batch from being delivered as long as it goes on.
const HOPELESS: [(SftpOperation, FaultAction); 12] = [
    (SftpOperation::Open, FaultAction::Refuse),
    (SftpOperation::Open, FaultAction::Disconnect),
    (SftpOperation::Write, FaultAction::WriteHalf),
    (SftpOperation::Write, FaultAction::WriteHalfSilently),
    (SftpOperation::Write, FaultAction::CorruptFirstByte),
    (SftpOperation::Write, FaultAction::DoThenDisconnect),
    (SftpOperation::Sync, FaultAction::DoThenFail),
    (SftpOperation::Close, FaultAction::DoThenFail),
    (SftpOperation::Close, FaultAction::DoThenDisconnect),
    (SftpOperation::Read, FaultAction::Refuse),
    (SftpOperation::Rename, FaultAction::Refuse),
    (SftpOperation::Rename, FaultAction::Disconnect),
];

/// Has a batch held, and then delivered when the server behaves again.
async fn is_held_while(operation: SftpOperation, action: FaultAction) {
    let context = format!("{operation:?} {action:?}");
    let mut site = Site::new().await;
    let (batch, taken) = site.seal();
    let other = site.spool.seal(2, &text(2, 3000));
    let server = &site.embedded.server;
    server.set_fault_script(FaultScript {
        faults: vec![fault(operation, format!("{LOG}.part"), ALWAYS, action)],
        ..FaultScript::default()
    });
    let forwarder = site.start();
    until(&context, || site.spool.is_in(BatchState::Sent, &other)).await;
    until(&context, || site.spool.is_in(BatchState::Failed, &batch)).await;
    let delivery = site.spool.delivery(&batch, "edw").unwrap();
    assert!(
        delivery.last_error.is_some() && delivery.error_kind.is_some(),
        "{context}"
    );
    assert!(!site.embedded.drop_dir().join(LOG).exists(), "{context}");
    // A batch after it is not held up either.
    let later = site.spool.seal(3, &text(3, 10));
    until(&context, || site.spool.is_in(BatchState::Sent, &later)).await;

    server.set_fault_script(FaultScript::default());
    until(&context, || site.spool.is_in(BatchState::Sent, &batch)).await;
    until(&context, || site.is_held(&taken)).await;
    forwarder.stop().await;
    let texts = [text(0, 3000), text(2, 3000), text(3, 10)];
    let delivered: Vec<_> = [&batch, &other, &later].into_iter().zip(texts).collect();
    site.assert_ends_right(&delivered, &context);
    site.embedded.server.stop().await;
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

/// Has one request of a session that died carried out when the next session is about to rename.
async fn ends_right_with_a_late(operation: SftpOperation, first: Vec<ScriptedFault>) {
    let context = format!("late {operation:?}");
    let mut site = Site::new().await;
    let (batch, taken) = site.seal();
    let part = format!("{LOG}.part");
    let late = fault(operation, &part, 1, FaultAction::DoAfterDisconnect);
    let after = fault(SftpOperation::Rename, &part, 1, FaultAction::DoAfterDelayed);
    let count = first.len();
    site.embedded.server.set_fault_script(FaultScript {
        faults: first.into_iter().chain([late, after]).collect(),
        ..FaultScript::default()
    });
    let forwarder = site.start();
    until(&context, || site.spool.is_in(BatchState::Sent, &batch)).await;
    until(&context, || site.is_held(&taken)).await;
    forwarder.stop().await;
    let server = &site.embedded.server;
    assert_eq!(
        [server.fault_count(count), server.fault_count(count + 1)],
        [1, 1],
        "{context}"
    );
    site.assert_ends_right(&[(&batch, text(0, 3000))], &context);
    site.embedded.server.stop().await;
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
