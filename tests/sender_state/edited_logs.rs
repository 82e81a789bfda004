//! People edit, copy, shorten and restore logs beside a running sender. No line comes twice, and none is lost.

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use logferry_traffic::{LogFile, Traffic};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::run_tool;
use crate::support::{WAIT_LIMIT, wait_for};

/// A pipeline, its log, and all that was ever written to it.
struct EditedLog {
    pipeline: Pipeline,
    log: LogFile,
    traffic: Traffic,
    written: Vec<u8>,
}

impl EditedLog {
    fn new(test: &'static str) -> Self {
        let pipeline = Pipeline::new(test, "2s");
        let log = LogFile::open(&pipeline.config.log).unwrap();
        let (traffic, written) = (traffic(test, 1), Vec::new());
        Self {
            pipeline,
            log,
            traffic,
            written,
        }
    }

    fn write(&mut self, lines: usize) {
        let before = fs::read(self.log.path()).unwrap().len();
        append(&mut self.log, &mut self.traffic, Timestamp::now(), lines);
        let text = fs::read(self.log.path()).unwrap();
        self.written.extend_from_slice(&text[before..]);
    }

    fn wait(&mut self) {
        let written = WrittenLog::of(self.written.clone());
        self.pipeline.wait_for_received(written.kept_lines());
    }

    /// A killed sender knows what its last checkpoint says.
    fn wait_for_checkpoint(&self) {
        let size = fs::metadata(self.log.path()).unwrap().len();
        let checkpoint = self.pipeline.config.state_dir.join("checkpoint");
        wait_for("the checkpoint", WAIT_LIMIT, || {
            let text = fs::read_to_string(&checkpoint).unwrap_or_default();
            let saved: Value =
                serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap_or_default();
            let streams = saved["streams"].as_array().cloned().unwrap_or_default();
            streams.iter().any(|saved| saved["stream"]["committed"] == size)
        });
    }

    fn path(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.log.path().display())
    }

    fn finish(self) {
        let written = WrittenLog::of(self.written);
        self.pipeline.finish(&written, LineOrder::WithinWindow);
    }
}

fn shell(script: &str) {
    run_tool(Command::new("sh").args(["-c", script]), "dash");
}

#[test]
fn a_rotated_log_edited_by_sed_is_held_and_copies_of_rotated_logs_are_known() {
    let mut edited = EditedLog::new("edited");
    edited.write(500);
    edited.log.rename().unwrap();
    edited.log.reopen().unwrap();
    edited.write(200);
    edited.pipeline.start_all();
    edited.wait();

    let rotated = edited.path(".1");
    shell(&format!("cp {rotated} {}", edited.path(".old")));
    shell(&format!(
        "cp {rotated} {}; gzip {}",
        edited.path(".7"),
        edited.path(".7")
    ));
    shell(&format!("sed -i 's/^[0-9]*/0/' {rotated}"));
    let is_named = |pipeline: &Pipeline| {
        let (code, status) = pipeline.json("status");
        let held = status["held"].as_array().cloned().unwrap_or_default();
        let is_it = |held: &Value| {
            let reason = held["reason"].as_str().unwrap_or_default();
            held["path"] == *rotated && reason.contains("logferry backfill")
        };
        code == 1 && held.len() == 1 && held.iter().all(is_it)
    };
    assert!(
        edited.pipeline.becomes_true(is_named),
        "{}",
        edited.pipeline.json("status").1
    );
    edited.pipeline.stop(Role::Sender, Signal::SIGTERM);
    edited.write(100);
    edited.pipeline.start(Role::Sender);
    edited.wait();
    assert!(
        edited.pipeline.becomes_true(is_named),
        "{}",
        edited.pipeline.json("status").1
    );

    let lines = fs::read(&rotated).unwrap();
    let shipped = edited.pipeline.command(&["backfill", &rotated]);
    assert!(shipped.status.success(), "{shipped:?}");
    edited.written.extend(lines);
    edited.wait();
    fs::remove_file(&rotated).unwrap();
    edited.finish();
}

#[test]
fn a_log_of_which_the_last_lines_are_kept_goes_on_after_them() {
    let mut edited = EditedLog::new("shortened");
    edited.pipeline.start_all();
    let log = edited.path("");
    for down in [false, true] {
        edited.write(500);
        edited.wait();
        if down {
            edited.pipeline.stop(Role::Sender, Signal::SIGTERM);
        }
        let part = Path::new(&log).with_file_name("part");
        shell(&format!(
            "tail -n 100 {log} > {0}; cat {0} > {log}; rm {0}",
            part.display()
        ));
        edited.write(50);
        if down {
            edited.pipeline.start(Role::Sender);
        }
        edited.wait();
    }
    edited.finish();
}

#[test]
fn a_log_that_is_put_back_to_an_older_state_goes_on_after_it() {
    let mut edited = EditedLog::new("put-back");
    edited.pipeline.start_all();
    let log = edited.path("");
    let kept = Path::new(&log).with_file_name("kept");
    for (down, put_back) in [
        (false, "cat {kept} > {log}"),
        (true, "cat {kept} > {log}"),
        (true, "cp -p {kept} {log}.tmp; mv {log}.tmp {log}"),
    ] {
        edited.write(300);
        edited.wait();
        shell(&format!("cp -p {log} {}", kept.display()));
        edited.write(200);
        edited.wait();
        if down {
            edited.wait_for_checkpoint();
            edited.pipeline.kill(Role::Sender);
        }
        shell(
            &put_back
                .replace("{kept}", &kept.display().to_string())
                .replace("{log}", &log),
        );
        edited.log.reopen().unwrap();
        edited.write(50);
        if down {
            edited.pipeline.start(Role::Sender);
        }
        edited.wait();
    }
    edited.finish();
}
