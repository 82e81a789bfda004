//! The configuration of the tests: the documented file with short times.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use logferry_test_servers::Sshd;

use crate::support::test_folder::{TestFolder, free_port};

/// The forwarder's destination.
pub(crate) struct SftpAccess {
    /// On the loopback address.
    pub(crate) port: u16,
    pub(crate) user: String,
    /// The user's private key.
    pub(crate) key: PathBuf,
    /// The server's public key.
    pub(crate) known_hosts: PathBuf,
    /// The folder for deliveries.
    pub(crate) directory: PathBuf,
}

impl SftpAccess {
    fn new(sshd: &Sshd, directory: PathBuf) -> Self {
        Self {
            port: sshd.port,
            user: sshd.user.clone(),
            key: sshd.client_key(),
            known_hosts: sshd.known_hosts(),
            directory,
        }
    }
}

/// The settings that differ between tests.
pub(crate) struct Config {
    /// The log to ship.
    pub(crate) log: PathBuf,
    /// Its name.
    pub(crate) log_name: &'static str,
    /// The `start` of each log.
    pub(crate) start: &'static str,
    /// One more log to ship.
    pub(crate) other_log: Option<PathBuf>,
    /// The sender's state folder.
    pub(crate) state_dir: PathBuf,
    /// The port of the sender's metrics.
    pub(crate) sender_metrics: Option<u16>,
    /// The port to which the sender connects: the relay's, or a proxy's.
    pub(crate) sender_target_port: u16,
    /// The port of the relay's metrics.
    pub(crate) relay_metrics: Option<u16>,
    /// The relay's address.
    pub(crate) relay_address: &'static str,
    /// The relay's port.
    pub(crate) relay_port: u16,
    /// The relay host's data folder.
    pub(crate) data_dir: PathBuf,
    /// The window's length.
    pub(crate) window: &'static str,
    /// The forwarder's destination.
    pub(crate) destination: SftpAccess,
    /// `failed_every` of the destination.
    pub(crate) failed_every: &'static str,
    /// The sender's `max_delay`.
    pub(crate) max_delay: &'static str,
    /// The sender's `in_flight`.
    pub(crate) in_flight: u32,
    /// The relay's `seal_after`.
    pub(crate) seal_after: &'static str,
    /// The relay's `min_free_disk`.
    pub(crate) min_free_disk: &'static str,
    /// The group's `sources`.
    pub(crate) sources: &'static str,
    /// The `formats` section, in one line.
    pub(crate) formats: &'static str,
    /// The housekeeper's section, in one line; empty: none.
    pub(crate) housekeeper: &'static str,
    /// The collector's state folder and its settings below `collector:`, each line indented by two spaces.
    pub(crate) collector: Option<(PathBuf, String)>,
}

impl Config {
    /// Everything in `test_folder`; the sender connects to the relay directly.
    pub(crate) fn new(test_folder: &TestFolder, window: &'static str, sshd: &Sshd) -> Self {
        let relay_port = free_port();
        Self {
            log: test_folder.create_dir("log").join("access.log"),
            log_name: "access",
            start: "beginning",
            other_log: None,
            state_dir: test_folder.path("sender"),
            sender_metrics: None,
            relay_metrics: None,
            sender_target_port: relay_port,
            relay_address: "127.0.0.1",
            relay_port,
            data_dir: test_folder.path("relay"),
            window,
            destination: SftpAccess::new(sshd, test_folder.create_dir("delivered")),
            failed_every: "1s",
            max_delay: "50ms",
            in_flight: 4,
            seal_after: "1s",
            min_free_disk: "1MiB",
            sources: "127.0.0.1",
            formats: "{}",
            housekeeper: "",
            collector: None,
        }
    }
}

impl Config {
    /// The sender's setting, and the collector's section; nothing without a collector.
    fn collector_yaml(&self) -> (String, String) {
        let yaml = self.collector.as_ref().map(|(folder, settings)| {
            (
                format!("\n  captures: {folder:?}"),
                format!("collector:\n  state_dir: {folder:?}\n{settings}"),
            )
        });
        yaml.unwrap_or_default()
    }
}

impl Display for Config {
    #[expect(clippy::too_many_lines, reason = "one template")]
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            log,
            log_name,
            start,
            other_log,
            state_dir,
            sender_metrics,
            relay_metrics,
            sender_target_port,
            relay_address,
            relay_port,
            data_dir,
            window,
            destination,
            failed_every,
            max_delay,
            in_flight,
            seal_after,
            min_free_disk,
            sources,
            formats,
            housekeeper,
            collector: _,
        } = self;
        let exclude = r#"exclude: [["/health.php", "nginx/", "health check"]]"#;
        let entry = |path| format!("\n    - {{path: {path:?}, start: {start}, max_line: 64KiB, {exclude}}}");
        let other_log = other_log.as_ref().map(entry).unwrap_or_default();
        let sender_metrics =
            sender_metrics.map_or_else(String::new, |port| format!("\n  metrics: \"127.0.0.1:{port}\""));
        let relay_metrics = relay_metrics.map(|port| format!("\"127.0.0.1:{port}\""));
        let relay_metrics = relay_metrics.as_deref().unwrap_or("null");
        let (captures, collector) = self.collector_yaml();
        write!(
            f,
            r#"
formats: {formats}
sender:
  relay: "http://{relay_address}:{sender_target_port}"
  state_dir: {state_dir:?}{sender_metrics}{captures}
  logs:
    - path: {log:?}
      name: {log_name}
      start: {start}
      {exclude}
      max_line: 64KiB{other_log}
  chunk: {{max_bytes: 64KiB, max_delay: {max_delay}}}
  in_flight: {in_flight}
  retry: {{initial: 50ms, max: 500ms}}
relay:
  data_dir: {data_dir:?}
  groups: [{{name: web-1, listen: "{relay_address}:{relay_port}", sources: ["{sources}"]}}]
  batch: {{window: {window}, seal_after: {seal_after}, slack: 1s}}
  limits: {{min_free_disk: {min_free_disk}}}
  metrics: {relay_metrics}
forwarder:
  interval: 1s
  destinations:
    - name: drop
      host: 127.0.0.1
      port: {port}
      user: {user}
      directory: {directory:?}
      key_file: {key:?}
      known_hosts: {known_hosts:?}
      retry: {{attempts: 3, initial: 100ms, max: 1s}}
      failed_every: {failed_every}
{collector}"#,
            port = destination.port,
            user = destination.user,
            directory = destination.directory,
            key = destination.key,
            known_hosts = destination.known_hosts,
        )?;
        match *housekeeper {
            "" => Ok(()),
            settings => writeln!(f, "housekeeper: {settings}"),
        }
    }
}
