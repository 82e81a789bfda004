//! Real nginx with logrotate, and HTTP clients.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::{Process, require, run_tool};
use crate::support::test_folder::{TestFolder, free_port};
use crate::support::{WAIT_LIMIT, wait_for};

const NGINX: &str = "/usr/sbin/nginx";
const LOGROTATE: &str = "/usr/sbin/logrotate";

/// The user agent of a load balancer.
const HEALTH_CHECKER: &str = "nginx/1.28.0 (health check)";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

/// The body of every response.
const BODY: &[u8; 7] = b"served\n";

/// A running nginx with two workers.
pub(crate) struct Nginx {
    process: Process,
    pub(crate) port: u16,
    pid_file: PathBuf,
}

impl Nginx {
    /// Starts it with its access log at `log`.
    pub(crate) fn start(test_folder: &TestFolder, log: &Path) -> Self {
        require(NGINX, "nginx-light");
        let port = free_port();
        let prefix = test_folder.create_dir("nginx");
        let pid_file = prefix.join("nginx.pid");
        let config = test_folder.write("nginx/nginx.conf", &config(port, log, &pid_file));
        let mut command = Command::new(NGINX);
        command
            .arg("-p")
            .arg(&prefix)
            .args(["-e", "stderr", "-c"])
            .arg(config);
        let process = Process::start(test_folder, "nginx", &mut command);
        wait_for("nginx to listen", WAIT_LIMIT, || {
            pid_file.exists() && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        Self {
            process,
            port,
            pid_file,
        }
    }

    /// Stops it after its running requests, and waits until its log is complete.
    pub(crate) fn quit(mut self) {
        let status = self.process.stop(Signal::SIGQUIT, WAIT_LIMIT);
        assert!(status.success(), "nginx: {status}");
    }
}

/// Temporary folders below the prefix, instead of the compiled-in ones.
const FOLDERS: &str =
    "client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;";

fn config(port: u16, log: &Path, pid_file: &Path) -> String {
    // Only an nginx started as root accepts `user`. It needs the setting then, because the test's folder is root's.
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "daemon off; worker_processes 2; {user} pid {pid}; error_log stderr warn;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n  access_log {log} combined; {FOLDERS}\n  server {{\n    listen 127.0.0.1:{port} reuseport;\n    \
         location / {{ return 200 \"served\\n\"; }}\n  }}\n}}\n",
        pid = pid_file.display(),
        log = log.display(),
    )
}

/// The rotation of nginx's log with Debian's settings, in its own configuration.
pub(crate) struct Logrotate {
    config: PathBuf,
    state: PathBuf,
}

impl Logrotate {
    /// Writes the configuration.
    pub(crate) fn new(test_folder: &TestFolder, nginx: &Nginx, log: &Path) -> Self {
        require(LOGROTATE, "logrotate");
        let text = format!(
            "{log:?} {{\n  rotate 50\n  create\n  sharedscripts\n  postrotate\n    kill -USR1 $(cat {pid:?})\n  endscript\n}}\n",
            pid = nginx.pid_file,
        );
        Self {
            config: test_folder.write("logrotate.conf", &text),
            state: test_folder.path("logrotate.state"),
        }
    }

    /// Rotates once.
    pub(crate) fn rotate(&self) {
        let mut command = Command::new(LOGROTATE);
        command.arg("-f").arg("-s").arg(&self.state).arg(&self.config);
        run_tool(&mut command, "logrotate");
    }
}

/// HTTP clients, each on its own connection.
pub(crate) struct HttpVisitors {
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<BTreeSet<String>>>,
}

impl HttpVisitors {
    /// Each of `count` visitors sends `requests` requests, every tenth of them a health check.
    pub(crate) fn send(port: u16, count: usize, requests: usize) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let threads = (0..count).map(|visitor| {
            let answered = Arc::clone(&answered);
            std::thread::spawn(move || visit(port, visitor, requests, &answered))
        });
        Self {
            threads: threads.collect(),
            answered,
        }
    }

    /// The number of answered requests.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for the last response; returns the paths of all served pages.
    pub(crate) fn finish(self) -> BTreeSet<String> {
        self.threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    }
}

fn visit(port: u16, visitor: usize, requests: usize, answered: &AtomicUsize) -> BTreeSet<String> {
    /// Spreads the requests over some seconds, so that they fall into several windows.
    const PACE: Duration = Duration::from_millis(2);
    let mut pages = BTreeSet::new();
    let mut connection = None;
    for number in 1..=requests {
        let through = connection.take().unwrap_or_else(|| connect(port));
        if number % 10 == 0 {
            connection = request(through, "/health.php", HEALTH_CHECKER);
        } else {
            let page = format!("/page?id={visitor}-{number}");
            connection = request(through, &page, BROWSER);
            pages.insert(page);
        }
        answered.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(PACE);
    }
    pages
}

fn connect(port: u16) -> BufReader<TcpStream> {
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    connection.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    connection.set_nodelay(true).unwrap();
    BufReader::new(connection)
}

/// Sends one request and reads the response. Returns the connection for the next request, unless nginx closes it.
fn request(mut connection: BufReader<TcpStream>, path: &str, agent: &str) -> Option<BufReader<TcpStream>> {
    let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\n\r\n");
    connection.get_mut().write_all(text.as_bytes()).unwrap();
    let mut goes_on = true;
    let mut line = String::new();
    connection.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        connection.read_line(&mut line).unwrap();
        goes_on &= line != "Connection: close\r\n";
    }
    let mut body = [0; BODY.len()];
    connection.read_exact(&mut body).unwrap();
    assert_eq!(body, *BODY);
    goes_on.then_some(connection)
}
