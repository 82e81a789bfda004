//! `logferry trust` from outside, with the embedded SFTP server.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::path::Path;
use std::process::{Command, Stdio};

use logferry_embedded_servers::{SftpOptions, SftpServer};
use tempfile::TempDir;

/// A server, and a configuration that names it.
struct Site {
    server: SftpServer,
    dir: TempDir,
}

impl Site {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SftpOptions {
            root: dir.path().to_owned(),
            user: "ferry".to_owned(),
            password: Some("open sesame".to_owned()),
            authorized_key: None,
        };
        let server = SftpServer::start(options).await.unwrap();
        let site = Self { server, dir };
        site.configure(&format!("known_hosts: {}", site.known_hosts().display()));
        site
    }

    fn known_hosts(&self) -> std::path::PathBuf {
        self.dir.path().join("etc/known_hosts")
    }

    /// Writes a configuration in which the host key is judged so.
    fn configure(&self, policy: &str) {
        let text = format!(
            "forwarder:\n  data_dir: {}\n  destinations:\n    - {{name: edw, host: 127.0.0.1, port: {}, user: ferry, \
             directory: /, password: never shown, {policy}}}\n",
            self.dir.path().display(),
            self.server.port(),
        );
        std::fs::write(self.config(), text).unwrap();
        let _ = std::fs::set_permissions(self.config(), std::os::unix::fs::PermissionsExt::from_mode(0o600));
    }

    fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("logferry.yaml")
    }

    /// Runs it without a terminal: exit code, and what it printed.
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
async fn key_is_shown_and_kept_only_after_a_yes() {
    let site = Site::start().await;
    let (code, said) = site.trust(&["edw"]).await;
    let shown = format!(
        "edw: 127.0.0.1 port {} shows ssh-ed25519 SHA256:",
        site.server.port()
    );
    assert!(said.starts_with(&shown), "{said}");
    assert!(
        said.contains("no key of this host is known yet") && said.contains("not stored"),
        "{said}"
    );
    assert_eq!(code, 1);
    assert!(!site.known_hosts().exists());

    let (code, said) = site.trust(&["edw", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("stored in {}", site.known_hosts().display())));
    assert_eq!(read(&site.known_hosts()), site.server.known_hosts_line());

    let (code, said) = site.trust(&["edw"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("trusted already"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_key_is_shouted_about_and_replaced() {
    let site = Site::start().await;
    let former = SftpServer::start(SftpOptions {
        root: site.dir.path().to_owned(),
        user: "ferry".to_owned(),
        password: None,
        authorized_key: None,
    });
    let former = former.await.unwrap();
    let old = format!(
        "[127.0.0.1]:{} {}\n",
        site.server.port(),
        former.host_key_openssh()
    );
    std::fs::create_dir(site.known_hosts().parent().unwrap()).unwrap();
    std::fs::write(site.known_hosts(), format!("# kept\n{old}")).unwrap();
    let (code, said) = site.trust(&["edw"]).await;
    assert!(
        said.contains("THE KEY IS ANOTHER") && said.contains("would be replaced: ssh-ed25519 SHA256:"),
        "{said}"
    );
    assert_eq!(code, 1);
    assert!(read(&site.known_hosts()).contains(&old));
    let (code, said) = site.trust(&["edw", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    let kept = format!("# kept\n{}", site.server.known_hosts_line());
    assert_eq!(read(&site.known_hosts()), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_fingerprint_is_to_be_changed_by_hand() {
    let site = Site::start().await;
    site.configure(&format!("host_key: 'SHA256:{}'", "A".repeat(43)));
    let (code, said) = site.trust(&["edw", "--yes"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("      host_key: \"SHA256:"), "{said}");
    let line = said
        .lines()
        .find(|line| line.contains("      host_key:"))
        .unwrap();
    site.configure(line.trim());
    let (code, said) = site.trust(&["edw"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_destination_is_bad_usage_and_an_unreachable_one_cannot_be_shown() {
    let site = Site::start().await;
    let (code, said) = site.trust(&["backup"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("the configuration has edw"), "{said}");
    let Site { server, dir } = site;
    let port = server.port();
    server.stop().await;
    let output = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .arg("-c")
        .arg(dir.path().join("logferry.yaml"))
        .args(["trust", "edw", "--yes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("cannot connect to 127.0.0.1:{port}")),
        "{said}"
    );
}
