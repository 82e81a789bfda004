//! A real MariaDB of Debian's package mariadb-server, on a free loopback port, with a data folder of its own.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// A running server; it ends with the value.
pub struct MariaDb {
    dir: TempDir,
    /// The port.
    pub port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

/// The user of [`MariaDb::start`], who may do everything in the database `clientdb`.
pub const MARIADB_USER: &str = "ferry";

/// The password of that user.
pub const MARIADB_PASSWORD: &str = "it is a secret";

impl MariaDb {
    /// Starts a server with an empty database `clientdb`.
    pub fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// Starts a server with more options than its own, such as `--ssl-cert=FILE`.
    pub fn start_with(options: Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut server = Self {
            dir,
            port,
            options,
            child: None,
        };
        let data = server.path("data");
        fs::create_dir(&data).unwrap();
        fs::create_dir(server.path("tmp")).unwrap();
        let made = Command::new("mariadb-install-db")
            .env("TMPDIR", server.path("tmp"))
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--user",
            ])
            .arg(user())
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", server.dir.path().display()))
            .output()
            .expect("mariadb-install-db of Debian's package mariadb-server");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.restart();
        server.sql(&format!(
            "CREATE DATABASE clientdb; CREATE USER {MARIADB_USER}@'%' IDENTIFIED BY '{MARIADB_PASSWORD}'; \
             GRANT ALL ON clientdb.* TO {MARIADB_USER}@'%'"
        ));
        server
    }

    /// Starts the server again on its port, and waits until it answers.
    pub fn restart(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let child = Command::new("mariadbd")
            // A server that starts removes the temporary tables of all servers that use the folder.
            .env("TMPDIR", self.path("tmp"))
            .args([
                "--no-defaults",
                "--bind-address=127.0.0.1",
                "--innodb-buffer-pool-size=16M",
                "--user",
            ])
            .arg(user())
            .arg(format!("--datadir={}", self.path("data").display()))
            // A server removes what others have left in a common folder.
            .arg(format!("--tmpdir={}", self.dir.path().display()))
            .arg(format!("--socket={}", self.path("socket").display()))
            .arg(format!("--pid-file={}", self.path("pid").display()))
            .arg(format!("--port={}", self.port))
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mariadbd of Debian's package mariadb-server");
        self.child = Some(child);
        while !self.client("SELECT 1").output().unwrap().status.success() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(ended.is_none(), "mariadbd has ended: {}", log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills the server as a power cut would end it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Runs statements as root in the database, and returns what they print: columns separated by tabs.
    pub fn sql(&self, statements: &str) -> String {
        let output = self.client(statements).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs statements; whether they succeeded.
    pub fn try_sql(&self, statements: &str) -> bool {
        self.client(statements).output().unwrap().status.success()
    }

    fn client(&self, statements: &str) -> Command {
        let mut client = Command::new("mariadb");
        client
            .args([
                "--no-defaults",
                "--user=root",
                "--batch",
                "--skip-column-names",
                "--default-character-set=utf8mb4",
            ])
            .arg(format!("--socket={}", self.path("socket").display()))
            .args(["--execute", statements]);
        client
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server refuses to run as root unless it is told to.
fn user() -> String {
    std::env::var("USER").unwrap_or_else(|_| "root".to_owned())
}
