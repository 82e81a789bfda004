//! The configuration that the tests run with: the documented file, with short times.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use super::site::{Site, free_port};
use super::sshd::Access;

/// What the YAML file says where tests differ.
pub(crate) struct Config {
    /// The log to ship.
    pub(crate) log: PathBuf,
    /// The sender's state folder.
    pub(crate) state_dir: PathBuf,
    /// Where the sender looks for the relay: its port, or that of something in between.
    pub(crate) sender_calls: u16,
    /// The relay's port.
    pub(crate) relay_port: u16,
    /// The relay host's data folder.
    pub(crate) data_dir: PathBuf,
    /// The window's length.
    pub(crate) window: &'static str,
    /// The forwarder's destination.
    pub(crate) destination: Access,
    /// How often it tries what failed.
    pub(crate) failed_every: &'static str,
}

impl Config {
    /// Everything in `site`, sender and relay face to face.
    pub(crate) fn new(site: &Site, window: &'static str, destination: Access) -> Self {
        let relay_port = free_port();
        Self {
            log: site.folder("log").join("access.log"),
            state_dir: site.path("sender"),
            sender_calls: relay_port,
            relay_port,
            data_dir: site.path("relay"),
            window,
            destination,
            failed_every: "1s",
        }
    }
}

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            log,
            state_dir,
            sender_calls,
            relay_port,
            data_dir,
            window,
            destination,
            failed_every,
        } = self;
        write!(
            f,
            r#"
sender:
  relay: "http://127.0.0.1:{sender_calls}"
  state_dir: {state_dir:?}
  logs:
    - path: {log:?}
      exclude: [["/health.php", "nginx/", "health check"]]
      max_line: 64KiB
  chunk: {{max_bytes: 64KiB, max_delay: 50ms}}
  retry: {{initial: 50ms, max: 500ms}}
relay:
  data_dir: {data_dir:?}
  groups: [{{name: web-1, listen: "127.0.0.1:{relay_port}", sources: ["127.0.0.1"]}}]
  batch: {{window: {window}, seal_after: 1s, slack: 1s}}
  limits: {{min_free_disk: 1MiB}}
  metrics: null
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
"#,
            port = destination.port,
            user = destination.user,
            directory = destination.directory,
            key = destination.key,
            known_hosts = destination.known_hosts,
        )
    }
}
