//! `logferry generate` and `logferry simulate` from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod program;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use program::{error_of, logferry, output};

#[test]
fn generate_numbers_its_lines_and_appends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let out = file.to_str().unwrap();
    for seed in ["1", "2"] {
        let ids = format!("--ids=s{seed}");
        assert_eq!(
            error_of(&["generate", "--lines", "2500", "--seed", seed, &ids, "--out", out]),
            (0, String::new())
        );
    }
    let text = std::fs::read(&file).unwrap();
    let ids: Vec<_> = text
        .split(|&b| b == b'\n')
        .filter_map(logferry_traffic::id_in)
        .collect();
    assert_eq!(ids.len(), 5_000);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 5_000);
}

#[test]
fn generate_respects_rate_and_time() {
    let output = output(&["generate", "--rate", "500", "--seconds", "1"]);
    let lines = output.stdout.split(|&b| b == b'\n').count() - 1;
    assert!(output.status.success() && (1..=500).contains(&lines), "{lines}");
}

#[test]
fn generate_writes_what_applications_log_in_each_format() {
    for (format, beginning) in [("json", "{\"timestamp\":\""), ("text", "20"), ("ltsv", "time:20")] {
        let output = output(&[
            "generate",
            "--lines",
            "50",
            "--format",
            format,
            "--levels",
            "AUDIT=1",
            "--ids=app",
        ]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert_eq!(text.lines().count(), 50);
        for line in text.lines() {
            assert!(line.starts_with(beginning) && line.contains("AUDIT"), "{line}");
            assert!(logferry_traffic::id_in(line.as_bytes()).is_some(), "{line}");
        }
    }
}

#[test]
fn generate_refuses_options_that_do_not_go_together() {
    for (options, text) in [
        (&["--levels", "INFO=1"][..], "--levels is for --format json"),
        (
            &["--format", "json", "--health-every", "5"],
            "--health-every is for --format nginx",
        ),
        (
            &["--burst", "5x", "--burst-every", "1s"],
            "--burst needs a --rate above 0",
        ),
    ] {
        let (code, error) = error_of(&[&["generate", "--lines", "1"], options].concat());
        assert!(code == 2 && error.contains(text), "{code} {error}");
    }
}

#[test]
fn simulate_says_why_nothing_was_acknowledged() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, error) = error_of(&["simulate", "--to", "nowhere"]);
    assert!(
        code == 2 && error.contains("HOST:PORT of a TCP source"),
        "{code} {error}"
    );
    let to = closed.to_string();
    let (code, error) = error_of(&["simulate", "--to", &to, "--seconds", "1", "--clients", "2"]);
    assert!(
        code == 3 && error.contains(&format!("cannot connect to {to}")),
        "{code} {error}"
    );
}

#[test]
fn generate_ends_without_an_error_when_its_reader_goes_away() {
    let mut child = logferry(&["generate", "--rate", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(child.wait().unwrap().success());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}
