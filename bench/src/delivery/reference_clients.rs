//! The same files, delivered by other tools.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use logferry_test_servers::Sshd;

use super::payload::{Payload, write};
use crate::measurement::process::{ToolRun, run_tool};

/// OpenSSH's own client: one connection; each file is put and renamed.
pub(super) fn sftp(server: &Sshd, port: u16, payload: &Payload, drop: &Path) -> anyhow::Result<ToolRun> {
    let mut script = String::new();
    for file in &payload.files {
        let published = drop.join(&file.name);
        let (from, to) = (file.path.display(), published.display());
        let _ = writeln!(script, "put {from} {to}.part\nrename {to}.part {to}");
    }
    let batch = server.known_hosts().with_file_name("batch");
    write(&batch, &script)?;
    let mut command = Command::new("sftp");
    command
        .arg("-b")
        .arg(batch)
        .args(login_options(server, "-P", port))
        .arg(format!("{}@127.0.0.1", server.user))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    run_tool(&mut command)
}

/// rsync to a temporary name, then mv, each over a connection of its own. `sshpass` is run as the predecessor did,
/// although the login uses a key.
pub(super) fn rsync_and_mv(server: &Sshd, payload: &Payload, drop: &Path) -> anyhow::Result<ToolRun> {
    let ssh = format!("ssh {}", login_options(server, "-p", server.port).join(" "));
    let host = format!("{}@127.0.0.1", server.user);
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for file in &payload.files {
        let published = drop.join(&file.name);
        let temporary = format!("{}.part", published.display());
        let mut send = Command::new("sshpass");
        send.args(["-p", "unused", "rsync", "-a", "-e", &ssh])
            .arg(&file.path)
            .arg(format!("{host}:{temporary}"));
        let mut publish = Command::new("sshpass");
        publish
            .args(["-p", "unused", "ssh"])
            .args(login_options(server, "-p", server.port))
            .arg(&host)
            .arg(format!("mv {temporary} {}", published.display()));
        for command in [&mut send, &mut publish] {
            let run = run_tool(command.stdin(Stdio::null()))?;
            (wall, cpu) = (wall + run.wall, cpu + run.cpu);
        }
    }
    Ok(ToolRun { wall, cpu })
}

/// The options of OpenSSH's tools for a login at `server`. `port_option`: the tool's option for the port.
fn login_options(server: &Sshd, port_option: &str, port: u16) -> Vec<String> {
    let mut options = vec![port_option.to_owned(), port.to_string()];
    for option in [
        format!("IdentityFile={}", server.client_key().display()),
        "IdentitiesOnly=yes".to_owned(),
        format!("UserKnownHostsFile={}", server.known_hosts().display()),
        "StrictHostKeyChecking=yes".to_owned(),
    ] {
        options.extend(["-o".to_owned(), option]);
    }
    options
}
