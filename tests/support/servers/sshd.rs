//! A real OpenSSH server on a loopback port: the client's drop.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{Process, require, run_tool};
use crate::support::test_folder::{TestFolder, free_port};
use crate::support::{WAIT_LIMIT, wait_for};

const SSHD: &str = "/usr/sbin/sshd";
const PACKAGE: &str = "openssh-server";

/// How a forwarder gets in.
pub(crate) struct SftpAccess {
    /// On the loopback address.
    pub(crate) port: u16,
    /// Whoever runs the tests.
    pub(crate) user: String,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// The server's public key.
    pub(crate) known_hosts: PathBuf,
    /// Where batches are to go.
    pub(crate) directory: PathBuf,
}

/// A running server.
pub(crate) struct Sshd {
    _process: Process,
}

impl Sshd {
    /// Starts a server that lets one new key in, with an empty drop folder.
    pub(crate) fn start(test_folder: &TestFolder) -> (Self, SftpAccess) {
        require(SSHD, PACKAGE);
        let folder = test_folder.create_dir("sshd");
        let host_key = make_key(&folder.join("host_key"));
        make_key(&folder.join("user_key"));
        let port = free_port();
        let access = SftpAccess {
            port,
            user: run_tool(Command::new("id").arg("-un"), "coreutils")
                .trim()
                .to_owned(),
            key: folder.join("user_key"),
            known_hosts: test_folder.write("sshd/known_hosts", &format!("[127.0.0.1]:{port} {host_key}\n")),
            directory: test_folder.create_dir("delivered"),
        };
        let config = write_config(test_folder, &folder, port);
        if nix::unistd::geteuid().is_root() {
            // sshd(8) wants it for the process that has no rights; the package makes it only at boot.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let process = Process::start(
            test_folder,
            "sshd",
            Command::new(SSHD).args(["-D", "-e", "-f"]).arg(config),
        );
        wait_for("sshd to listen", WAIT_LIMIT, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        (Self { _process: process }, access)
    }
}

fn write_config(test_folder: &TestFolder, folder: &Path, port: u16) -> PathBuf {
    let folder = folder.display();
    let mut text = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/user_key.pub\n\
         StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\nLogLevel ERROR\nMaxStartups 100\n"
    );
    let config = test_folder.write("sshd/config", &text);
    // OpenSSH from 9.8 on shuts out an address whose clients vanish, as ours do on purpose; older ones do not know
    // the setting.
    writeln!(text, "PerSourcePenalties no").unwrap();
    let newer = test_folder.write("sshd/config-9.8", &text);
    let is_known = Command::new(SSHD)
        .args(["-t", "-f"])
        .arg(&newer)
        .output()
        .unwrap()
        .status
        .success();
    if is_known { newer } else { config }
}

/// Makes a key pair; gives the public key without its comment.
fn make_key(path: &Path) -> String {
    run_tool(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(path),
        "openssh-client",
    );
    fs::read_to_string(path.with_extension("pub"))
        .unwrap()
        .trim()
        .to_owned()
}
