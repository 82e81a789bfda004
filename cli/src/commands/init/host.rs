//! Looks at this host for what a configuration needs to know. Nothing is changed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::nginx_conf::{NginxLog, access_logs, includes};
use crate::host_command::output_within;

/// nginx looks up host names when it reads its configuration, which may take long.
const NGINX_TIME_MAX: Duration = Duration::from_secs(10);
/// A mail server on this host answers at once.
const MAIL_TIME_MAX: Duration = Duration::from_millis(500);
/// nginx itself follows includes as deep as they go; a circle has to end.
const INCLUDES_MAX: usize = 8;

const NGINX_PROGRAMS: [&str; 4] = [
    "nginx",
    "/usr/sbin/nginx",
    "/usr/local/sbin/nginx",
    "/usr/local/nginx/sbin/nginx",
];
const NGINX_FILES: [&str; 3] = [
    "/etc/nginx/nginx.conf",
    "/usr/local/nginx/conf/nginx.conf",
    "/usr/local/etc/nginx/nginx.conf",
];
/// Where nginx writes if its configuration says nothing else.
const USUAL_LOGS: [&str; 2] = ["/var/log/nginx/access.log", "/usr/local/nginx/logs/access.log"];

/// What this host is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostFacts {
    /// Its name.
    pub(super) name: String,
    /// The address from which it would reach others.
    pub(super) address: Option<IpAddr>,
    /// The logs of its nginx.
    pub(super) logs: Vec<NginxLog>,
    /// How the logs were found, for people.
    pub(super) logs_from: String,
    /// Whether a mail server answers at port 25 of this host.
    pub(super) has_mail_server: bool,
    /// Ports that are free, at or above 5001, 8080, 9102 and 9103.
    pub(super) relay_port: u16,
    pub(super) console_port: u16,
    pub(super) metrics_ports: [u16; 2],
}

impl HostFacts {
    pub(super) fn look() -> Self {
        let (logs, logs_from) = nginx_logs();
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mail = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
        Self {
            name: Some(name.trim())
                .filter(|name| !name.is_empty())
                .unwrap_or("localhost")
                .to_owned(),
            address: own_address(),
            logs,
            logs_from,
            has_mail_server: TcpStream::connect_timeout(&mail, MAIL_TIME_MAX).is_ok(),
            relay_port: free_port(Ipv4Addr::UNSPECIFIED, 5001),
            console_port: free_port(Ipv4Addr::LOCALHOST, 8080),
            metrics_ports: [9102, 9103].map(|port| free_port(Ipv4Addr::LOCALHOST, port)),
        }
    }
}

/// The first free port from `first` on; `first` itself if there is none near.
fn free_port(address: Ipv4Addr, first: u16) -> u16 {
    let mut near =
        (first..first.saturating_add(100)).filter(|port| TcpListener::bind((address, *port)).is_ok());
    near.next().unwrap_or(first)
}

/// The address that the system would send from; connecting a UDP socket sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    Some(address).filter(|address| !address.is_unspecified())
}

/// The logs of this host's nginx, and how they were found.
///
/// Its files are read first: `nginx -T` makes log files that do not exist yet, and as root with an owner that shuts the sender out.
fn nginx_logs() -> (Vec<NginxLog>, String) {
    for file in NGINX_FILES.map(Path::new) {
        let mut text = String::new();
        read_configuration(file, INCLUDES_MAX, &mut text);
        let logs = access_logs(&text, &prefix());
        if !logs.is_empty() {
            return (logs, format!("in {}", file.display()));
        }
    }
    let logs = NGINX_PROGRAMS.into_iter().find_map(dump);
    let logs = logs.map_or_else(Vec::new, |text| access_logs(&text, &prefix()));
    if !logs.is_empty() {
        return (logs, "by `nginx -T`".to_owned());
    }
    let usual = USUAL_LOGS.into_iter().filter(|path| Path::new(path).exists());
    let logs = usual.map(|path| NginxLog {
        path: path.to_owned(),
        format: None,
    });
    (logs.take(1).collect(), "at nginx's usual path".to_owned())
}

/// The whole configuration as nginx itself reads it; `None` if it is not there, finds a mistake, or takes too long.
fn dump(program: &str) -> Option<String> {
    let output = output_within(Command::new(program).arg("-T"), NGINX_TIME_MAX)?;
    let output = Some(output).filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The folder that relative paths are relative to, by `nginx -V`.
fn prefix() -> PathBuf {
    let text = NGINX_PROGRAMS.into_iter().find_map(|program| {
        let output = Command::new(program)
            .arg("-V")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stderr).into_owned())
    });
    let text = text.unwrap_or_default();
    let prefix = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("--prefix="));
    PathBuf::from(prefix.unwrap_or("/usr/local/nginx"))
}

/// Appends the text of nginx's main configuration file and of all that it includes. Wherever an `include` stands, its path is
/// relative to the folder of the main file (`ngx_conf_full_name`).
fn read_configuration(main: &Path, depth: usize, text: &mut String) {
    let folder = main.parent().unwrap_or(Path::new("/"));
    read_with_includes(main, folder, depth, text);
}

/// Appends the text of a configuration file and, after it, of those that it includes. What cannot be read is left out.
fn read_with_includes(file: &Path, folder: &Path, depth: usize, text: &mut String) {
    let Ok(bytes) = std::fs::read(file) else { return };
    let own = String::from_utf8_lossy(&bytes).into_owned();
    text.push_str(&own);
    text.push('\n');
    if depth == 0 {
        return;
    }
    for include in includes(&own) {
        let found = glob::glob(&folder.join(include).to_string_lossy())
            .into_iter()
            .flatten()
            .flatten();
        for path in found {
            read_with_includes(&path, folder, depth - 1, text);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests lay out files")]
    use super::*;

    #[test]
    fn included_files_are_read_and_a_circle_ends() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("nginx.conf");
        std::fs::create_dir(dir.path().join("sites")).unwrap();
        std::fs::write(
            &main,
            "include sites/*;\ninclude nginx.conf;\naccess_log /l/main.log;\n",
        )
        .unwrap();
        std::fs::write(dir.path().join("sites/a"), "access_log /l/a.log;").unwrap();
        assert_eq!(paths(&main, 2), ["/l/main.log", "/l/a.log"]);
    }

    fn paths(main: &Path, depth: usize) -> Vec<String> {
        let mut text = String::new();
        read_configuration(main, depth, &mut text);
        let logs = access_logs(&text, Path::new("/")).into_iter();
        logs.map(|log| log.path).collect()
    }

    #[test]
    fn an_include_is_relative_to_the_main_file_wherever_it_stands_on_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        for folder in ["sites", "sites/snippets", "snippets"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        file(
            "nginx.conf",
            "http { include 'sites/*.conf'; } # include no.conf;\n# include no.conf;\nadd_header x 'include no.conf;';",
        );
        file("no.conf", "access_log /l/no.log;");
        file("sites/a.conf", "server {\n  include\n    snippets/log.conf;\n}\n");
        file("snippets/log.conf", "access_log /l/a.log;");
        file("sites/snippets/log.conf", "access_log /l/wrong.log;");
        assert_eq!(paths(&dir.path().join("nginx.conf"), 8), ["/l/a.log"]);
    }
}
