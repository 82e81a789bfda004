//! The SFTP server, used by OpenSSH's own client.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use logferry_embedded_servers::{SftpOptions, SftpServer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

struct Setup {
    folder: TempDir,
    server: SftpServer,
}

impl Setup {
    /// A server with `drop/` in its root, and a client key it knows.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("root/drop")).unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(at("key"))
            .output();
        assert!(made.await.unwrap().status.success());
        let server = SftpServer::start(SftpOptions {
            root: at("root"),
            user: "ferry".to_owned(),
            password: None,
            authorized_key: Some(fs::read_to_string(at("key.pub")).unwrap()),
        })
        .await
        .unwrap();
        fs::write(at("known_hosts"), server.known_hosts_line()).unwrap();
        Self { folder, server }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a batch of OpenSSH's sftp.
    async fn sftp(&self, batch: &str) -> Output {
        fs::write(self.at("batch"), batch).unwrap();
        self.command(&self.at("batch")).output().await.unwrap()
    }

    /// OpenSSH's sftp, its commands from `batch` ("-": from its standard input).
    fn command(&self, batch: &Path) -> Command {
        let mut command = Command::new("sftp");
        command
            .args(["-F", "none", "-P", &self.server.port().to_string(), "-b"])
            .arg(batch);
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "GlobalKnownHostsFile=none",
        ] {
            command.args(["-o", option]);
        }
        command.args([
            "-o",
            "UserKnownHostsFile=known_hosts",
            "-i",
            "key",
            "ferry@127.0.0.1",
        ]);
        command.current_dir(self.folder.path()).kill_on_drop(true);
        command
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn openssh_puts_renames_lists_and_gets_a_file() {
    let setup = Setup::new().await;
    let content: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(setup.at("a.log"), &content).unwrap();
    let output = setup
        .sftp("put -f a.log drop/a.part\nrename -l drop/a.part drop/a.log\nls -l drop\nget drop/a.log back\nmkdir x\nrmdir x\n")
        .await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("a.log"), "{}", text(&output.stdout));
    assert!(fs::read(setup.at("root/drop/a.log")).unwrap() == content);
    assert!(fs::read(setup.at("back")).unwrap() == content);
    setup.server.stop().await;
}

#[tokio::test]
async fn plain_rename_refuses_a_taken_name_and_posix_rename_replaces_it() {
    let setup = Setup::new().await;
    fs::write(setup.at("root/new"), "new").unwrap();
    fs::write(setup.at("root/old"), "old").unwrap();
    let plain = setup.sftp("rename -l new old\n").await;
    assert!(!plain.status.success());
    assert_eq!(fs::read_to_string(setup.at("root/old")).unwrap(), "old");
    let posix = setup.sftp("rename new old\n").await;
    assert!(posix.status.success(), "{}", text(&posix.stderr));
    assert_eq!(fs::read_to_string(setup.at("root/old")).unwrap(), "new");
    assert!(!setup.at("root/new").exists());
    setup.server.stop().await;
}

#[tokio::test]
async fn clients_cannot_leave_the_root() {
    let setup = Setup::new().await;
    fs::write(setup.at("secret"), "x").unwrap();
    let output = setup.sftp("get ../secret stolen\n").await;
    assert!(!output.status.success());
    assert!(!setup.at("stolen").exists());
    setup.server.stop().await;
}

#[tokio::test]
async fn refused_logins_and_writes_fail_until_they_are_allowed_again() {
    let setup = Setup::new().await;
    fs::write(setup.at("a"), "line\n").unwrap();
    setup.server.refuse_logins(true);
    let output = setup.sftp("ls\n").await;
    assert!(
        text(&output.stderr).contains("Permission denied"),
        "{}",
        text(&output.stderr)
    );
    setup.server.refuse_logins(false);
    setup.server.refuse_writes(true);
    assert!(!setup.sftp("put a drop/a\n").await.status.success());
    setup.server.refuse_writes(false);
    let output = setup.sftp("put a drop/a\n").await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    setup.server.stop().await;
}

#[tokio::test]
async fn other_keys_are_refused() {
    let setup = Setup::new().await;
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(setup.at("other"))
        .output();
    assert!(made.await.unwrap().status.success());
    fs::rename(setup.at("other"), setup.at("key")).unwrap();
    fs::remove_file(setup.at("key.pub")).unwrap();
    let output = setup.sftp("ls\n").await;
    assert!(
        text(&output.stderr).contains("Permission denied"),
        "{}",
        text(&output.stderr)
    );
    setup.server.stop().await;
}

#[tokio::test]
async fn stopping_cuts_a_client_in_the_middle_of_a_session() {
    let setup = Setup::new().await;
    let mut client = setup
        .command(Path::new("-"))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut commands = client.stdin.take().unwrap();
    commands.write_all(b"mkdir drop/connected\n").await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !setup.at("root/drop/connected").exists() {
        assert!(Instant::now() < deadline, "the client did not get through");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let port = setup.server.port();
    setup.server.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    // The client notices at its next command, or at the end of them.
    drop(commands);
    client.wait().await.unwrap();
}

#[tokio::test]
async fn cut_connections_leave_the_server_serving() {
    let setup = Setup::new().await;
    let mut silent = TcpStream::connect(("127.0.0.1", setup.server.port()))
        .await
        .unwrap();
    assert_eq!(silent.read_u8().await.unwrap(), b'S');
    setup.server.cut_connections();
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
    let output = setup.sftp("ls\n").await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    setup.server.stop().await;
}
