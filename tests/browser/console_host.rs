//! A relay host with a console: twelve sources in two groups, and lines of the last day.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use logferry_test_servers::Sshd;
use serde_json::{Value, json};

use super::driver::Browser;
use crate::support::network::http_client;
use crate::support::process::Process;
use crate::support::test_folder::{TestFolder, free_port};
use crate::support::{WAIT_LIMIT, logferry, wait_for};

/// The user of the tests, who may act.
pub(crate) const USER: &str = "anna";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Relay, forwarder, indexer and console in one process, with what they work on.
pub(crate) struct ConsoleHost {
    process: Option<Process>,
    _sshd: Sshd,
    config: PathBuf,
    groups: [u16; 2],
    pub(crate) console: u16,
    pub(crate) delivered: PathBuf,
    pub(crate) test_folder: TestFolder,
}

impl ConsoleHost {
    /// Starts everything, and makes the user.
    pub(crate) fn start(test: &str) -> Self {
        Self::start_with(test, "open: false")
    }

    /// The same, with these settings of the console.
    pub(crate) fn start_with(test: &str, console_settings: &str) -> Self {
        Self::start_watched(test, console_settings, "")
    }

    /// The same, with this section of the monitor.
    pub(crate) fn start_watched(test: &str, console_settings: &str, monitor: &str) -> Self {
        let test_folder = TestFolder::new(test);
        let sshd = Sshd::start_with("MaxStartups 100\nLogLevel ERROR\n");
        let delivered = sshd.drop_dir();
        let groups = [free_port(), free_port()];
        let console = free_port();
        let config = format!(
            r#"
relay:
  data_dir: {relay:?}
  groups:
    - {{name: web, listen: "127.0.0.1:{}", sources: ["127.0.0.1", "198.51.100.1-198.51.100.9"], trust_source: true}}
    - {{name: shop, listen: "127.0.0.1:{}", sources: ["127.0.0.1", "203.0.113.1-203.0.113.9"], trust_source: true}}
  batch: {{window: 20m, seal_after: 1s, slack: 1s, name: "{{log}}_{{yymmddHH}}_{{window}}_{{source}}"}}
  limits: {{min_free_disk: 1MiB}}
  metrics: null
forwarder:
  interval: 1s
  destinations:
    - name: edw
      host: 127.0.0.1
      port: {port}
      user: {user}
      directory: {delivered:?}
      key_file: {key:?}
      known_hosts: {known:?}
      manifest: json
indexer: {{store_dir: {index:?}}}
console:
  listen: "127.0.0.1:{console}"
  store_dir: {index:?}
  state_dir: {state:?}
  {console_settings}
{monitor}"#,
            groups[0],
            groups[1],
            relay = test_folder.path("relay"),
            index = test_folder.path("index"),
            state = test_folder.path("console"),
            port = sshd.port,
            user = sshd.user,
            key = sshd.client_key(),
            known = sshd.known_hosts(),
        );
        let config = test_folder.write("logferry.yaml", &config);
        let mut host = Self {
            process: None,
            _sshd: sshd,
            config,
            groups,
            console,
            delivered,
            test_folder,
        };
        host.add_user();
        host.run();
        host
    }

    /// An address of the console.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.console)
    }

    /// The page of windows, of a day with many delivered ones: soon after midnight today has none.
    pub(crate) fn full_day() -> String {
        let at = (Timestamp::now() - SignedDuration::from_hours(12)).to_zoned(TimeZone::UTC);
        format!("/windows?day={}", at.date())
    }

    /// A browser in which the user has logged in, at this page.
    pub(crate) fn browser_at(&self, path: &str) -> Browser {
        let browser = Browser::start(1280, 860);
        browser.open(&self.address("/login"));
        browser.type_into("[name=user]", USER);
        browser.type_into("[name=password]", PASSWORD);
        browser.click("form.login button");
        browser.wait_for(
            "the overview",
            "return location.pathname === '/' && document.querySelector('.verdict') !== null",
        );
        if path != "/" {
            browser.open(&self.address(path));
        }
        browser
    }

    /// Posts lines of a source, as an old shipper does.
    pub(crate) fn post(&self, source: &str, lines: &str) {
        self.post_bytes(source, lines.as_bytes());
    }

    /// Posts lines of any bytes: those that are no UTF-8 as Python writes them, as halves of a character.
    pub(crate) fn post_bytes(&self, source: &str, lines: &[u8]) {
        let port = self.groups[usize::from(source.starts_with("203."))];
        let mut log = String::new();
        for chunk in lines.utf8_chunks() {
            log.push_str(json!(chunk.valid()).to_string().trim_matches('"'));
            for byte in chunk.invalid() {
                write!(log, "\\udc{byte:02x}").unwrap();
            }
        }
        let body = format!("{{\"host\": {}, \"log\": \"{log}\"}}", json!(source));
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("connection", "close".to_owned()),
        ];
        let response = http_client::send(
            port,
            &http_client::request("POST", "/upload", &headers, body.as_bytes()),
        );
        assert_eq!(response.status, 200, "{response:?}");
    }

    /// Posts a day of traffic, so that pages have something to show.
    pub(crate) fn post_a_day(&self) {
        let now = Timestamp::now();
        for (number, source) in sources().into_iter().enumerate() {
            let mut lines = String::new();
            for step in (0_i32..144).rev() {
                let at = now - SignedDuration::from_mins(i64::from(step) * 10 + 1);
                for line in 0..traffic(number, step) {
                    push_line(
                        &mut lines,
                        at - SignedDuration::from_secs(line.into()),
                        number,
                        step,
                        line,
                    );
                }
            }
            self.post(&source, &lines);
        }
    }

    /// Posts what happens now on four sources: requests, and what applications say. Some seconds long, so that lines come mixed.
    pub(crate) fn post_moments(&self, rounds: u32) {
        for round in 0..rounds {
            std::thread::sleep(Duration::from_millis(150));
            let at = Timestamp::now().to_zoned(TimeZone::UTC);
            let order = 48_200 + round;
            let status = [200, 200, 304, 200, 404, 200, 201, 503][round as usize % 8];
            let path = [
                "/",
                "/api/orders",
                "/static/app.js",
                "/cart",
                "/old-page",
                "/search?q=tea",
            ][round as usize % 6];
            let access = |client: u32, path: &str, status: u16| {
                let time = at.strftime("%d/%b/%Y:%H:%M:%S +0000");
                format!(
                    "192.0.2.{client} - - [{time}] \"GET {path} HTTP/1.1\" {status} {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"\n",
                    600 + round * 173 % 9000
                )
            };
            let said = |service: &str, level: &str, text: &str| {
                let time = at.strftime("%FT%TZ");
                format!(
                    "{{\"time\":\"{time}\",\"level\":\"{level}\",\"service\":\"{service}\",\"message\":\"{text}\"}}\n"
                )
            };
            self.post("198.51.100.1", &access(10 + round % 90, path, status));
            self.post("198.51.100.3", &access(17, "/healthz", 200));
            let payment = match round % 5 {
                3 => said(
                    "payment",
                    "error",
                    &format!("order {order}: card service timed out after 3000 ms"),
                ),
                4 => said("payment", "warn", &format!("order {order}: retry 1 of 3")),
                _ => said(
                    "payment",
                    "info",
                    &format!("order {order} paid by card in {} ms", 180 + round * 37 % 400),
                ),
            };
            self.post("203.0.113.1", &payment);
            let stock = format!("cache refreshed, {} items", 1200 + round);
            self.post("203.0.113.2", &said("stock", "debug", &stock));
        }
    }

    /// Waits until the index has lines with this word.
    pub(crate) fn wait_for_indexed(&self, word: &str, lines: u64) {
        wait_for("the lines to be found", WAIT_LIMIT, || {
            let output = self.command(&["search", "--count", word]).output().unwrap();
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .replace(',', "")
                .parse()
                .is_ok_and(|found: u64| found >= lines)
        });
    }

    /// `status --json`.
    pub(crate) fn status(&self) -> Value {
        let output = self.command(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Stops everything and starts it again.
    pub(crate) fn restart(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let status = process.stop(nix::sys::signal::Signal::SIGTERM, WAIT_LIMIT);
        assert_eq!(status.code(), Some(0));
        self.run();
    }

    fn run(&mut self) {
        let mut command = self.command(&["run"]);
        self.process = Some(Process::start(&self.test_folder, "run", &mut command));
        wait_for("the console to listen", WAIT_LIMIT, || {
            std::net::TcpStream::connect(("127.0.0.1", self.console)).is_ok()
        });
        wait_for("the relay to listen", WAIT_LIMIT, || {
            self.groups
                .iter()
                .all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
    }

    fn add_user(&self) {
        let mut child = self
            .command(&["console", "user", "add", USER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, format!("{PASSWORD}\n").as_bytes()).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success(), "the user is added");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = logferry();
        command.arg("-c").arg(&self.config).args(arguments);
        command
    }
}

/// The sources of the day.
pub(crate) fn sources() -> Vec<String> {
    let web = (1..=7).map(|number| format!("198.51.100.{number}"));
    web.chain((1..=5).map(|number| format!("203.0.113.{number}")))
        .collect()
}

/// Lines of a source in a step: less at night, one source silent for a while.
fn traffic(number: usize, step: i32) -> u32 {
    let is_night = (60..100).contains(&step);
    let is_silent = number == 4 && (20..40).contains(&step);
    if is_silent {
        return 0;
    }
    let base = u32::try_from(12 - number.min(11)).unwrap_or(1);
    let wave = u32::try_from((step * 7 + i32::try_from(number).unwrap_or(0) * 5) % 6).unwrap_or(0);
    if is_night { base / 3 + 1 } else { base + wave }
}

fn push_line(lines: &mut String, at: Timestamp, number: usize, step: i32, line: u32) {
    const PATHS: [&str; 5] = ["/", "/api/orders", "/api/orders/4711", "/static/app.js", "/login"];
    let path = PATHS[(line as usize + number) % PATHS.len()];
    let is_bad = (30..36).contains(&step) && line.is_multiple_of(3);
    let status = match (is_bad, line % 11) {
        (true, _) => 503,
        (_, 7) => 404,
        (_, 9) => 301,
        _ => 200,
    };
    let time = at
        .to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%d/%b/%Y:%H:%M:%S +0000")
        .to_string();
    writeln!(
        lines,
        "192.0.2.{} - - [{time}] \"GET {path} HTTP/1.1\" {status} {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
        line % 250,
        200 + line * 37
    )
    .unwrap();
}
