//! `logferry fsck` on a spool with moved files, and beside a running relay.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::servers::relay::RelayProcess;

/// The one file in a folder of the source.
fn only_file(relay: &RelayProcess, state: &str) -> PathBuf {
    let folder = relay.test_folder.path("relay").join(state).join("127.0.0.1");
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

fn exit_code(relay: &RelayProcess, arguments: &[&str]) -> (Option<i32>, String) {
    let output = relay.command(arguments).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}

#[test]
fn misplaced_file_is_found_and_moved_back() {
    let mut relay = RelayProcess::start("fsck", "sources: [\"127.0.0.1\"]");
    relay.post("[21/Nov/2026:08:20:03 +0600] a\n");
    let home = only_file(&relay, "open");
    let away = relay
        .test_folder
        .create_dir("relay/failed/127.0.0.1")
        .join(home.file_name().unwrap());
    let unknown = away.with_file_name("\u{1b}[31m.log");
    let (code, printed) = exit_code(&relay, &["fsck"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("ledger and spool agree"), "{printed}");

    let (code, printed) = exit_code(&relay, &["fsck", "--repair"]);
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("relay.lock is held by process"), "{printed}");
    relay.stop();
    fs::rename(&home, &away).unwrap();
    fs::write(&unknown, "x\n").unwrap();
    let (code, report) = relay.json(&["fsck"]);
    assert_eq!((code, &report["fine"]), (1, &false.into()), "{report}");
    assert_eq!(report["findings"][0]["kind"], "place", "{report}");
    assert_eq!(report["findings"][0]["path"], away.to_str().unwrap());
    assert!(away.exists());

    let (code, printed) = exit_code(&relay, &["fsck", "--repair"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("moved") && printed.contains("\\u{1b}[31m.log"),
        "{printed}"
    );
    assert_eq!(fs::read(&home).unwrap(), b"[21/Nov/2026:08:20:03 +0600] a\n");
    fs::remove_file(unknown).unwrap();
    assert_eq!(exit_code(&relay, &["fsck"]).0, Some(0));
    let (code, printed) = exit_code(&relay, &["fsck", "--rebuild"]);
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("is not damaged"), "{printed}");
    fs::remove_file(home).unwrap();
    let (code, report) = relay.json(&["fsck", "--repair"]);
    assert_eq!(
        (code, &report["findings"][0]["kind"]),
        (1, &"missing".into()),
        "{report}"
    );
}

#[test]
fn fsck_finds_nothing_beside_a_running_relay() {
    const LOOKS: usize = 10;
    let relay = RelayProcess::start("fsck-live", "sources: [\"127.0.0.1\"]");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each post has a later hour, so every batch is sealed soon after the next one opens.
            for number in 0_u32.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (day, hour) = (1 + number / 24 % 28, number % 24);
                relay.post(&format!("[{day:02}/Nov/2025:{hour:02}:20:03 +0600] {number}\n"));
            }
        });
        let looks: Vec<_> = (0..LOOKS).map(|_| relay.json(&["fsck"])).collect();
        is_over.store(true, Ordering::Relaxed);
        for (code, report) in looks {
            assert_eq!(code, 0, "{report}");
        }
    });
}
