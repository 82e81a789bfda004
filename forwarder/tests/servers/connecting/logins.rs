//! Every login method at OpenSSH, and the errors when a login is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use logferry_config::{Destination, Login, Secret};
use logferry_forwarder::{FailureScope, check_destination};
use logferry_ledger::{BatchState, FailureKind};
use logferry_test_servers::ran_as_root;
use tempfile::TempDir;

use crate::support::{ACCOUNT, PASSWORD, PasswordAge, Running, Spool, Sshd, destination, keygen, until};

/// Makes a key that the server accepts, locked unless the passphrase is empty.
fn key(sshd: &Sshd, kind: &[&str], passphrase: &str) -> PathBuf {
    let name = format!("key-{}-{}", kind.join(""), passphrase.len());
    let path = sshd.path(&name);
    let mut arguments = vec!["-q", "-t"];
    arguments.extend(kind);
    arguments.extend(["-N", passphrase, "-f", path.to_str().unwrap()]);
    keygen(&arguments);
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    let authorized = sshd.path("authorized_keys");
    let before = fs::read_to_string(&authorized).unwrap();
    fs::write(authorized, before + &public).unwrap();
    path
}

fn with_key(file: PathBuf, passphrase: &str) -> Login {
    let passphrase = Some(Secret::new(passphrase)).filter(|it| !it.expose().is_empty());
    Login::Key { file, passphrase }
}

fn with_password(password: &str) -> Login {
    Login::Password(Secret::new(password))
}

/// The error of a failed login, whose scope is the login.
fn refusal(edw: &Destination) -> String {
    let error = check_destination(edw).unwrap_err();
    assert_eq!(
        (error.scope(), error.kind()),
        (FailureScope::Login, FailureKind::Auth)
    );
    error.explanation()
}

#[test]
fn keys_of_every_kind_log_in_plain_and_locked() {
    let sshd = Sshd::start();
    let mut edw = destination("edw", &sshd);
    for kind in [
        &["ed25519"][..],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "521"],
        &["rsa", "-b", "2048"],
        &["rsa", "-b", "2048", "-m", "PEM"],
    ] {
        for passphrase in ["", "let me in"] {
            edw.login = with_key(key(&sshd, kind, passphrase), passphrase);
            let checked = check_destination(&edw).map_err(|error| error.explanation());
            assert_eq!(checked, Ok(()), "{kind:?} with passphrase {passphrase:?}");
        }
    }
}

#[test]
fn key_that_cannot_be_unlocked_or_read_is_told_from_one_that_is_refused() {
    let sshd = Sshd::start();
    let mut edw = destination("edw", &sshd);
    let locked = key(&sshd, &["ed25519"], "let me in");
    for (login, wanted) in [
        (with_key(locked.clone(), "open up"), "its passphrase is wrong"),
        (with_key(locked, ""), "without its passphrase"),
        (with_key(sshd.path("sshd_config"), ""), "it is not a private key"),
        (with_key(sshd.path("nowhere"), ""), "cannot read the key file"),
        (
            with_key(sshd.path("host_ed25519"), ""),
            "the server refuses the key",
        ),
    ] {
        edw.login = login;
        let said = refusal(&edw);
        assert!(said.contains(wanted), "{said}");
    }
}

/// An SSH agent, which ends when this is dropped.
struct Agent {
    dir: TempDir,
    child: Child,
}

impl Agent {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(dir.path().join("socket"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self { dir, child };
        let started = std::time::Instant::now();
        while !agent.socket().exists() {
            assert!(started.elapsed() < Duration::from_secs(30), "no agent");
            std::thread::sleep(Duration::from_millis(10));
        }
        agent
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn add(&self, key: &Path) {
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", self.socket())
            .status();
        assert!(added.unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn agent_logs_in_with_whichever_of_its_keys_the_server_takes() {
    let sshd = Sshd::start();
    let mut edw = destination("edw", &sshd);
    let agent = Agent::start();
    let socket = agent.socket();
    edw.login = Login::Agent { socket: Some(socket) };
    let said = refusal(&edw);
    assert!(said.contains("holds no key"), "{said}");
    agent.add(&sshd.path("host_ed25519"));
    let said = refusal(&edw);
    assert!(said.contains("the server refuses the key"), "{said}");
    agent.add(&key(&sshd, &["rsa", "-b", "2048"], ""));
    check_destination(&edw).unwrap();
    drop(agent);
    let said = refusal(&edw);
    assert!(said.contains("does not answer"), "{said}");
}

#[test]
fn server_that_has_seen_enough_keys_is_quoted() {
    let sshd = Sshd::start_with("MaxAuthTries 1\n");
    let agent = Agent::start();
    for name in ["host_ed25519", "host_rsa"] {
        agent.add(&sshd.path(name));
    }
    let edw = Destination {
        login: Login::Agent {
            socket: Some(agent.socket()),
        },
        ..destination("edw", &sshd)
    };
    let error = check_destination(&edw).unwrap_err();
    let said = error.explanation();
    assert_eq!(error.scope(), FailureScope::Destination, "{said}");
    assert!(
        said.contains("the server said: Too many authentication failures"),
        "{said}"
    );
}

/// The user with a password at a server.
fn account(sshd: &Sshd, login: Login) -> Destination {
    Destination {
        login,
        ..destination("edw", sshd)
    }
}

/// How often a password was refused, by the server's log, whose text differs where PAM asked for the password.
fn refused_passwords(sshd: &Sshd) -> usize {
    let given = sshd.log().matches("Failed password for").count();
    given + sshd.log().matches("PAM: Authentication failure for").count()
}

#[test]
fn password_logs_in_whether_it_is_given_or_asked_for_and_a_wrong_one_is_shown_once() {
    if ran_as_root(
        "connecting::logins::password_logs_in_whether_it_is_given_or_asked_for_and_a_wrong_one_is_shown_once",
    ) {
        return;
    }
    for config in [
        "PasswordAuthentication yes\nKbdInteractiveAuthentication no\n",
        "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n",
        "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication yes\n",
    ] {
        let sshd = Sshd::start_with_account(config, PasswordAge::Fresh);
        let right = check_destination(&account(&sshd, with_password(PASSWORD)));
        right.unwrap_or_else(|error| panic!("{config}: {}\n{}", error.explanation(), sshd.log()));
        assert_eq!(refused_passwords(&sshd), 0);
        let said = refusal(&account(&sshd, with_password("guessed")));
        assert!(said.contains("the server refuses the password"), "{said}");
        assert_eq!(refused_passwords(&sshd), 1, "{}", sshd.log());
    }
}

#[test]
fn server_that_wants_key_and_password_gets_both() {
    if ran_as_root("connecting::logins::server_that_wants_key_and_password_gets_both") {
        return;
    }
    let config = "PasswordAuthentication yes\nAuthenticationMethods publickey,password\n";
    let sshd = Sshd::start_with_account(config, PasswordAge::Fresh);
    let both = |file: PathBuf, password: &str| {
        let login = Login::KeyAndPassword {
            file,
            passphrase: None,
            password: Secret::new(password),
        };
        account(&sshd, login)
    };
    check_destination(&both(sshd.client_key(), PASSWORD)).unwrap();
    for (edw, wanted) in [
        (
            both(sshd.client_key(), "guessed"),
            "the server refuses the password",
        ),
        (
            both(sshd.path("host_ed25519"), PASSWORD),
            "the server refuses the key",
        ),
        (
            account(&sshd, with_password(PASSWORD)),
            "the server accepts publickey",
        ),
        (
            account(&sshd, with_key(sshd.client_key(), "")),
            "the server accepts the key and wants a further login method that is not configured; it accepts password",
        ),
    ] {
        let said = refusal(&edw);
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn password_that_has_expired_is_not_taken_for_a_failure_of_the_network() {
    if ran_as_root("connecting::logins::password_that_has_expired_is_not_taken_for_a_failure_of_the_network")
    {
        return;
    }
    let [given, asked_for] = [
        // OpenSSH lets in, and ends the session without a word.
        "PasswordAuthentication yes\nKbdInteractiveAuthentication no\n",
        // PAM asks for a new one.
        "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n",
    ]
    .map(|config| {
        let sshd = Sshd::start_with_account(config, PasswordAge::Expired);
        check_destination(&account(&sshd, with_password(PASSWORD))).unwrap_err()
    });
    let said = given.explanation();
    assert!(said.contains("the password may have expired"), "{said}");
    assert_eq!(given.scope(), FailureScope::Destination);
    let said = asked_for.explanation();
    assert_eq!(asked_for.kind(), FailureKind::Auth, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password_is_not_tried_again_for_whatever_comes_in_meanwhile() {
    if ran_as_root("connecting::logins::wrong_password_is_not_tried_again_for_whatever_comes_in_meanwhile") {
        return;
    }
    let (backup, mut spool) = (Sshd::start_with_account("", PasswordAge::Fresh), Spool::new());
    let sshd = Sshd::start_with_account("PasswordAuthentication yes\n", PasswordAge::Fresh);
    let edw = account(&sshd, with_password("guessed"));
    assert_eq!(edw.user, ACCOUNT);
    let first = spool.seal(0, b"first\n");
    let forwarder = Running::start(spool.dir(), vec![edw, destination("backup", &backup)]);
    until("down", || spool.down_kind("edw") == Some(FailureKind::Auth)).await;
    for window in 1..20 {
        let batch = spool.seal(window, b"one more\n");
        until("at the other destination", || {
            let delivery = spool.delivery(&batch, "backup");
            delivery.is_some_and(|it| it.delivered_at.is_some())
        })
        .await;
    }
    forwarder.stop().await;
    assert_eq!(refused_passwords(&sshd), 1, "{}", sshd.log());
    assert!(spool.is_in(BatchState::Ready, &first));
    assert_eq!(spool.delivery(&first, "edw"), None, "it costs no attempt");
}

/// The 2048-bit group of RFC 3526, section 3, which is also group 14, as a line of OpenSSH's `moduli` file.
const MODULI_2048: &str = "20200101000000 2 6 100 2047 2 \
FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
15728E5A8AACAA68FFFFFFFFFFFFFFFF\n";

#[test]
fn server_with_group_exchange_and_groups_of_2048_bits_only_is_logged_in_to() {
    let dir = tempfile::tempdir().unwrap();
    let moduli = dir.path().join("moduli");
    fs::write(&moduli, MODULI_2048).unwrap();
    let sshd = Sshd::start_with(&format!(
        "KexAlgorithms diffie-hellman-group-exchange-sha256\nModuliFile {}",
        moduli.display()
    ));
    check_destination(&destination("edw", &sshd)).unwrap();
    assert!(!sshd.log().contains("WARNING"), "{}", sshd.log());
}

#[test]
fn key_file_with_a_cipher_of_old_names_the_cipher_and_the_remedy() {
    let sshd = Sshd::start();
    let file = sshd.path("old-key");
    let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,0011223344556677\n\n\
                AAAA\n-----END RSA PRIVATE KEY-----\n";
    fs::write(&file, text).unwrap();
    let edw = Destination {
        login: with_key(file, "let me in"),
        ..destination("edw", &sshd)
    };
    let error = refusal(&edw);
    assert!(
        error.contains("encrypted with DES-EDE3-CBC, which is not supported")
            && error.contains("ssh-keygen -p"),
        "{error}"
    );
}
