//! A relay with a lost or damaged ledger refuses to start and prints the next step for the operator.

use std::fs;
use std::path::Path;

use crate::support::servers::relay::RelayProcess;

#[test]
fn relay_creates_no_ledger_beside_the_spool_of_a_lost_or_damaged_one() {
    let mut relay = RelayProcess::start("lost-ledger", "sources: [\"127.0.0.1\"]");
    relay.post("[21/Nov/2026:08:20:03 +0600] a line\n");
    relay.stop();
    let (data_dir, stored) = (relay.test_folder.path("relay"), relay.stored());
    let ledger = data_dir.join("ledger.db");
    let whole = fs::read(&ledger).unwrap();
    let damaged = [&[0; 100], &whole[100..]].concat();

    fs::remove_file(&ledger).unwrap();
    assert_refused(&relay, "is missing or empty, but there was one");
    assert!(!ledger.exists());
    for (bytes, text) in [
        (&[][..], "is missing or empty, but there was one"),
        (&damaged, "is damaged"),
        (&whole[..whole.len() / 2], "is damaged"),
    ] {
        fs::write(&ledger, bytes).unwrap();
        assert_refused(&relay, text);
        assert!(is_same(&ledger, bytes), "the relay wrote to it");
    }
    fs::write(&ledger, whole).unwrap();
    relay.restart();
    assert_eq!(relay.stored(), stored);
}

fn assert_refused(relay: &RelayProcess, text: &str) {
    let output = relay.command(&["relay"]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{printed}");
    assert!(
        printed.contains(text) && printed.contains("backup") && printed.contains("logferry fsck --rebuild"),
        "{printed}"
    );
}

fn is_same(file: &Path, bytes: &[u8]) -> bool {
    fs::read(file).unwrap() == bytes
}
