//! `logferry audit --record` and `--check`: a signed window as a file, checked on a host that has nothing but the public key.

use std::path::Path;

use logferry_inspection::sign_off::{SigningReach, sign_windows};
use logferry_testkit::relay_host::{RelayHost, at};

use crate::program::result_of;

/// The exit code, stdout and stderr of `logferry audit`.
fn audit(config: &Path, arguments: &[&str]) -> (i32, String, String) {
    result_of(config, &[&["audit"], arguments].concat())
}

#[test]
fn record_of_a_window_is_checked_elsewhere_with_the_public_key() {
    let mut host = RelayHost::new();
    let start = "2026-11-21T03:00:00Z";
    let open = host.take("198.51.100.1", start, "one\ntwo\n", at(start));
    let ready = host.seal(&open, at(start));
    host.deliver(&ready, "edw", at(start));
    let (data_dir, now) = (host.data_dir().to_owned(), at("2026-11-21T06:00:00Z"));
    let config = data_dir.join("logferry.yaml");
    std::fs::write(
        &config,
        format!("housekeeper:\n  data_dir: {}\n", data_dir.display()),
    )
    .unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let record = elsewhere.path().join("window.json");
    let (record, no_config) = (record.to_str().unwrap(), elsewhere.path().join("none.yaml"));
    let export = ["--window", "2026-11-21T03:05:00Z", "--record", record];
    let (code, _, stderr) = audit(&config, &export);
    assert_eq!(code, 3);
    assert!(stderr.contains("this window is not signed"), "{stderr}");
    sign_windows(&mut host.ledger, &data_dir, SigningReach::Recent, now, || true).unwrap();
    let (code, stdout, stderr) = audit(&config, &export);
    assert_eq!(code, 0, "{stderr}");
    let said = "window 2026-11-21T03:00:00Z to 2026-11-21T03:20:00Z, batches: 1, with 2 lines and 8 bytes";
    assert!(stdout.contains(said), "{stdout}");

    let key = elsewhere.path().join("audit.pub");
    std::fs::copy(data_dir.join("audit.pub"), &key).unwrap();
    let key = key.to_str().unwrap();
    let (code, stdout, stderr) = audit(&no_config, &["--check", record, "--key", key]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(
        stdout.contains("genuine: signed by the key in") && stdout.contains(said),
        "{stdout}"
    );
    let (code, stdout, _) = audit(&no_config, &["--check", record]);
    assert_eq!(code, 0, "{stdout}");
    let fingerprint = std::fs::read_to_string(key).unwrap();
    let unknown = format!(
        "unchanged since key {} signed it. Whose key",
        fingerprint.trim_end()
    );
    assert!(
        stdout.contains(&unknown) && stdout.contains("by --key"),
        "{stdout}"
    );

    let other = RelayHost::new();
    logferry_inspection::sign_off::SigningKeyFile::open_or_create(other.data_dir()).unwrap();
    let other_key = other.data_dir().join("audit.pub");
    let (code, stdout, _) = audit(
        &no_config,
        &["--check", record, "--key", other_key.to_str().unwrap()],
    );
    assert_eq!(code, 1);
    assert!(stdout.contains("the key expected is"), "{stdout}");
    let (code, _, stderr) = audit(&no_config, &["--check", record, "--key", record]);
    assert_eq!(code, 2);
    assert!(stderr.contains("is no public key"), "{stderr}");

    let text = std::fs::read_to_string(record).unwrap();
    std::fs::write(record, text.replacen("\\t2\\t8\\t", "\\t3\\t8\\t", 1)).unwrap();
    let (code, stdout, _) = audit(&no_config, &["--check", record, "--key", key]);
    assert_eq!(code, 1);
    assert!(
        stdout.contains("NOT genuine: the rows in it are not those that were signed"),
        "{stdout}"
    );
}

#[test]
fn page_does_not_pass_because_this_hosts_key_cannot_be_read() {
    let host = RelayHost::new();
    let config = host.data_dir().join("logferry.yaml");
    let text = format!("housekeeper:\n  data_dir: {}\n", host.data_dir().display());
    std::fs::write(&config, &text).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let page = elsewhere.path().join("page.html");
    let page = page.to_str().unwrap();
    assert_eq!(audit(&config, &["--html", page]).0, 0);
    let check = || audit(&config, &["--check", page]);
    let (code, stdout, stderr) = check();
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");

    let key = host.data_dir().join("audit.pub");
    let whole = std::fs::read(&key).unwrap();
    std::fs::write(&key, "").unwrap();
    let (code, stdout, stderr) = check();
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    assert!(
        stderr.contains("is no key") && stderr.contains("--key names another one"),
        "{stderr}"
    );
    std::fs::write(&key, whole).unwrap();
    let lacking = "housekeeper:\n  data_dir: \"${NOT_SET_HERE}\"\n";
    for (mistaken, told) in [
        (text.clone() + "housekeper: {}\n", "housekeper"),
        (lacking.to_owned(), "NOT_SET_HERE"),
    ] {
        std::fs::write(&config, mistaken).unwrap();
        let (code, stdout, stderr) = check();
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(
            stderr.contains(told) && stderr.contains("--key names another one"),
            "{stderr}"
        );
    }
    // A secret of another role says nothing about the key, and is not read.
    let monitor = format!(
        "monitor:\n  data_dir: {}\n  smtp: {{host: h, from: a@b.c, to: [a@b.c], user: u, password: \"${{NOT_SET_HERE}}\"}}\n",
        host.data_dir().display()
    );
    std::fs::write(&config, text + &monitor).unwrap();
    let (code, stdout, stderr) = check();
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.contains("signed by this host's key"), "{stdout}");
    // A host of a sender has no key.
    std::fs::write(
        &config,
        "sender: {relay: \"http://192.0.2.1:5001\", token_file: \"${NOT_SET_HERE}\", logs: [{path: /x.log}]}\n",
    )
    .unwrap();
    let (code, stdout, _) = check();
    assert!(
        code == 0 && stdout.contains("Whose key that is, is not known"),
        "{stdout}"
    );
}

#[test]
fn record_of_a_window_whose_rows_were_deleted_for_their_age_accuses_nobody() {
    let mut host = RelayHost::new();
    let (start, now) = ("2026-11-21T03:00:00Z", at("2026-11-21T06:00:00Z"));
    // The newest batch is never forgotten.
    for start in [start, "2026-11-21T03:20:00Z"] {
        let open = host.take("198.51.100.1", start, "one\ntwo\n", at(start));
        let ready = host.seal(&open, at(start));
        let sent = host.deliver(&ready, "edw", at(start));
        host.ledger.mark_expired(sent.id, now).unwrap();
    }
    let data_dir = host.data_dir().to_owned();
    sign_windows(&mut host.ledger, &data_dir, SigningReach::Recent, now, || true).unwrap();
    let later = now + jiff::SignedDuration::from_hours(1);
    assert_eq!(host.forget_oldest(later), 1);
    let config = data_dir.join("logferry.yaml");
    std::fs::write(
        &config,
        format!("housekeeper:\n  data_dir: {}\n", data_dir.display()),
    )
    .unwrap();
    let record = data_dir.join("window.json");
    let record = record.to_str().unwrap();
    let (code, _, stderr) = audit(&config, &["--window", start, "--record", record]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains("the rows of this window were deleted for their age (housekeeper.keep_ledger)"),
        "{stderr}"
    );
    assert!(!stderr.contains("not as it was signed"), "{stderr}");
}
