//! Which process listens on a port, by `/proc`. Only root sees the processes of other users.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::args::DEFAULT_CONFIG;
use crate::listening::PortProtocol;
use crate::roles::role::Role;

/// The states of a socket in `/proc/net/tcp` and `/proc/net/udp` that takes what anybody sends.
const TCP_LISTENING: &str = "0A";
const UDP_UNCONNECTED: &str = "07";
/// Most characters of a command in a text.
const COMMAND_MAX: usize = 100;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortHolder {
    pub(super) pid: u32,
    arguments: Vec<String>,
    /// The configuration in its environment, if it can be read.
    config: Option<String>,
    working_dir: PathBuf,
}

/// The process that listens at `address`, or at all addresses of the host; `None` if it cannot be seen.
pub(super) fn find(proc: &Path, protocol: PortProtocol, address: SocketAddr) -> Option<PortHolder> {
    let (tables, state) = match protocol {
        PortProtocol::Tcp => (["net/tcp", "net/tcp6"], TCP_LISTENING),
        PortProtocol::Udp => (["net/udp", "net/udp6"], UDP_UNCONNECTED),
    };
    let tables = tables.map(|table| fs::read_to_string(proc.join(table)).unwrap_or_default());
    let inodes: Vec<_> = tables
        .iter()
        .flat_map(|table| listeners(table, state, address))
        .collect();
    let sockets: Vec<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir(proc).ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find_map(|pid: u32| {
        let folder = proc.join(pid.to_string());
        let files = fs::read_dir(folder.join("fd")).ok()?.flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets.find(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))?;
        Some(PortHolder::read(pid, &folder))
    })
}

/// The inodes of the sockets that listen on the port at this address or at any.
fn listeners<'t>(table: &'t str, state: &str, address: SocketAddr) -> Vec<&'t str> {
    let rows = table.lines().skip(1);
    rows.filter_map(|row| listening_inode(row, state, address))
        .collect()
}

fn listening_inode<'t>(row: &'t str, listening: &str, address: SocketAddr) -> Option<&'t str> {
    let mut fields = row.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let (ip, port) = (kernel_address(ip)?, u16::from_str_radix(port, 16).ok()?);
    let meets = ip.is_unspecified() || address.ip().is_unspecified() || ip == address.ip().to_canonical();
    if state != listening || port != address.port() || !meets {
        return None;
    }
    fields.nth(5)
}

/// An address as the kernel prints it: words of four bytes in the order of the machine.
fn kernel_address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = (0..hex.len() / 8)
        .map(|word| {
            let digits = hex.get(word * 8..word * 8 + 8)?;
            Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
        })
        .collect();
    let bytes = words?.concat();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()),
        _ => None,
    }
}

impl PortHolder {
    fn read(pid: u32, folder: &Path) -> Self {
        let texts = |name: &str| -> Vec<String> {
            let bytes = fs::read(folder.join(name)).unwrap_or_default();
            let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
            parts
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect()
        };
        let environment = texts("environ");
        let mut config = environment
            .iter()
            .filter_map(|entry| entry.strip_prefix("LOGFERRY_CONFIG="))
            .filter(|config| !config.is_empty());
        Self {
            pid,
            arguments: texts("cmdline"),
            config: config.next().map(str::to_owned),
            working_dir: fs::read_link(folder.join("cwd")).unwrap_or_default(),
        }
    }

    /// Its command line, for people.
    pub(super) fn command(&self) -> String {
        let line = self.arguments.join(" ");
        line.chars()
            .filter(|c| !c.is_control())
            .take(COMMAND_MAX)
            .collect()
    }

    /// Whether it runs roles of this configuration.
    pub(super) fn is_role_of(&self, file: &Path) -> bool {
        let mut arguments = self.arguments.iter().map(String::as_str);
        let program = arguments.next().map(Path::new).and_then(Path::file_name);
        if program.is_none_or(|name| name != "logferry") {
            return false;
        }
        let (mut config, mut runs_role) = (self.config.as_deref().unwrap_or(DEFAULT_CONFIG), false);
        while let Some(argument) = arguments.next() {
            if matches!(argument, "-c" | "--config") {
                config = arguments.next().unwrap_or_default();
            } else if let Some(path) = argument.strip_prefix("--config=").or(argument.strip_prefix("-c")) {
                config = path;
            } else {
                runs_role |= argument == "run" || Role::ALL.iter().any(|role| role.name() == argument);
            }
        }
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        runs_role && real(&self.working_dir.join(config)) == real(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
   3: short
";

    #[test]
    #[cfg(target_endian = "little")]
    fn only_sockets_that_listen_on_the_port_and_address_are_found() {
        let listeners = |address: &str| listeners(TABLE, TCP_LISTENING, address.parse().expect("an address"));
        assert_eq!(listeners("127.0.0.1:8080"), ["4711"]);
        assert_eq!(listeners("0.0.0.0:8080"), ["4711"]);
        assert_eq!(listeners("127.0.0.1:8081"), ["4712"], "all addresses");
        assert!(listeners("127.0.0.2:8080").is_empty());
        assert!(listeners("127.0.0.1:8082").is_empty());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_of_both_families_are_read_as_the_kernel_prints_them() {
        let read = |hex: &str| kernel_address(hex).map(|address| address.to_string());
        assert_eq!(read("0100007F").as_deref(), Some("127.0.0.1"));
        assert_eq!(read("00000000000000000000000001000000").as_deref(), Some("::1"));
        assert_eq!(
            read("0000000000000000FFFF00000100007F").as_deref(),
            Some("127.0.0.1")
        );
        assert_eq!(read("xyz"), None);
    }

    #[test]
    fn a_role_of_the_same_configuration_is_told_from_others() {
        let holder = |arguments: &[&str], config: Option<&str>| PortHolder {
            pid: 1,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            config: config.map(str::to_owned),
            working_dir: "/srv".into(),
        };
        let file = Path::new("/srv/ferry.yaml");
        for (arguments, config, expected) in [
            (
                &["/usr/bin/logferry", "-c", "/srv/ferry.yaml", "relay"][..],
                None,
                true,
            ),
            (&["logferry", "run", "-cferry.yaml"], None, true),
            (&["logferry", "--config=/srv/other.yaml", "run"], None, false),
            (&["logferry", "relay"], Some("ferry.yaml"), true),
            (&["logferry", "collector"], Some("ferry.yaml"), true),
            (&["logferry", "relay"], None, false),
            (&["logferry", "-c", "ferry.yaml", "tail"], None, false),
            (&["nginx", "-c", "/srv/ferry.yaml", "run"], None, false),
            (&[], None, false),
        ] {
            assert_eq!(
                holder(arguments, config).is_role_of(file),
                expected,
                "{arguments:?}"
            );
        }
    }
}
