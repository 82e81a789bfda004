//! `logferry tail` beside a running relay.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::servers::relay::RelayProcess;
use crate::support::{WAIT_LIMIT, wait_for};

/// A running `tail`; killed if the test ends before it.
struct TailProcess {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl TailProcess {
    fn start(relay: &RelayProcess, options: &[&str]) -> Self {
        let arguments = [&["tail"], options].concat();
        let mut child = relay.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines: Some(lines),
        }
    }

    fn line(&mut self) -> String {
        self.lines
            .as_mut()
            .unwrap()
            .next()
            .expect("tail goes on")
            .unwrap()
    }

    fn assert_ends_well(&mut self) {
        wait_for("tail to end", WAIT_LIMIT, || {
            self.child.try_wait().unwrap().is_some()
        });
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for TailProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Posts numbered lines from `first` on while `tail` starts. Returns the number of the first shown line and the number of
/// the next line to post.
fn first_shown(
    relay: &RelayProcess,
    tail: &mut TailProcess,
    first: u32,
    line: impl Fn(u32) -> String + Sync,
) -> (u32, u32) {
    std::thread::scope(|scope| {
        let shown = scope.spawn(|| tail.line());
        let mut next = first;
        while !shown.is_finished() {
            relay.post(&line(next));
            next += 1;
        }
        let text = shown.join().unwrap();
        let number = text.rsplit(' ').next().and_then(|number| number.parse().ok());
        (number.unwrap_or_else(|| panic!("no number in {text:?}")), next)
    })
}

/// Every tenth line begins the next hour, so batches are sealed while `tail` reads them.
fn line(number: u32) -> String {
    let (day, hour) = (1 + number / 240 % 28, number / 10 % 24);
    format!("[{day:02}/Nov/2025:{hour:02}:20:03 +0600] \u{1b}[31m {number}\n")
}

#[test]
fn lines_are_shown_once_as_they_are_committed() {
    let relay = RelayProcess::start("tail", "sources: [\"127.0.0.1\"]");
    relay.post(&line(0));
    let mut tail = TailProcess::start(&relay, &[]);
    let (shown, next) = first_shown(&relay, &mut tail, 1, line);
    for number in next..next + 200 {
        relay.post(&line(number));
    }
    for number in shown + 1..next + 200 {
        assert_eq!(
            tail.line() + "\n",
            line(number),
            "unchanged, as no terminal reads them"
        );
    }
    kill(
        Pid::from_raw(i32::try_from(tail.child.id()).unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    tail.assert_ends_well();
}

#[test]
fn only_matching_lines_are_shown_and_a_closed_pipe_ends_tail() {
    let relay = RelayProcess::start("tail-some", "sources: [\"127.0.0.1\", \"198.51.100.1\"]");
    let mut others = TailProcess::start(&relay, &["--source", "198.51.100.1"]);
    let mut tail = TailProcess::start(&relay, &["--source", "127.0.0.1", "--group", "web-1", "needle"]);
    let text = |number| {
        format!("[21/Nov/2026:08:20:03 +0600] hay {number}\n[21/Nov/2026:08:20:03 +0600] needle {number}\n")
    };
    let (_, next) = first_shown(&relay, &mut tail, 1, text);
    relay.post(&text(next));
    assert!(tail.line().contains("needle"));
    drop(tail.lines.take());
    tail.assert_ends_well();
    // It has shown nothing and must still run.
    assert!(others.child.try_wait().unwrap().is_none());
    drop(others.lines.take());
    others.assert_ends_well();
}

#[test]
fn name_of_a_source_or_group_that_does_not_exist_is_an_error_that_says_the_nearest_one() {
    let relay = RelayProcess::start("no-such-name", "sources: [\"127.0.0.1\"]");
    relay.post(&line(0));
    for (arguments, known) in [
        (&["audit", "--source", "127.0.0.11"][..], "127.0.0.1"),
        (&["audit", "--json", "--source", "127.0.0.11"], "127.0.0.1"),
        (&["tail", "--source", "127.0.0.11"], "127.0.0.1"),
        (&["tail", "--group", "wbe-1"], "web-1"),
        (&["tail", "--log", "acess"], "access"),
        (&["retry", "no-such-batch"], "127-0-0-1"),
    ] {
        let output = relay.command(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let near = stderr.split_once("the nearest known one is ");
        assert!(near.is_some_and(|(_, near)| near.contains(known)), "{stderr}");
    }
    let known = relay
        .command(&["audit", "--source", "127.0.0.1"])
        .output()
        .unwrap();
    assert_eq!(known.status.code(), Some(0));
}
