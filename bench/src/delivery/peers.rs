//! How others deliver the same files.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Run;
use super::server::{Server, write};
use super::spool::Payload;
use crate::process::timed;

/// OpenSSH's own client: one connection, put and rename of each file.
pub(super) fn sftp(server: &Server, port: u16, payload: &Payload, drop: &Path) -> anyhow::Result<Run> {
    let mut script = String::new();
    for file in payload.files() {
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
        .args(server.login_options("-P", port))
        .arg(format!("{}@127.0.0.1", server.user))
        .stdout(Stdio::null());
    run(&mut command)
}

/// rsync to a temporary name, then mv, over a connection for each of both. `sshpass` stands by as it did, though a key
/// lets us in.
pub(super) fn rsync_and_mv(server: &Server, payload: &Payload, drop: &Path) -> anyhow::Result<Run> {
    let ssh = format!("ssh {}", server.login_options("-p", server.port).join(" "));
    let host = format!("{}@127.0.0.1", server.user);
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for file in payload.files() {
        let published = drop.join(&file.name);
        let temporary = format!("{}.part", published.display());
        let mut send = Command::new("sshpass");
        send.args(["-p", "unused", "rsync", "-a", "-e", &ssh])
            .arg(&file.path)
            .arg(format!("{host}:{temporary}"));
        let mut publish = Command::new("sshpass");
        publish
            .args(["-p", "unused", "ssh"])
            .args(server.login_options("-p", server.port))
            .arg(&host)
            .arg(format!("mv {temporary} {}", published.display()));
        for command in [&mut send, &mut publish] {
            let taken = run(command)?;
            (wall, cpu) = (wall + taken.wall, cpu + taken.cpu);
        }
    }
    Ok(Run {
        wall,
        cpu,
        peak_bytes: 0,
    })
}

fn run(command: &mut Command) -> anyhow::Result<Run> {
    let (wall, cpu) = timed(command.stdin(Stdio::null()))?;
    Ok(Run {
        wall,
        cpu,
        peak_bytes: 0,
    })
}
