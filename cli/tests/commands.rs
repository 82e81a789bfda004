//! The program from outside: what it prints and how it exits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

mod program;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use program::{error_of, logferry, output};

/// Writes a configuration into `dir`.
fn configuration(dir: &Path, text: &str) -> String {
    let file = dir.join("logferry.yaml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Writes a configuration of a relay in `dir` on a free port, without other roles.
fn relay(dir: &Path) -> String {
    let data_dir = dir.join("relay");
    let data_dir = data_dir.display();
    configuration(
        dir,
        &format!(
            "relay:\n  data_dir: {data_dir}\n  metrics: null\n  \
             groups:\n    - {{name: web, listen: \"127.0.0.1:0\", sources: [127.0.0.1]}}\n"
        ),
    )
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [
        &["ferry"][..],
        &[],
        &["status", "--loud"],
        &["generate"],
        &["audit", "--since", "soon"],
    ] {
        assert_eq!(error_of(arguments).0, 2, "{arguments:?}");
    }
}

#[test]
fn missing_configuration_is_named_and_exits_with_2() {
    let (code, text) = error_of(&["-c", "/nonexistent/logferry.yaml", "run"]);
    assert_eq!(code, 2);
    assert!(
        text.starts_with("logferry: /nonexistent/logferry.yaml: "),
        "{text}"
    );
}

#[test]
fn wrong_key_is_named_with_its_line_and_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let file = configuration(dir.path(), "relay:\n  data_dirr: /tmp/x\n");
    let (code, text) = error_of(&["check", "-c", &file]);
    assert_eq!(code, 2);
    assert!(
        text.contains("logferry.yaml:2:") && text.contains("data_dirr"),
        "{text}"
    );
}

#[test]
fn role_without_its_section_is_a_configuration_error() {
    let dir = tempfile::tempdir().unwrap();
    let (code, text) = error_of(&["sender", "-c", &relay(dir.path())]);
    assert_eq!(code, 2);
    assert!(text.contains("sender: there is no such section"), "{text}");
}

#[test]
fn numbers_need_an_indexer() {
    let dir = tempfile::tempdir().unwrap();
    let (code, text) = error_of(&["numbers", "-c", &relay(dir.path())]);
    assert!(
        code == 2 && text.contains("there is no indexer section"),
        "{code} {text}"
    );
    let folders = (dir.path().join("relay"), dir.path().join("index"));
    let text = format!(
        "indexer:\n  data_dir: {}\n  store_dir: {}\n",
        folders.0.display(),
        folders.1.display()
    );
    let (code, text) = error_of(&["numbers", "-c", &configuration(dir.path(), &text)]);
    assert!(
        code == 3 && text.contains("index.db does not exist: start the indexer once"),
        "{code} {text}"
    );
}

#[test]
fn accounts_of_the_console_are_made_listed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| dir.path().join(name).display().to_string();
    let (data, index, state) = (folder("relay"), folder("index"), folder("console"));
    let text = format!("console:\n  data_dir: {data}\n  store_dir: {index}\n  state_dir: {state}\n");
    let file = configuration(dir.path(), &text);
    let run = |arguments: &[&str], input: &str| {
        let mut command = logferry(&["-c", &file, "console"]);
        let piped = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
        let written = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        drop(written);
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run(&["user", "add", "anna"], "too short\n");
    assert!(
        code == 2 && text.contains("a password has at least 10 characters"),
        "{code} {text}"
    );
    let added = run(&["user", "add", "anna", "--scope", "read"], "correct horse\n");
    assert_eq!(added, (0, "user anna (scope read) added\n".to_owned()));
    let (_, text) = run(&["user", "list"], "");
    assert!(text.contains("anna") && text.contains("read"), "{text}");
    let (code, text) = run(&["user", "remove", "ana"], "");
    assert_eq!(
        (code, text.as_str()),
        (2, "logferry: there is no user ana; there are: anna\n")
    );
    assert_eq!(run(&["user", "remove", "anna"], "").0, 0);
    let (code, token) = run(&["token", "add", "ci", "--scope", "act", "--expires", "90d"], "");
    assert!(code == 0 && token.starts_with("lfct_"), "{code} {token}");
    let (_, listed) = run(&["token", "list", "--json"], "");
    assert!(
        listed.contains("\"name\": \"ci\"") && !listed.contains("lfct_"),
        "{listed}"
    );
    assert_eq!(run(&["token", "remove", "ci"], "").0, 0);
    let (code, text) = run(&["token", "add", "ci"], "");
    assert!(code == 2 && text.contains("--scope"), "{code} {text}");
}

#[test]
fn audit_without_a_ledger_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (code, text) = error_of(&["audit", "-c", &relay(dir.path())]);
    assert_eq!(code, 3);
    assert!(text.contains("start the relay once"), "{text}");
}

#[test]
fn check_lists_the_roles_of_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = relay(dir.path());
    let output = output(&["check", "-c", &file]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(&*format!("✓ configuration: {file}: valid, for relay"))
    );
    for thing in ["✓ relay: ", "✓ disk of "] {
        assert!(
            lines.next().is_some_and(|line| line.starts_with(thing)),
            "{thing}: {text}"
        );
    }
    assert_eq!(lines.next(), None, "{text}");
}

#[test]
fn check_is_read_by_programs_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let items = |file: &str, code| {
        let output = output(&["check", "--json", "-c", file]);
        assert_eq!(output.status.code(), Some(code));
        let items: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        items
    };
    let well = items(&relay(dir.path()), 0);
    assert!(
        well.iter()
            .all(|item| item["state"] == "ok" && item["advice"].is_null()),
        "{well:?}"
    );
    let log = dir.path().join("none.log");
    let text = format!(
        "sender:\n  relay: http://127.0.0.1:1\n  state_dir: {}/s\n  logs: [{{path: {}}}]\n",
        dir.path().display(),
        log.display()
    );
    let wrong = items(&configuration(dir.path(), &text), 1);
    let item = wrong.iter().find(|item| item["state"] == "problem").unwrap();
    assert_eq!(
        *item,
        serde_json::json!({"name": "sender", "state": "problem", "detail": format!("{}: there is no such file yet", log.display()),
                           "advice": "it is shipped once it is there"})
    );
    let file = configuration(dir.path(), "sender: {}\nrelai: {}\n");
    let invalid = items(&file, 2);
    assert_eq!(invalid.len(), 3, "{invalid:?}");
    assert_eq!(invalid[2]["name"], format!("configuration {file}:2"));
    assert_eq!(invalid[2]["advice"], "did you mean `relay`?");
}

#[test]
fn the_program_alone_says_what_it_is_and_three_commands_to_try() {
    let (code, text) = error_of(&[]);
    assert_eq!(code, 2, "nothing was asked for");
    for command in [
        "logferry demo ",
        "logferry init sender ",
        "logferry init relay-host ",
        "`logferry --help`",
    ] {
        assert!(text.contains(command), "{text}");
    }
}

#[test]
fn example_configurations_are_valid() {
    for example in ["sender.yaml", "relay.yaml"] {
        let file = format!("{}/../deploy/examples/{example}", env!("CARGO_MANIFEST_DIR"));
        let output = output(&["-c", &file, "check"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        // Its log or its key may not be on this host: that is no mistake in the file, and has exit code 1.
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{example}: {errors}{told}"
        );
        assert!(told.contains(": valid, for "), "{example}: {told}");
        assert_eq!(errors, "", "{example}");
    }
}

#[test]
fn the_log_of_the_example_is_where_the_packages_of_nginx_write_it() {
    let example = include_str!("../../deploy/examples/sender.yaml");
    assert!(example.contains("path: /var/log/nginx/access.log "), "{example}");
}

#[test]
fn check_connect_finds_a_host_that_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    // A UDP socket keeps the port number, and no TCP socket listens on it.
    let closed = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = format!("sender:\n  relay: http://{closed}\n  logs:\n    - path: /nonexistent/access.log\n");
    let output = output(&["check", "--connect", "-c", &configuration(dir.path(), &text)]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("relay http://{closed}: cannot connect")),
        "{text}"
    );
}

#[test]
fn completions_contain_commands_and_options() {
    let output = output(&["completions", "bash"]);
    let script = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && script.contains("housekeeper") && script.contains("--connect"));
}

/// A role in its own process. It is killed when this is dropped.
struct RoleProcess(Child);

impl RoleProcess {
    fn start(arguments: &[&str]) -> Self {
        Self(logferry(arguments).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    /// Reads its log up to a line that contains `part`.
    fn wait_for(&mut self, part: &str) {
        let mut log = BufReader::new(self.0.stderr.as_mut().unwrap());
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "the log ended without {part:?}"
            );
        }
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a file, such as the relay's ledger, which it creates after it began to catch signals.
fn wait_for_file(file: &Path) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !file.exists() {
        assert!(
            std::time::Instant::now() < deadline,
            "{} did not appear",
            file.display()
        );
        std::thread::yield_now();
    }
}

#[test]
fn sigterm_stops_a_role_with_0_and_sighup_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = relay(dir.path());
    let mut running = RoleProcess::start(&["relay", "-c", &file]);
    wait_for_file(&dir.path().join("relay/ledger.db"));
    running.signal(Signal::SIGHUP);
    running.wait_for("no section of a running role changed");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[cfg(feature = "demo")]
#[test]
fn demo_delivers_every_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let output = output(&[
        "demo",
        "--seconds",
        "3",
        "--rate",
        "600",
        "--dir",
        dir.path().to_str().unwrap(),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{stderr}");
    assert!(text.contains("every line written was delivered once: "), "{text}");
    assert!(
        text.contains("one search in these lines") && stderr.contains("was searched, in "),
        "{text}\n{stderr}"
    );
    assert!(std::fs::read_dir(dir.path().join("delivered")).unwrap().count() >= 3);
}

#[test]
fn roles_wait_for_the_first_start_of_the_relay_without_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("relay");
    std::fs::create_dir(&data_dir).unwrap();
    let (data_dir, store_dir) = (data_dir.display(), dir.path().join("index"));
    let store_dir = store_dir.display();
    let file = configuration(
        dir.path(),
        &format!(
            "forwarder:\n  data_dir: {data_dir}\n  destinations: [{{name: edw, host: 127.0.0.1, port: 9, user: u, directory: /, \
             password: x, host_key: \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}}]\n\
             monitor:\n  data_dir: {data_dir}\n  metrics: null\n  \
             smtp: {{host: 127.0.0.1, port: 9, from: a@example.com, to: [a@example.com]}}\n\
             housekeeper:\n  data_dir: {data_dir}\n  schedule: \"* * * * * *\"\n\
             indexer:\n  data_dir: {data_dir}\n  store_dir: {store_dir}\n"
        ),
    );
    let mut command = logferry(&["-c", &file, "run"]);
    let mut roles = command.stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(roles.stderr.take().unwrap());
    let (mut waiting, mut said) = (0, String::new());
    for line in stderr.lines().map_while(Result::ok) {
        waiting += usize::from(line.contains("waiting for the relay's first start: no ledger in "));
        said += &(line + "\n");
        if waiting == 4 {
            break;
        }
    }
    roles.kill().unwrap();
    roles.wait().unwrap();
    assert_eq!(waiting, 4, "{said}");
    assert!(!said.contains("ERROR"), "{said}");
}

#[test]
fn check_for_a_role_refuses_only_what_makes_the_role_unable_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    let sender = format!(
        "sender:\n  relay: http://127.0.0.1:1\n  state_dir: {shown}/state\n  logs: [{{path: {shown}/none.log}}]\n"
    );
    let check = |text: &str, role: &str| {
        let output = output(&["check", "--for", role, "-c", &configuration(dir.path(), text)]);
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    };
    assert_eq!(
        check(&sender, "sender").0,
        0,
        "a log that is not there yet comes later"
    );
    let others = format!("{sender}relay:\n  data_dirr: /x\nformats: {{shop: combind}}\n");
    assert_eq!(check(&others, "sender").0, 0, "it does not use these");
    for role in ["relay", "run"] {
        let (code, said) = check(&others, role);
        assert!(code == 2 && said.contains("data_dirr"), "{role}: {code} {said}");
    }
    let (code, said) = check(&sender.replace("logs:", "logz:"), "sender");
    assert!(code == 2 && said.contains("sender.logz"), "{code} {said}");
}
