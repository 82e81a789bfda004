use logferry_durable::RealDisk;
use logferry_protocol::heartbeat::HostTime;
use logferry_testkit::SimDisk;
use proptest::prelude::*;

use super::*;
use crate::chunks::line_marks::marks_of;
use crate::streams::tracked_stream::stream_start;

fn former(log: LogName, stream: KnownStream) -> CheckpointStream {
    let mut marks = LineMarks::default();
    marks.add(Offset::ZERO, Offset::new(5), &marks_of(b"line\n"));
    CheckpointStream {
        log,
        path: "/log/access.log".into(),
        stream,
        finished: true,
        seen: Offset::new(5),
        marks,
        skipped: None,
    }
}

fn checkpoint() -> Checkpoint {
    let file = FileKey { dev: 1, inode: 2 };
    let log = "access".parse().expect("a name");
    Checkpoint {
        former_names: vec![FormerName {
            path: "/log/access.log".into(),
            name: "site".parse().expect("a name"),
        }],
        unopened: vec![UnopenedFile {
            log,
            path: "/log/access.log.5".into(),
            file,
            size: Offset::new(8),
        }],
        seen_logs: Some(vec![SeenLog {
            name: "site".parse().expect("a name"),
            path: "/log/site.log".into(),
        }]),
        ledger: Some(LedgerId::new(7)),
        ledger_restored: Some(0),
        stopped_at: Some(1_790_000_000),
        ..of_first_versions()
    }
}

fn of_first_versions() -> Checkpoint {
    let (file, head) = (FileKey { dev: 1, inode: 2 }, Head::of(b"line\n").expect("a line"));
    let stream = StreamId::derive(file, head, 0);
    let known = KnownStream {
        stream,
        file,
        head,
        committed: Offset::new(5),
        tail: Tail::of(b"line\n"),
        by_other: false,
    };
    let log: LogName = "access".parse().expect("a name");
    let stat = FileStat {
        key: FileKey { dev: 1, inode: 3 },
        size: Offset::new(100),
        modified: UNIX_EPOCH,
    };
    Checkpoint {
        streams: vec![CheckpointStream {
            log: log.clone(),
            path: "/log/access.log".into(),
            stream: known.clone(),
            finished: false,
            seen: Offset::new(9),
            marks: LineMarks::default(),
            skipped: None,
        }],
        archives: vec![ShippedArchive {
            log: log.clone(),
            path: "/log/access.log.1.gz".into(),
            stat,
            stream: Some(stream),
            skipped: None,
        }],
        unsent: vec![UnsentFile {
            log: log.clone(),
            path: "/log/access.log.2".into(),
            file,
            head,
            size: Offset::new(7),
            tail: Some(Tail::of(b"line\n")),
        }],
        gaps: vec![ReportedGap {
            stream,
            log: log.clone(),
            path: "/log/access.log.9".into(),
            from: Offset::new(1),
            until: None,
            noticed_at: HostTime::from_millis(-1),
        }],
        skipped: vec![SkippedStart {
            log: log.clone(),
            path: "/log/access.log.3".into(),
            file,
            head: Some(head),
            end: Offset::new(5),
            tail: Some(Tail::of(b"line\n")),
            confirmed: true,
            exact: false,
            known: false,
        }],
        held: vec![HeldBeside {
            log: log.clone(),
            path: "/log/access.log.4".into(),
            stat,
            head,
            end: stream_start(),
        }],
        former: vec![former(log, known)],
        ..Checkpoint::default()
    }
}

fn with_checksum(body: &str) -> Vec<u8> {
    let checksum = crc32c::crc32c(format!("{body}\n").as_bytes());
    format!("{body}\ncrc32c {checksum:08x}\n").into_bytes()
}

#[test]
fn the_keys_are_those_of_versions_in_the_field() {
    let bytes = checkpoint().to_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let archive = r#"{"log":"access","path":"/log/access.log.1.gz","facts":{"key":{"dev":1,"inode":3},"size":100,"modified":{"#;
    for part in [
        r#"{"version":1,"streams":[{"log":"access","path":"/log/access.log","stream":{"stream":""#,
        r#","finished":false,"seen":9}],"archives":["#,
        archive,
        r#"],"unsent":[{"log":"access","path":"/log/access.log.2","file":{"dev":1,"inode":2},"head":"#,
        r#","size":7,"tail":{"len":5,"#,
        r#"}}],"gaps":[{"stream":""#,
        r#"}],"skipped":[{"log":"access","path":"/log/access.log.3","file":{"dev":1,"inode":2},"head":"#,
        r#","confirmed":true}],"former_names":[{"path":"/log/access.log","name":"site"}],"held":["#,
        r#"{"log":"access","path":"/log/access.log.4","stat":{"key":{"dev":1,"inode":3},"size":100,"modified":{"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_checkpoint_of_the_first_version_is_understood() {
    let mut body = serde_json::to_value(checkpoint()).expect("JSON");
    let body = body.as_object_mut().expect("a map");
    body.retain(|key, _| key == "streams");
    body.insert("version".into(), VERSION.into());
    let stream = body["streams"][0].as_object_mut().expect("a map");
    stream.remove("seen");
    let bytes = with_checksum(&serde_json::to_string(body).expect("JSON"));
    let read = Checkpoint::from_bytes(&bytes).expect("a checkpoint");
    assert_eq!(read.streams[0].stream, checkpoint().streams[0].stream);
    assert_eq!((read.streams[0].seen, read.unsent.len()), (Offset::ZERO, 0));
}

#[test]
fn a_checkpoint_reads_back() {
    for written in [checkpoint(), Checkpoint::default()] {
        assert_eq!(Checkpoint::from_bytes(&written.to_bytes()), Ok(written));
    }
}

#[test]
fn a_checkpoint_torn_anywhere_is_refused() {
    let whole = checkpoint().to_bytes();
    for len in 0..whole.len() {
        assert!(
            Checkpoint::from_bytes(&whole[..len]).is_err(),
            "cut to {len} bytes"
        );
        let mut zeroed = whole.clone();
        zeroed[len..].fill(0);
        assert!(Checkpoint::from_bytes(&zeroed).is_err(), "zeros from {len} on");
    }
}

#[test]
fn a_checkpoint_of_another_version_is_refused_by_number() {
    let bytes = with_checksum(r#"{"version":7,"streams":{}}"#);
    assert_eq!(Checkpoint::from_bytes(&bytes), Err(CheckpointError::Version(7)));
}

#[test]
fn an_unusable_checkpoint_is_moved_aside() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = CheckpointStore::new(RealDisk, dir.path());
    assert_eq!(store.load(), None);
    std::fs::write(dir.path().join("checkpoint"), [0; 100]).expect("zeros");
    assert_eq!(store.load(), Some(Checkpoint::default()), "not the first start");
    let entries = std::fs::read_dir(dir.path()).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let names: Vec<String> = names.map(|name| name.expect("text")).collect();
    assert!(
        matches!(&names[..], [name] if name.starts_with("checkpoint.bad-")),
        "{names:?}"
    );
}

#[test]
fn a_power_loss_while_it_is_replaced_leaves_the_old_or_the_new_checkpoint() {
    let (old, new) = (Checkpoint::default(), checkpoint());
    for seed in 0..20 {
        for changes in 0..5 {
            let disk = SimDisk::new();
            let state_dir = Path::new("/state");
            disk.create_dir_all(state_dir).expect("no fault");
            let mut store = CheckpointStore::new(disk.clone(), state_dir);
            store.save(&old);
            disk.fail_after(changes);
            let is_saved = store.save(&new);
            disk.power_loss(seed);
            let loaded = store.load().expect("one of them");
            assert!(
                loaded == old || loaded == new,
                "after {changes} changes, seed {seed}"
            );
            assert!(!is_saved || loaded == new, "a saved checkpoint is kept");
            assert!(
                store.save(&new),
                "a file that the crash left does not hinder a save"
            );
            assert_eq!(store.load(), Some(new.clone()));
        }
    }
}

#[test]
fn a_full_disk_keeps_the_old_checkpoint_until_there_is_room() {
    let (disk, state_dir) = (SimDisk::new(), Path::new("/state"));
    disk.create_dir_all(state_dir).expect("no fault");
    let mut store = CheckpointStore::new(disk.clone(), state_dir);
    store.save(&Checkpoint::default());
    disk.set_free_bytes(10);
    assert!(!store.save(&checkpoint()));
    assert_eq!(store.load(), Some(Checkpoint::default()));
    disk.set_free_bytes(1 << 20);
    assert!(store.save(&checkpoint()));
    assert_eq!(store.load(), Some(checkpoint()));
}

#[test]
fn a_checkpoint_that_cannot_be_saved_stops_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = CheckpointStore::new(RealDisk, &dir.path().join("not there"));
    store.save(&checkpoint());
    std::fs::create_dir(dir.path().join("not there")).expect("a folder");
    store.save(&checkpoint());
    assert_eq!(store.load(), Some(checkpoint()));
}

proptest! {
    #[test]
    fn any_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut bytes = checkpoint().to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Checkpoint::from_bytes(&bytes).is_err());
    }
}
