//! Which servers are trusted, and how the forwarder logs in.

use std::fs;
use std::time::{Duration, Instant};

use logferry_config::{Destination, HostKeyPolicy, Login, Secret};
use logferry_forwarder::{
    DeliveryError, FailureScope, HostKeyError, HostKeyScan, HostKeyStatus, check_destination,
};
use logferry_ledger::BatchState;

use crate::support::{Running, Spool, Sshd, destination, names_in, until};

/// Checks a destination whose host key is refused; returns the error.
fn refused(destination: &Destination) -> HostKeyError {
    let error = check_destination(destination).unwrap_err();
    assert_eq!(error.scope(), FailureScope::Destination);
    let DeliveryError::HostKey(error) = error else {
        unreachable!("{error:?}");
    };
    *error
}

fn is_refused_as(error: &HostKeyError, expected: &HostKeyStatus) -> bool {
    matches!(error, HostKeyError::NotTrusted { status, .. } if status == expected)
}

/// A server with an ed25519 and an RSA host key.
fn two_keys() -> Sshd {
    let mut sshd = Sshd::prepare("");
    let config = fs::read_to_string(sshd.path("sshd_config")).unwrap();
    let rsa = format!("{config}HostKey {}\n", sshd.path("host_rsa").display());
    fs::write(sshd.path("sshd_config"), rsa).unwrap();
    sshd.launch();
    sshd
}

#[test]
fn pinned_key_that_was_seen_once_is_asked_for_by_its_type_only() {
    let sshd = two_keys();
    let mut edw = destination("edw", &sshd);
    edw.host_key = HostKeyPolicy::Fingerprint(sshd.fingerprint("host_rsa.pub"));
    check_destination(&edw).unwrap();
    // Of the types before it, the server has one key and lacks three.
    let in_vain = || sshd.log().matches("[preauth]").count();
    let deadline = Instant::now() + Duration::from_secs(30);
    while in_vain() < 4 {
        assert!(Instant::now() < deadline, "{}", sshd.log());
        std::thread::yield_now();
    }
    check_destination(&edw).unwrap();
    assert_eq!(in_vain(), 4, "{}", sshd.log());
}

#[test]
fn known_host_is_trusted_by_name_port_and_hash() {
    let sshd = Sshd::start();
    let edw = destination("edw", &sshd);
    check_destination(&edw).unwrap();
    sshd.hash_known_hosts();
    assert!(fs::read_to_string(sshd.known_hosts()).unwrap().contains("|1|"));
    check_destination(&edw).unwrap();
}

#[test]
fn server_with_several_keys_is_asked_for_the_one_that_is_known() {
    let sshd = two_keys();
    let mut edw = destination("edw", &sshd);
    sshd.know("host_rsa.pub", &format!("[127.0.0.1]:{}", sshd.port));
    check_destination(&edw).unwrap();
    edw.host_key = HostKeyPolicy::Fingerprint(sshd.fingerprint("host_rsa.pub"));
    check_destination(&edw).unwrap();
    edw.host_key = HostKeyPolicy::Fingerprint(sshd.fingerprint("host_ed25519.pub"));
    check_destination(&edw).unwrap();
}

#[test]
fn unknown_host_is_refused_with_its_fingerprint_and_the_command_that_adds_it() {
    let sshd = Sshd::start();
    sshd.know("host_ed25519.pub", "elsewhere.example.com");
    let error = refused(&destination("edw", &sshd)).to_string();
    assert!(error.contains(&sshd.fingerprint("host_ed25519.pub")), "{error}");
    assert!(error.contains("`logferry trust edw`"), "{error}");
    assert!(error.contains(&format!("[127.0.0.1]:{}", sshd.port)), "{error}");
}

#[test]
fn changed_key_of_the_same_or_another_type_is_refused_with_both_fingerprints() {
    let sshd = Sshd::start();
    for other in ["client.pub", "host_rsa.pub"] {
        sshd.know(other, &format!("[127.0.0.1]:{}", sshd.port));
        let error = refused(&destination("edw", &sshd));
        let HostKeyError::NotTrusted { status, .. } = &error else {
            unreachable!("{error:?}");
        };
        assert!(matches!(status, HostKeyStatus::Changed { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(&sshd.fingerprint("host_ed25519.pub")), "{error}");
        assert!(error.contains(&sshd.fingerprint(other)), "{error}");
    }
}

#[test]
fn key_other_than_the_configured_one_is_refused() {
    let sshd = Sshd::start();
    let mut edw = destination("edw", &sshd);
    edw.host_key = HostKeyPolicy::Fingerprint(sshd.fingerprint("client.pub"));
    let error = refused(&edw).to_string();
    assert!(error.contains(&sshd.fingerprint("host_ed25519.pub")), "{error}");
}

/// A server whose only host key is this one.
fn one_key(file: &str) -> Sshd {
    let mut sshd = Sshd::prepare("");
    let config = fs::read_to_string(sshd.path("sshd_config")).unwrap();
    let path = |name| sshd.path(name).display().to_string();
    let keys = config.replace(&path("host_ed25519"), &path(file));
    assert_ne!(keys, config);
    fs::write(sshd.path("sshd_config"), keys).unwrap();
    sshd.launch();
    sshd
}

#[test]
fn key_of_another_type_than_the_configured_one_is_told_as_a_wrong_key() {
    let (old, new) = (one_key("host_rsa"), Sshd::start());
    let mut edw = destination("edw", &old);
    // The type of the configured key is not known, and the server has none of the type that is asked for first.
    edw.host_key = HostKeyPolicy::Fingerprint(old.fingerprint("client.pub"));
    let error = refused(&edw).to_string();
    assert!(error.contains(&old.fingerprint("host_rsa.pub")), "{error}");
    // It is known, and the server has no key of that type any more.
    edw.host_key = HostKeyPolicy::Fingerprint(old.fingerprint("host_rsa.pub"));
    check_destination(&edw).unwrap();
    edw.port = new.port;
    let error = refused(&edw).to_string();
    assert!(error.contains(&new.fingerprint("host_ed25519.pub")), "{error}");
}

#[test]
fn revoked_key_and_missing_file_are_refused() {
    let sshd = Sshd::start();
    let known = fs::read_to_string(sshd.known_hosts()).unwrap();
    let key: Vec<_> = known.lines().nth(1).unwrap().split_whitespace().skip(1).collect();
    fs::write(
        sshd.known_hosts(),
        format!("{known}@revoked * {}\n", key.join(" ")),
    )
    .unwrap();
    let error = refused(&destination("edw", &sshd));
    assert!(is_refused_as(&error, &HostKeyStatus::Revoked), "{error:?}");
    fs::remove_file(sshd.known_hosts()).unwrap();
    let error = refused(&destination("edw", &sshd));
    assert!(matches!(error, HostKeyError::Unreadable { .. }), "{error:?}");
}

#[test]
fn lines_of_known_hosts_that_cannot_be_read_are_passed_over() {
    let sshd = Sshd::start();
    let known = fs::read(sshd.known_hosts()).unwrap();
    let mut noise =
        b"\n \x00\xff\xfe junk\n@cert-authority *.example.com ssh-ed25519 AAAA\nhost ssh-rsa\n".to_vec();
    noise.extend(known);
    fs::write(sshd.known_hosts(), noise).unwrap();
    check_destination(&destination("edw", &sshd)).unwrap();
}

#[test]
fn locked_key_is_unlocked_and_a_wrong_login_is_told_from_other_failures() {
    let sshd = Sshd::start();
    sshd.lock_client_key("open sesame");
    let mut edw = destination("edw", &sshd);
    edw.login = Login::Key {
        file: sshd.client_key(),
        passphrase: Some(Secret::new("open sesame")),
    };
    check_destination(&edw).unwrap();
    for (login, wanted) in [
        (Login::Password(Secret::new("wrong")), "it accepts publickey"),
        (
            Login::Key {
                file: sshd.path("host_ed25519"),
                passphrase: None,
            },
            "the server refuses the key",
        ),
        (
            Login::Key {
                file: sshd.path("nowhere"),
                passphrase: None,
            },
            "cannot read the key file",
        ),
    ] {
        edw.login = login;
        let error = check_destination(&edw).unwrap_err();
        assert_eq!(error.scope(), FailureScope::Login);
        let text = error.explanation();
        assert!(text.contains(wanted), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_delivered_to_a_server_that_is_not_trusted() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, b"confidential\n");
    sshd.know("client.pub", &format!("[127.0.0.1]:{}", sshd.port));
    let forwarder = Running::start(spool.dir(), vec![destination("edw", &sshd)]);
    until("down", || spool.down("edw").is_some()).await;
    assert!(
        spool
            .down("edw")
            .unwrap()
            .contains("has changed: the server shows")
    );
    assert!(spool.is_in(BatchState::Ready, &batch));
    assert_eq!(spool.delivery(&batch, "edw"), None);
    assert!(names_in(&sshd.drop_dir()).is_empty());
    // Once the key is known, everything goes out.
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", sshd.port));
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
}

/// The status of a destination's host key.
fn standing(edw: &Destination) -> HostKeyStatus {
    HostKeyScan::run(edw).unwrap().status
}

#[test]
fn key_that_was_kept_is_trusted_and_the_file_keeps_what_else_it_had() {
    let sshd = Sshd::start();
    let edw = destination("edw", &sshd);
    let known_hosts = sshd.known_hosts();
    fs::remove_file(&known_hosts).unwrap();
    let shown = HostKeyScan::run(&edw).unwrap();
    assert_eq!(shown.status, HostKeyStatus::New);
    assert_eq!(
        (shown.key_type(), shown.fingerprint()),
        ("ssh-ed25519", sshd.fingerprint("host_ed25519.pub"))
    );
    assert!(!known_hosts.exists(), "looking stores nothing");
    shown.store(&edw, &known_hosts).unwrap();
    check_destination(&edw).unwrap();
    assert_eq!(standing(&edw), HostKeyStatus::Trusted);

    // A key that has changed: hashed, as OpenSSH may have written it, among others.
    sshd.know("client.pub", &format!("[127.0.0.1]:{}", sshd.port));
    sshd.hash_known_hosts();
    let other = b"other.example.com ssh-ed25519 AAAA\xff not text\n";
    let mut file = other.to_vec();
    file.extend(fs::read(&known_hosts).unwrap());
    fs::write(&known_hosts, &file).unwrap();
    let shown = HostKeyScan::run(&edw).unwrap();
    let replaced = vec![format!("ssh-ed25519 {}", sshd.fingerprint("client.pub"))];
    let changed = HostKeyStatus::Changed {
        staying: Vec::new(),
        replaced,
    };
    assert_eq!(shown.status, changed);
    shown.store(&edw, &known_hosts).unwrap();
    check_destination(&edw).unwrap();
    let file = fs::read(&known_hosts).unwrap();
    assert!(file.starts_with(other));
    assert!(
        !file.windows(3).any(|bytes| bytes == b"|1|"),
        "the old key is gone"
    );
}

#[test]
fn server_is_introduced_with_the_key_that_is_known_and_one_of_another_type_stays() {
    let sshd = two_keys();
    let edw = destination("edw", &sshd);
    let name = format!("[127.0.0.1]:{}", sshd.port);
    sshd.know("host_rsa.pub", &name);
    assert_eq!(standing(&edw), HostKeyStatus::Trusted);
    // The server has lost its RSA key.
    drop(sshd);
    let sshd = Sshd::start();
    let edw = destination("edw", &sshd);
    sshd.know("host_rsa.pub", &format!("[127.0.0.1]:{}", sshd.port));
    let shown = HostKeyScan::run(&edw).unwrap();
    let staying = vec![format!("ssh-rsa {}", sshd.fingerprint("host_rsa.pub"))];
    let changed = HostKeyStatus::Changed {
        staying,
        replaced: Vec::new(),
    };
    assert_eq!(shown.status, changed);
    shown.store(&edw, &sshd.known_hosts()).unwrap();
    check_destination(&edw).unwrap();
    assert!(
        fs::read_to_string(sshd.known_hosts())
            .unwrap()
            .contains("ssh-rsa")
    );
}

#[test]
fn revoked_key_and_one_that_is_not_the_configured_are_introduced_as_such() {
    let sshd = Sshd::start();
    let mut edw = destination("edw", &sshd);
    let known = fs::read_to_string(sshd.known_hosts()).unwrap();
    let key: Vec<_> = known.lines().nth(1).unwrap().split_whitespace().skip(1).collect();
    fs::write(sshd.known_hosts(), format!("@revoked * {}\n", key.join(" "))).unwrap();
    assert_eq!(standing(&edw), HostKeyStatus::Revoked);
    let configured = sshd.fingerprint("client.pub");
    edw.host_key = HostKeyPolicy::Fingerprint(configured.clone());
    assert_eq!(standing(&edw), HostKeyStatus::NotConfigured { configured });
    edw.host_key = HostKeyPolicy::Fingerprint(sshd.fingerprint("host_ed25519.pub"));
    assert_eq!(standing(&edw), HostKeyStatus::Trusted);
}

#[test]
fn host_known_by_a_pattern_is_trusted_unless_it_is_taken_out() {
    let sshd = Sshd::start();
    let edw = destination("edw", &sshd);
    sshd.know("host_ed25519.pub", "[127.0.0.?]:*");
    check_destination(&edw).unwrap();
    sshd.know("host_ed25519.pub", "[127.0.0.?]:*,![127.0.0.1]:*");
    let error = refused(&edw);
    assert!(is_refused_as(&error, &HostKeyStatus::New), "{error:?}");
}
