//! Logs that the sender cannot ship are told by `check`, by the sender's log, and by `status` on both hosts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;

use logferry_traffic::LogFile;
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use serde_json::Value;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{append, traffic};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::test_folder::TestFolder;
use crate::support::{WAIT_LIMIT, logferry, wait_for};

/// A user that every system has and that owns nothing.
const NOBODY: u32 = 65534;

/// Runs `check` as a user who is not root.
fn check(file: &Path) -> (i32, String) {
    let mut command = logferry();
    command.arg("check").arg("-c").arg(file);
    if Uid::effective().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), text)
}

#[test]
fn check_names_each_log_path_that_leads_nowhere_with_the_reason() {
    let folder = TestFolder::new("check-paths");
    let root = folder.path("");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let logs = folder.create_dir("log");
    fs::write(logs.join("access.log"), "line\n").unwrap();
    fs::write(logs.join("private.log"), "line\n").unwrap();
    fs::set_permissions(logs.join("private.log"), fs::Permissions::from_mode(0o000)).unwrap();
    symlink("/dev/null", logs.join("stdout.log")).unwrap();
    let closed = folder.create_dir("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let state = folder.create_dir("state");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    let (log, root) = (logs.display(), root.display());
    let text = format!(
        "sender:\n  relay: http://127.0.0.1:1\n  state_dir: {root}state\n  logs:\n\
         \x20   - {{path: {log}/access.log, name: right}}\n\
         \x20   - {{path: {log}/acces.log, name: misspelt}}\n\
         \x20   - {{path: {log}/private.log, name: private}}\n\
         \x20   - {{path: {log}/stdout.log, name: stdout}}\n\
         \x20   - {{path: {root}closed/access.log, name: closed}}\n\
         \x20   - {{path: \"{root}nowhere/*.log\", name: nowhere}}\n\
         \x20   - {{path: \"{log}/*.err\", name: later}}\n"
    );
    let file = folder.write("logferry.yaml", &text);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, told) = check(&file);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(code, 1, "{told}");
    for expected in [
        format!(
            "{log}/acces.log: there is no such file yet; it is shipped once it is there; is {log}/access.log meant?"
        ),
        format!("{log}/private.log: user "),
        format!("{log}/stdout.log: is a character device (it links to /dev/null), "),
        format!("{root}closed: user "),
        format!("{root}nowhere/*.log: the folder {root}nowhere does not exist"),
        format!(
            "{log}/*.err: no file matches; correct the pattern, unless its files come later: each is shipped once it is there"
        ),
    ] {
        assert!(told.contains(&expected), "{expected}\nis not in\n{told}");
    }
    assert!(told.contains("may not read it: it belongs to "), "{told}");
    assert!(
        told.contains("may not enter this folder: it belongs to "),
        "{told}"
    );
    assert!(
        !told.contains("access.log: there is no such file yet; it is shipped once it is there\n"),
        "{told}"
    );
}

/// What the relay's `status` says of the only source.
fn source(status: &Value) -> &Value {
    &status["sources"][0]
}

#[test]
fn a_misspelt_log_is_told_by_sender_and_status_until_it_is_there() {
    let mut pipeline = Pipeline::new("misspelt", "2s");
    let folder = pipeline.config.log.parent().unwrap().to_owned();
    pipeline.config.other_log = Some(folder.join("acces.log"));
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    append(&mut log, &mut traffic("misspelt", 1), jiff::Timestamp::now(), 500);
    let written = WrittenLog::read(log.path());
    pipeline.start_all();
    pipeline.wait_for_output(Role::Sender, "the sender has started", 1);
    pipeline.wait_for_output(Role::Sender, "from the beginning", 1);
    pipeline.wait_for_output(Role::Sender, "log acces has no file: ", 1);
    pipeline.wait_for_received(written.kept_lines());
    wait_for("status to name the log", WAIT_LIMIT, || {
        let (code, status) = pipeline.json("status");
        code == 1 && source(&status)["log_problems"][0]["kind"] == "no_match"
    });
    // Long lines are wrapped.
    let told = String::from_utf8(pipeline.command(&["status"]).stdout).unwrap();
    let told: Vec<_> = told.split_whitespace().collect();
    let told = told.join(" ");
    assert!(told.contains("acces.log: there is no such file yet"), "{told}");

    // On the sender's own host there is no relay data.
    let own = format!(
        "sender:\n  relay: http://127.0.0.1:{}\n  state_dir: {:?}\n  logs: [{{path: {:?}}}]\n",
        pipeline.config.relay_port, pipeline.config.state_dir, pipeline.config.log
    );
    let own = pipeline.test_folder.write("sender.yaml", &own);
    let status = || {
        let mut command = logferry();
        let output = command
            .args(["status", "--json", "-c"])
            .arg(&own)
            .output()
            .unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), status["sender"].clone())
    };
    wait_for("the sender's own account", WAIT_LIMIT, || {
        status().1["source"] == "127.0.0.1"
    });
    let (code, sender) = status();
    assert_eq!((code, &sender["state"]), (Some(1), &"running".into()), "{sender}");
    assert_eq!(sender["log_problems"][0]["log"], "acces", "{sender}");

    fs::write(folder.join("acces.log"), "").unwrap();
    pipeline.wait_for_output(Role::Sender, "is found and can be read now", 1);
    wait_for("status to be content", WAIT_LIMIT, || {
        pipeline.json("status").0 == 0
    });
    wait_for("the sender's own status to be content", WAIT_LIMIT, || {
        status().0 == Some(0)
    });
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    let (code, sender) = status();
    assert_eq!((code, &sender["state"]), (Some(1), &"stopped".into()), "{sender}");
    pipeline.start(Role::Sender);
    pipeline.wait_for_output(Role::Sender, "goes on at byte", 1);
    pipeline.finish(&written, LineOrder::WholeLog);
}
