//! Commands of root and of ordinary users on the folders of the roles' user.
//!
//! They need root, or a user namespace with more than one user (`unshare --map-auto`, from util-linux 2.38 on with
//! `uidmap` and a line for this user in /etc/subuid). Without either they fail and say so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use logferry_durable::{Disk, LockFile, RealDisk};
use logferry_ledger::Ledger;
use logferry_numbers::IndexDb;
use logferry_test_servers::ran_as_root;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// `nobody` and its group, whose name this host knows; and a user without a name.
const OWNER: u32 = 65_534;
const STRANGER: u32 = 61_234;

/// A relay host whose folders belong to [`OWNER`]: its configuration's folder, `etc`, is closed to others.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let host = Self(dir);
        fs::create_dir_all(host.path("data")).unwrap();
        fs::create_dir_all(host.path("etc")).unwrap();
        let data_dir = host.path("data").display().to_string();
        let config = format!(
            "relay:\n  data_dir: {data_dir}\n  metrics: null\n  groups: [{{name: web, listen: \"127.0.0.1:0\"}}]\n\
             housekeeper:\n  data_dir: {data_dir}\n"
        );
        fs::write(host.path("etc/logferry.yaml"), config).unwrap();
        drop(Ledger::open_or_create(&host.path("data")).unwrap());
        for path in [
            host.path("data"),
            host.path("data/ledger.db"),
            host.path("etc"),
            host.path("etc/logferry.yaml"),
        ] {
            chown(&path, Some(OWNER), Some(OWNER)).unwrap();
        }
        for closed in ["data", "etc"] {
            fs::set_permissions(host.path(closed), Permissions::from_mode(0o750)).unwrap();
        }
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command with the host's configuration.
    fn run(&self, user: Option<u32>, arguments: &[&str]) -> Output {
        self.command(user, arguments).output().unwrap()
    }

    fn command(&self, user: Option<u32>, arguments: &[&str]) -> Command {
        // The program itself may be in a folder that is closed to the user.
        let program = self.path("logferry");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_logferry"), &program).unwrap();
        }
        let mut command = match user {
            None => Command::new(&program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
                command.args([&user, &group, "--clear-groups"]).arg(&program);
                command
            }
        };
        command
            .arg("-c")
            .arg(self.path("etc/logferry.yaml"))
            .args(arguments)
            .env_remove("LOGFERRY_LOG")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }
}

/// The files below a folder that do not belong to [`OWNER`].
fn foreign_files(folder: &Path) -> Vec<PathBuf> {
    let mut foreign = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            foreign.extend(foreign_files(&entry.path()));
        }
        if (metadata.uid(), metadata.gid()) != (OWNER, OWNER) {
            foreign.push(entry.path());
        }
    }
    foreign
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn commands_of_root_leave_no_file_that_the_roles_cannot_write() {
    if ran_as_root("commands_of_root_leave_no_file_that_the_roles_cannot_write") {
        return;
    }
    let host = Host::new();
    for command in [
        &["housekeeper", "--once"][..],
        &["status"],
        &["audit"],
        &["retry"],
        &["fsck"],
        &["fsck", "--rebuild"],
    ] {
        if command.contains(&"--rebuild") {
            for file in ["data/ledger.db", "data/ledger.db-wal", "data/ledger.db-shm"] {
                let _ = fs::remove_file(host.path(file));
            }
        }
        let output = host.run(None, command);
        let code = output.status.code().unwrap();
        assert!(code <= 1, "{command:?}: {code}: {}", text(&output.stderr));
        assert_eq!(
            foreign_files(&host.path("data")),
            Vec::<PathBuf>::new(),
            "{command:?}"
        );
    }
    let logged = text(&host.run(None, &["housekeeper", "--once"]).stderr);
    assert!(logged.contains("acting as nobody, the owner of "), "{logged}");
}

#[test]
fn root_gets_the_result_of_an_audit_in_a_folder_of_its_own() {
    if ran_as_root("root_gets_the_result_of_an_audit_in_a_folder_of_its_own") {
        return;
    }
    let host = Host::new();
    let own = host.path("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, Permissions::from_mode(0o700)).unwrap();
    let page = own.join("page.html").display().to_string();
    let output = host.run(None, &["audit", "--html", &page]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let written = fs::read_to_string(&page).unwrap();
    let key = fs::read_to_string(host.path("data/audit.pub")).unwrap();
    let named = format!("key <code>{}</code>", key.trim_end());
    assert!(
        written.contains(&named),
        "the first page names the key: {written}"
    );
    assert_eq!(foreign_files(&host.path("data")), Vec::<PathBuf>::new());
    // The owner of the data folder could not read it.
    let output = host.run(None, &["audit", "--check", &page]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    // Nothing is read before it is known that the result can be written.
    let nowhere = host.path("none/page.html").display().to_string();
    for arguments in [
        &["audit", "--html", &nowhere][..],
        &["audit", "--window", "2026-11-21T03:05:00Z", "--record", &nowhere],
    ] {
        let output = host.run(None, arguments);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), out.as_str()), (Some(3), ""), "{error}");
        assert!(error.contains(&format!("cannot write {nowhere}")), "{error}");
    }
}

#[test]
fn relay_that_root_starts_leaves_no_file_that_the_unit_cannot_write() {
    if ran_as_root("relay_that_root_starts_leaves_no_file_that_the_unit_cannot_write") {
        return;
    }
    let host = Host::new();
    let mut relay = host
        .command(None, &["relay"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(relay.stderr.take().unwrap());
    let is_up = stderr
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("listening on"));
    kill(Pid::from_raw(i32::try_from(relay.id()).unwrap()), Signal::SIGTERM).unwrap();
    let ended = relay.wait().unwrap();
    assert!(is_up && ended.success(), "{ended}");
    assert_eq!(foreign_files(&host.path("data")), Vec::<PathBuf>::new());
    assert!(host.path("data/relay.lock").exists() || host.path("data/relay.alive").exists());
}

#[test]
fn run_as_root_says_what_to_do_if_the_folders_of_its_roles_have_two_owners() {
    if ran_as_root("run_as_root_says_what_to_do_if_the_folders_of_its_roles_have_two_owners") {
        return;
    }
    let host = Host::new();
    let index = host.path("index");
    fs::create_dir(&index).unwrap();
    chown(&index, Some(STRANGER), Some(OWNER)).unwrap();
    let config = fs::read_to_string(host.path("etc/logferry.yaml")).unwrap();
    let with_index = format!("{config}indexer:\n  store_dir: {}\n", index.display());
    fs::write(host.path("etc/logferry.yaml"), with_index).unwrap();
    let output = host.run(None, &["run"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let data = host.path("data").display().to_string();
    let (both, advice) = (
        format!("{data} belongs to nobody and {} to #{STRANGER}", index.display()),
        format!("`chown -R nobody: {}`", index.display()),
    );
    for text in [
        both.as_str(),
        "Start each role by its own unit or command",
        &advice,
    ] {
        assert!(stderr.contains(text), "{text} is not in {stderr}");
    }
    // The search needs both folders: it acts as the owner of the ledger, who may read the index.
    drop(IndexDb::open_or_create(&index).unwrap());
    chown(index.join("index.db"), Some(STRANGER), Some(OWNER)).unwrap();
    let output = host.run(None, &["search", "x"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn ordinary_user_is_told_as_which_user_to_run_a_command() {
    if ran_as_root("ordinary_user_is_told_as_which_user_to_run_a_command") {
        return;
    }
    let host = Host::new();
    let config = host.path("etc/logferry.yaml").display().to_string();
    let advice = |command: &str| format!("run `sudo -u nobody logferry -c {config} {command}`\n");
    for command in ["status", "audit", "tail", "fsck", "run"] {
        let output = host.run(Some(STRANGER), &[command]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let closed = format!(
            "{} is closed to the user #{STRANGER}; ",
            host.path("etc").display()
        );
        assert_eq!(said, format!("logferry: {config}: {closed}{}", advice(command)));
    }
    // The configuration may be open, and the data folder not.
    fs::set_permissions(host.path("etc"), Permissions::from_mode(0o755)).unwrap();
    for command in ["status", "audit", "tail", "fsck", "relay"] {
        let output = host.run(Some(STRANGER), &[command]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        let closed = format!(
            "{} is closed to the user #{STRANGER}; ",
            host.path("data").display()
        );
        assert_eq!(said, format!("logferry: {closed}{}", advice(command)));
    }
}

#[test]
fn file_that_root_replaces_keeps_its_owner() {
    if ran_as_root("file_that_root_replaces_keeps_its_owner") {
        return;
    }
    let host = Host::new();
    let file = host.path("etc/known_hosts");
    for contents in [&b"first"[..], b"second"] {
        RealDisk.replace(&file, contents).unwrap();
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (OWNER, OWNER));
    }
}

#[test]
fn folders_and_locks_that_root_makes_are_those_of_the_folder_that_they_are_in() {
    if ran_as_root("folders_and_locks_that_root_makes_are_those_of_the_folder_that_they_are_in") {
        return;
    }
    let host = Host::new();
    // As `adopt` does before the sender's first start.
    let folder = host.path("data/sender/of-root");
    RealDisk.create_dir_all(&folder).unwrap();
    drop(LockFile::acquire(&folder.join("lock")).unwrap());
    RealDisk.replace(&folder.join("checkpoint"), b"{}").unwrap();
    assert_eq!(foreign_files(&host.path("data")), Vec::<PathBuf>::new());
}

#[test]
fn first_backup_of_root_makes_the_folders_above_it_too() {
    if ran_as_root("first_backup_of_root_makes_the_folders_above_it_too") {
        return;
    }
    let host = Host::new();
    let folder = host.path("srv/backup/first");
    let mut sh = Command::new("sh");
    let backup = host.command(None, &["backup"]);
    sh.args(["-c", "umask 027; exec \"$@\"", "sh"])
        .arg(backup.get_program())
        .args(backup.get_args())
        .arg(&folder);
    let output = sh.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(folder.join("ledger.db").exists());
    assert_eq!(foreign_files(&host.path("srv")), Vec::<PathBuf>::new());
}

#[test]
fn role_that_may_not_write_a_folder_of_batches_is_told_which() {
    if ran_as_root("role_that_may_not_write_a_folder_of_batches_is_told_which") {
        return;
    }
    let host = Host::new();
    let as_owner = |arguments: &[&str]| {
        let output = host.run(Some(OWNER), arguments);
        (output.status.code().unwrap(), text(&output.stdout))
    };
    for state in ["open", "ready", "sent", "failed"] {
        let folder = host.path(&format!("data/{state}/198.51.100.1"));
        fs::create_dir_all(&folder).unwrap();
        for path in [&folder, folder.parent().unwrap()] {
            chown(path, Some(OWNER), Some(OWNER)).unwrap();
        }
    }
    let (code, said) = as_owner(&["check"]);
    assert!(code == 0, "{said}");
    let foreign = host.path("data/ready/198.51.100.1").display().to_string();
    chown(&foreign, Some(0), Some(0)).unwrap();
    let (code, said) = as_owner(&["check"]);
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for role in ["relay", "housekeeper"] {
        let told = format!(
            "{role}: {foreign} belongs to root:root (mode 0755), and user nobody may not write there; run `chown -R nobody:nogroup {foreign}`"
        );
        assert!(flat.contains(&told), "{said}");
    }
    assert_eq!(code, 1, "{said}");
    // Of many only some are named.
    for number in 0..5 {
        fs::create_dir(host.path(&format!("data/sent/192.0.2.{number}"))).unwrap();
    }
    let (_, said) = as_owner(&["check"]);
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let rest = format!(
        "user nobody may not write 3 more folders of {}",
        host.path("data").display()
    );
    assert!(flat.contains(&rest) && !flat.contains("192.0.2.4"), "{said}");
}

/// The files and folders below this one that their group may write, or others may see.
fn open_to_others(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(open_to_others(&entry.path()));
        }
        if metadata.mode() & 0o027 != 0 {
            found.push((entry.path(), metadata.mode()));
        }
    }
    found
}

#[test]
fn spool_is_closed_to_others_without_units_too() {
    if ran_as_root("spool_is_closed_to_others_without_units_too") {
        return;
    }
    let host = Host::new();
    let config = fs::read_to_string(host.path("etc/logferry.yaml")).unwrap();
    let config = config.replace("groups:", "limits: {min_free_disk: 0}\n  groups:");
    fs::write(host.path("etc/logferry.yaml"), config).unwrap();
    fs::remove_dir_all(host.path("data")).unwrap();
    let mut relay = host.command(None, &["relay"]);
    // A shell with the most open mask.
    let arguments: Vec<_> = relay.get_args().map(ToOwned::to_owned).collect();
    let program = relay.get_program().to_owned();
    relay = Command::new("sh");
    relay
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(program)
        .args(arguments);
    let mut relay = relay.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(relay.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let line = lines.find(|line| line.contains("listening on")).unwrap();
    let port = line.split("127.0.0.1:").nth(1).unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let body = "{\"log\": \"127.0.0.1 - - [21/Nov/2026:08:20:03 +0600] one\\n\"}";
    let request = format!(
        "POST /upload HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    kill(Pid::from_raw(i32::try_from(relay.id()).unwrap()), Signal::SIGTERM).unwrap();
    lines.for_each(drop);
    let ended = relay.wait().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && ended.success(),
        "{answer} {ended}"
    );
    let batches = fs::read_dir(host.path("data/open/127.0.0.1")).unwrap();
    assert_eq!(batches.count(), 1, "the line is in a batch");
    assert_eq!(open_to_others(host.0.path().join("data").as_path()), []);
    let mode = fs::metadata(host.path("data")).unwrap().mode();
    assert_eq!(mode & 0o027, 0, "{mode:o}");
}
