//! Which servers are trusted, and how the forwarder logs in.

use std::fs;

use logferry_config::{Destination, HostKeyPolicy, Login, Secret};
use logferry_forwarder::{Blame, DeliveryError, HostKeyError, check_destination};
use logferry_ledger::BatchState;

use crate::support::{Running, Spool, Sshd, destination, names_in, until};

/// Checks a destination, and has it refused for its host key.
fn refused(destination: &Destination) -> HostKeyError {
    let error = check_destination(destination).unwrap_err();
    assert_eq!(error.blame(), Blame::Destination);
    let DeliveryError::HostKey(error) = error else {
        unreachable!("{error:?}");
    };
    error
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
    let command = format!(
        "ssh-keyscan -p {} 127.0.0.1 >> {}",
        sshd.port,
        sshd.known_hosts().display()
    );
    assert!(error.contains(&command), "{error}");
}

#[test]
fn changed_key_of_the_same_or_another_type_is_refused_with_both_fingerprints() {
    let sshd = Sshd::start();
    for other in ["client.pub", "host_rsa.pub"] {
        sshd.know(other, &format!("[127.0.0.1]:{}", sshd.port));
        let error = refused(&destination("edw", &sshd));
        assert!(matches!(error, HostKeyError::Changed { .. }), "{error:?}");
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
    assert!(matches!(error, HostKeyError::Revoked { .. }), "{error:?}");
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
        (Login::Password(Secret::new("wrong")), "it takes publickey"),
        (
            Login::Key {
                file: sshd.path("host_ed25519"),
                passphrase: None,
            },
            "it refuses the key",
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
        assert_eq!(error.blame(), Blame::Login);
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
    assert!(spool.down("edw").unwrap().contains("is not the known one"));
    assert!(spool.is_in(BatchState::Ready, &batch));
    assert_eq!(spool.delivery(&batch, "edw"), None);
    assert!(names_in(&sshd.drop_dir()).is_empty());
    // Once the key is known, everything goes out.
    sshd.know("host_ed25519.pub", &format!("[127.0.0.1]:{}", sshd.port));
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
}
