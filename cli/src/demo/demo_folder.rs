//! The demo's folder: three log hosts, the relay host and the destination. The configuration of each host is a file there, so
//! that other commands can be run with it.
//!
//! ```text
//! DIR/hosts/<address>/access.log, sender.yaml, state/
//! DIR/hosts/127.0.0.14/sender.yaml, collector/   with --all: a host whose programs write no files
//! DIR/middle/logferry.yaml, known_hosts, relay/ (the spool and the ledger)
//! DIR/delivered/   the destination
//! DIR/mails/       the mails
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use logferry_config::Config;
use logferry_embedded_servers::{MailSink, SftpServer};
use logferry_protocol::names::SourceId;

/// User and password of the demo's SFTP server. It listens on loopback, and only during the demo.
pub(crate) const SFTP_LOGIN: &str = "demo";

/// A host that writes a log. Each has its own loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogHost {
    address: IpAddr,
    group: usize,
}

impl LogHost {
    /// The host's source name at the relay.
    pub(crate) fn source(self) -> SourceId {
        SourceId::from(self.address)
    }
}

const GROUPS: [&str; 2] = ["web-1", "web-2"];

pub(crate) const HOSTS: [LogHost; 3] = [host(11, 0), host(12, 0), host(13, 1)];

/// The host of programs that write no files, with `--all`.
pub(crate) const RECORD_HOST: LogHost = host(14, 1);

const fn host(last: u8, group: usize) -> LogHost {
    LogHost {
        address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)),
        group,
    }
}

/// The demo's folder.
#[derive(Debug)]
pub(crate) struct DemoFolder {
    path: PathBuf,
}

impl DemoFolder {
    /// Creates the folders in `dir`, which must be empty or missing: files of an earlier demo would be counted again.
    pub(crate) fn create(dir: &Path) -> anyhow::Result<Self> {
        create_folder(dir)?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot find {}", dir.display()))?;
        let mut entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        if entries.next().is_some() {
            bail!("{} is not empty; give a new folder with --dir", dir.display());
        }
        let folder = Self { path: dir };
        for subfolder in [folder.delivered(), folder.mails(), folder.relay_host()] {
            create_folder(&subfolder)?;
        }
        for host in HOSTS {
            create_folder(&folder.log_host(host))?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn delivered(&self) -> PathBuf {
        self.path.join("delivered")
    }

    pub(crate) fn mails(&self) -> PathBuf {
        self.path.join("mails")
    }

    /// The configuration of the relay host.
    pub(crate) fn relay_config(&self) -> PathBuf {
        self.relay_host().join("logferry.yaml")
    }

    /// The spool and the ledger.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.relay_host().join("relay")
    }

    pub(crate) fn log(&self, host: LogHost) -> PathBuf {
        self.log_host(host).join("access.log")
    }

    fn relay_host(&self) -> PathBuf {
        self.path.join("middle")
    }

    fn log_host(&self, host: LogHost) -> PathBuf {
        self.path.join("hosts").join(host.address.to_string())
    }

    /// Writes the configuration of every host and loads it: that of the relay host first, then one per sender.
    /// With `records` also that of the host with the collector.
    pub(crate) fn configure(
        &self,
        sftp: &SftpServer,
        mail: &MailSink,
        records: Option<RecordPorts>,
    ) -> anyhow::Result<Vec<Config>> {
        let ports = free_ports().context("cannot find a free port on loopback")?;
        write_file(&self.relay_host().join("known_hosts"), sftp.known_hosts_line())?;
        let mut files = vec![(self.relay_config(), self.relay_yaml(ports, sftp, mail)?)];
        for host in HOSTS {
            let file = self.log_host(host).join("sender.yaml");
            files.push((file, self.sender_yaml(ports, host)?));
        }
        if let Some(records) = records {
            create_folder(&self.log_host(RECORD_HOST))?;
            let file = self.log_host(RECORD_HOST).join("sender.yaml");
            files.push((file, self.record_yaml(ports, records)?));
        }
        let load = |(file, text): (PathBuf, String)| {
            write_file(&file, &text)?;
            Ok(logferry_config::load(&file)?)
        };
        files.into_iter().map(load).collect()
    }

    fn relay_yaml(&self, ports: Ports, sftp: &SftpServer, mail: &MailSink) -> anyhow::Result<String> {
        let data_dir = quoted(&self.data_dir())?;
        let store_dir = quoted(&self.relay_host().join("index"))?;
        let known_hosts = quoted(&self.relay_host().join("known_hosts"))?;
        let (sftp, mail) = (sftp.port(), mail.port());
        let groups: String = (0..GROUPS.len()).map(|group| group_yaml(group, ports)).collect();
        Ok(format!(
            "# Written by `logferry demo`. The windows are short, so that batches are delivered during the demo.\n\
             relay:\n  \
               data_dir: {data_dir}\n  \
               groups:\n{groups}  \
               batch: {{window: 10s, seal_after: 2s, slack: 1s, hold: 10s}}\n  \
               limits: {{min_free_disk: 64MiB}}\n  \
               metrics: {metrics}\n\
             forwarder:\n  \
               interval: 1s\n  \
               destinations:\n    \
                 - {{name: drop, host: 127.0.0.1, port: {sftp}, user: {SFTP_LOGIN}, password: {SFTP_LOGIN}, \
                     directory: /delivered, known_hosts: {known_hosts}}}\n\
             monitor:\n  \
               interval: 5s\n  \
               metrics: null\n  \
               smtp: {{host: 127.0.0.1, port: {mail}, from: logferry@example.com, to: [ops@example.com]}}\n\
             housekeeper: {{}}\n\
             indexer:\n  \
               store_dir: {store_dir}\n",
            metrics = ports.metrics,
        ))
    }

    fn sender_yaml(&self, ports: Ports, host: LogHost) -> anyhow::Result<String> {
        Ok(format!(
            "# Written by `logferry demo`.\n\
             sender:\n  \
               relay: http://{relay}\n  \
               local_address: {address}\n  \
               state_dir: {state_dir}\n  \
               chunk: {{max_delay: 200ms}}\n  \
               logs:\n    \
                 - path: {path}\n      \
                   exclude: [[\"/health.php\", \"nginx/\", \"health check\"]]\n",
            relay = ports.groups[host.group],
            address = host.address,
            state_dir = quoted(&self.log_host(host).join("state"))?,
            path = quoted(&self.log(host))?,
        ))
    }

    fn record_yaml(&self, ports: Ports, records: RecordPorts) -> anyhow::Result<String> {
        let captures = quoted(&self.log_host(RECORD_HOST).join("collector"))?;
        Ok(format!(
            "# Written by `logferry demo --all`.\n\
             sender:\n  \
               relay: http://{relay}\n  \
               local_address: {address}\n  \
               state_dir: {state_dir}\n  \
               chunk: {{max_delay: 200ms}}\n  \
               captures: {captures}\n\
             collector:\n  \
               state_dir: {captures}\n  \
               min_free_disk: 64MiB\n  \
               sources:\n    \
                 - {{type: http, name: http, listen: \"{http}\"}}\n    \
                 - {{type: tcp, name: tcp, listen: \"{tcp}\"}}\n    \
                 - {{type: syslog, name: syslog, listen: \"{syslog}\"}}\n",
            relay = ports.groups[RECORD_HOST.group],
            address = RECORD_HOST.address,
            state_dir = quoted(&self.log_host(RECORD_HOST).join("state"))?,
            http = records.http,
            tcp = records.tcp,
            syslog = records.syslog,
        ))
    }
}

fn group_yaml(group: usize, ports: Ports) -> String {
    let hosts = HOSTS
        .iter()
        .chain([&RECORD_HOST])
        .filter(|host| host.group == group);
    let sources: Vec<_> = hosts.map(|host| host.address.to_string()).collect();
    let (name, listen, sources) = (GROUPS[group], ports.groups[group], sources.join(", "));
    format!("    - {{name: {name}, listen: \"{listen}\", sources: [{sources}]}}\n")
}

/// The collector's ports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordPorts {
    http: SocketAddr,
    tcp: SocketAddr,
    syslog: SocketAddr,
}

impl RecordPorts {
    /// Ports that are free now.
    pub(crate) fn free() -> anyhow::Result<Self> {
        let listeners = [free_port()?, free_port()?, free_port()?];
        let [http, tcp, syslog] = listeners.each_ref().map(TcpListener::local_addr);
        Ok(Self {
            http: http?,
            tcp: tcp?,
            syslog: syslog?,
        })
    }

    /// The port of the source of this name.
    pub(crate) fn of(self, source: &str) -> SocketAddr {
        match source {
            "http" => self.http,
            "tcp" => self.tcp,
            _ => self.syslog,
        }
    }
}

/// The relay host's ports.
#[derive(Debug, Clone, Copy)]
struct Ports {
    groups: [SocketAddr; GROUPS.len()],
    metrics: SocketAddr,
}

/// Ports that are free now. If another process takes one first, the relay reports it.
fn free_ports() -> io::Result<Ports> {
    // All are held until the last one is known, so that they differ.
    let listeners = [free_port()?, free_port()?, free_port()?];
    let [first, second, metrics] = listeners.each_ref().map(TcpListener::local_addr);
    Ok(Ports {
        groups: [first?, second?],
        metrics: metrics?,
    })
}

fn free_port() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// A path as a YAML string. JSON strings are valid in YAML.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8; give another --dir", path.display()))?;
    Ok(serde_json::to_string(text)?)
}

fn create_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create the folder {}", path.display()))
}

/// Writes a new file that only its owner can read, since some hold a password. Not durable: the demo needs no file after a
/// crash.
pub(crate) fn write_file(path: &Path, text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let opened = OpenOptions::new()
        .create_new(true)
        .mode(0o600)
        .write(true)
        .open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_ref()))
        .with_context(|| format!("cannot write {}", path.display()))
}
