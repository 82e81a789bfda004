//! Files and folders in the spool that are not of any batch.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::servers::relay::RelayProcess;

const LINE: &str = "[21/Nov/2026:08:20:03 +0600] a\n";
const STRAY: &[u8] = b"not a line of any log";

/// A name that a batch of another hour would have.
const BATCH_NAME: &str = "accessLog_26112109_00-59_127-0-0-1.log";

#[test]
fn stray_files_in_every_folder_are_left_alone_and_the_relay_serves() {
    let mut relay = RelayProcess::start("stray", "sources: [\"127.0.0.1\"]");
    relay.post(LINE);
    relay.stop();
    let outside = relay.test_folder.write("outside.txt", "of somebody else");
    let folders =
        ["open", "ready", "sent", "failed"].map(|state| relay.test_folder.path("relay").join(state));
    for folder in &folders {
        for dir in [
            folder.clone(),
            folder.join("127.0.0.1"),
            folder.join("lost+found"),
        ] {
            fs::create_dir_all(dir.join("a folder/below")).unwrap();
            fs::write(dir.join("README"), STRAY).unwrap();
            fs::write(dir.join(BATCH_NAME), STRAY).unwrap();
            symlink(&outside, dir.join("link.log")).unwrap();
            symlink("/nonexistent", dir.join("broken.log")).unwrap();
        }
    }
    for number in 0..2 {
        relay.restart();
        relay.post(&LINE.replace(" a", &format!(" after {number}")));
        relay.process.kill();
    }
    let lines =
        fs::read_to_string(folders[0].join("127.0.0.1/accessLog_26112108_00-59_127-0-0-1.log")).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    for folder in &folders {
        for dir in [
            folder.clone(),
            folder.join("127.0.0.1"),
            folder.join("lost+found"),
        ] {
            assert!(dir.join("a folder/below").is_dir());
            assert_eq!(fs::read(dir.join("README")).unwrap(), STRAY);
            assert_eq!(fs::read(dir.join(BATCH_NAME)).unwrap(), STRAY);
            assert_eq!(fs::read_link(dir.join("link.log")).unwrap(), outside);
            assert!(dir.join("broken.log").is_symlink());
        }
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "of somebody else");
    let (code, report) = relay.json(&["fsck"]);
    assert_eq!(code, 1, "{report}");
    let named = report["findings"].to_string();
    for folder in &folders {
        let path = folder.join("127.0.0.1").join(BATCH_NAME);
        assert!(named.contains(path.to_str().unwrap()), "{named}");
    }
}
