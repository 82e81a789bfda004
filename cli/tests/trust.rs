//! `logferry trust` from outside, with the embedded SFTP server.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::path::Path;
use std::process::{Command, Stdio};

use logferry_embedded_servers::{SftpOptions, SftpServer};
use tempfile::TempDir;

/// A server, and a configuration that names it.
struct TrustSetup {
    server: SftpServer,
    dir: TempDir,
}

impl TrustSetup {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SftpOptions {
            root: dir.path().to_owned(),
            user: "ferry".to_owned(),
            password: Some("open sesame".to_owned()),
            authorized_key: None,
        };
        let server = SftpServer::start(options).await.unwrap();
        let setup = Self { server, dir };
        setup.configure(&format!("known_hosts: {}", setup.known_hosts().display()));
        setup
    }

    fn known_hosts(&self) -> std::path::PathBuf {
        self.dir.path().join("etc/known_hosts")
    }

    /// Writes a configuration with this setting for the host key.
    fn configure(&self, policy: &str) {
        let config = format!(
            "forwarder:\n  data_dir: {}\n  destinations:\n    - {{name: edw, host: 127.0.0.1, port: {}, user: ferry, \
             directory: /, password: never shown, {policy}}}\n",
            self.dir.path().display(),
            self.server.port(),
        );
        std::fs::write(self.config(), config).unwrap();
        let _ = std::fs::set_permissions(self.config(), std::os::unix::fs::PermissionsExt::from_mode(0o600));
    }

    fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("logferry.yaml")
    }

    /// Runs the command without a terminal. Returns the exit code and the output.
    async fn trust(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
        command
            .arg("-c")
            .arg(self.config())
            .arg("trust")
            .args(arguments)
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn key_is_shown_and_stored_only_with_yes() {
    let setup = TrustSetup::start().await;
    let (code, text) = setup.trust(&["edw"]).await;
    let shown = format!(
        "edw: 127.0.0.1 port {} shows ssh-ed25519 SHA256:",
        setup.server.port()
    );
    assert!(text.starts_with(&shown), "{text}");
    assert!(
        text.contains("no key of this host is known yet") && text.contains("not stored"),
        "{text}"
    );
    assert_eq!(code, 1);
    assert!(!setup.known_hosts().exists());

    let (code, text) = setup.trust(&["edw", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("stored in {}", setup.known_hosts().display())));
    assert_eq!(read(&setup.known_hosts()), setup.server.known_hosts_line());

    let (code, text) = setup.trust(&["edw"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("trusted already"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_key_is_reported_and_replaced() {
    let setup = TrustSetup::start().await;
    let former = SftpServer::start(SftpOptions {
        root: setup.dir.path().to_owned(),
        user: "ferry".to_owned(),
        password: None,
        authorized_key: None,
    });
    let former = former.await.unwrap();
    let old = format!(
        "[127.0.0.1]:{} {}\n",
        setup.server.port(),
        former.host_key_openssh()
    );
    std::fs::create_dir(setup.known_hosts().parent().unwrap()).unwrap();
    std::fs::write(setup.known_hosts(), format!("# kept\n{old}")).unwrap();
    let (code, text) = setup.trust(&["edw"]).await;
    assert!(
        text.contains("THE KEY IS DIFFERENT") && text.contains("would be replaced: ssh-ed25519 SHA256:"),
        "{text}"
    );
    assert_eq!(code, 1);
    assert!(read(&setup.known_hosts()).contains(&old));
    let (code, text) = setup.trust(&["edw", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    let kept = format!("# kept\n{}", setup.server.known_hosts_line());
    assert_eq!(read(&setup.known_hosts()), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_fingerprint_is_changed_by_hand() {
    let setup = TrustSetup::start().await;
    setup.configure(&format!("host_key: 'SHA256:{}'", "A".repeat(43)));
    let (code, text) = setup.trust(&["edw", "--yes"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("      host_key: \"SHA256:"), "{text}");
    let line = text
        .lines()
        .find(|line| line.contains("      host_key:"))
        .unwrap();
    setup.configure(line.trim());
    let (code, text) = setup.trust(&["edw"]).await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_destination_is_wrong_usage_and_unreachable_one_is_a_failure() {
    let setup = TrustSetup::start().await;
    let (code, text) = setup.trust(&["backup"]).await;
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("the configuration has edw"), "{text}");
    let TrustSetup { server, dir } = setup;
    let port = server.port();
    server.stop().await;
    let output = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .arg("-c")
        .arg(dir.path().join("logferry.yaml"))
        .args(["trust", "edw", "--yes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&format!("cannot connect to 127.0.0.1:{port}")),
        "{text}"
    );
}
