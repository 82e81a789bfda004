//! What a login at the SFTP drop needs: a key of this host, and the key of that one. Neither is trusted or sent anywhere here.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use logferry_config::{Destination, HostKeyPolicy};
use logferry_durable::RealDisk;
use logferry_forwarder::{HostKeyScan, HostKeyStatus};
use nix::unistd::{Uid, User};

use super::written_file::service_group;
use crate::commands::trust;
use crate::output::console;
use crate::output::exit::Result;
use crate::owner::SERVICE_USER;

/// A new file of known keys.
const NO_KEYS: &[u8] =
    b"# Keys of SFTP servers (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). `logferry trust NAME` adds one.\n";

/// The public half of the key, which is made if it is not there; an error is a sentence on what is to be done.
pub(super) fn public_key(file: &Path) -> std::result::Result<String, String> {
    let shown = file.display();
    if !file.exists() {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "logferry", "-f"])
            .arg(file)
            .stdin(Stdio::null())
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            return Err(format!(
                "the key {shown} could not be made; install openssh-client, make it with `ssh-keygen -t ed25519 -N '' -f {shown}`, and \
                 give it to the forwarder's user (`chown {SERVICE_USER} {shown}`)"
            ));
        }
        give_to_service_user(file);
    }
    let mut public = file.as_os_str().to_owned();
    public.push(".pub");
    let line = fs::read_to_string(&public).map(|text| text.trim().to_owned());
    line.map_err(|_| format!("its public half is not beside it; `ssh-keygen -y -f {shown}` shows it"))
}

/// Only the user of the forwarder may read the key.
fn give_to_service_user(file: &Path) {
    let user = User::from_name(SERVICE_USER).ok().flatten();
    if let Some(user) = user.filter(|_| Uid::effective().is_root()) {
        let _ = chown(file, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    }
}

/// Makes an empty file of known keys, if there is none, which the forwarder's user may read.
pub(super) fn make_known_hosts(destination: &Destination) -> Result<()> {
    let HostKeyPolicy::KnownHosts(file) = &destination.host_key else {
        return Ok(());
    };
    if !file.exists() {
        RealDisk.replace_for_group(file, NO_KEYS, service_group().map(nix::unistd::Gid::as_raw))?;
        fs::set_permissions(file, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Shows the key of the server and, if somebody is there to compare it, asks whether to keep it. Whether it is trusted now.
pub(super) fn offer_host_key(destination: &Destination, is_somebody_there: bool) -> Result<bool> {
    let (host, port) = (&destination.host, destination.port);
    console::print(&format!("\nasking {host} port {port} for its host key…\n"))?;
    let scan = match HostKeyScan::run(destination) {
        Ok(scan) => scan,
        Err(error) => {
            console::print(&format!("{}\n", error.explanation()))?;
            return Ok(false);
        }
    };
    console::print(&trust::description(destination, &scan))?;
    match (&destination.host_key, &scan.status) {
        (_, HostKeyStatus::Trusted) => Ok(true),
        (HostKeyPolicy::KnownHosts(file), HostKeyStatus::New | HostKeyStatus::Changed { .. })
            if is_somebody_there =>
        {
            let question = "Did the drop's operator give you this fingerprint? Keep the key?";
            if console::confirm(question)? != Some(true) {
                return Ok(false);
            }
            scan.store(destination, file)?;
            console::print(&format!("kept in {}\n", file.display()))?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
