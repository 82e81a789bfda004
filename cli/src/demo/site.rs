//! The demo's little world on disk: three hosts, the middle host and the client's folder, with the configuration of each
//! written out, so that a reader can look at it and run other commands on it.
//!
//! ```text
//! DIR/hosts/<address>/access.log, sender.yaml, state/
//! DIR/middle/logferry.yaml, known_hosts, relay/ (the spool and the ledger)
//! DIR/delivered/   what the client gets
//! DIR/mails/       what people would have been mailed
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use logferry_config::Config;
use logferry_embedded_servers::{MailSink, SftpServer};
use logferry_protocol::names::SourceId;

/// The user and password of the demo's drop; it listens on loopback and lives as long as the demo.
pub(crate) const DROP_LOGIN: &str = "demo";

/// A host that writes a log, by its address: each has one of its own on the loopback interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Host {
    address: IpAddr,
    group: usize,
}

impl Host {
    /// The host as the relay names it.
    pub(crate) fn source(self) -> SourceId {
        SourceId::from(self.address)
    }
}

const GROUPS: [&str; 2] = ["web-1", "web-2"];

pub(crate) const HOSTS: [Host; 3] = [host(11, 0), host(12, 0), host(13, 1)];

const fn host(last: u8, group: usize) -> Host {
    Host {
        address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)),
        group,
    }
}

/// The folders of the demo.
#[derive(Debug)]
pub(crate) struct Site {
    dir: PathBuf,
}

impl Site {
    /// Makes the folders in `dir`, which must be empty or not there: what an earlier demo left would be counted again.
    pub(crate) fn create(dir: &Path) -> anyhow::Result<Self> {
        make_folder(dir)?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot find {}", dir.display()))?;
        let is_empty = fs::read_dir(&dir)
            .with_context(|| format!("cannot read {}", dir.display()))?
            .next()
            .is_none();
        ensure!(
            is_empty,
            "{} is not empty; give a new folder with --dir",
            dir.display()
        );
        let site = Self { dir };
        for folder in [site.delivered(), site.mails(), site.middle()] {
            make_folder(&folder)?;
        }
        for host in HOSTS {
            make_folder(&site.host(host))?;
        }
        Ok(site)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn delivered(&self) -> PathBuf {
        self.dir.join("delivered")
    }

    pub(crate) fn mails(&self) -> PathBuf {
        self.dir.join("mails")
    }

    /// The configuration of the middle host.
    pub(crate) fn middle_file(&self) -> PathBuf {
        self.middle().join("logferry.yaml")
    }

    /// The spool and the ledger.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.middle().join("relay")
    }

    pub(crate) fn log(&self, host: Host) -> PathBuf {
        self.host(host).join("access.log")
    }

    fn middle(&self) -> PathBuf {
        self.dir.join("middle")
    }

    fn host(&self, host: Host) -> PathBuf {
        self.dir.join("hosts").join(host.address.to_string())
    }

    /// Writes the configuration of every host and reads it back: the middle host's first, then one per sender.
    pub(crate) fn configure(&self, drop: &SftpServer, mail: &MailSink) -> anyhow::Result<Vec<Config>> {
        let ports = free_ports().context("cannot find a free port on loopback")?;
        write_file(&self.middle().join("known_hosts"), drop.known_hosts_line())?;
        let mut files = vec![(self.middle_file(), self.middle_yaml(ports, drop, mail)?)];
        for host in HOSTS {
            files.push((
                self.host(host).join("sender.yaml"),
                self.sender_yaml(ports, host)?,
            ));
        }
        let load = |(file, text): (PathBuf, String)| {
            write_file(&file, &text)?;
            Ok(logferry_config::load(&file)?)
        };
        files.into_iter().map(load).collect()
    }

    fn middle_yaml(&self, ports: Ports, drop: &SftpServer, mail: &MailSink) -> anyhow::Result<String> {
        let data_dir = quoted(&self.data_dir())?;
        let known_hosts = quoted(&self.middle().join("known_hosts"))?;
        let (drop, mail) = (drop.port(), mail.port());
        let groups: String = (0..GROUPS.len()).map(|group| group_yaml(group, ports)).collect();
        Ok(format!(
            "# Written by `logferry demo`, with short windows so that there is something to see.\n\
             relay:\n  \
               data_dir: {data_dir}\n  \
               groups:\n{groups}  \
               batch: {{window: 10s, seal_after: 2s, slack: 1s, hold: 10s}}\n  \
               limits: {{min_free_disk: 64MiB}}\n  \
               metrics: {metrics}\n\
             forwarder:\n  \
               interval: 1s\n  \
               destinations:\n    \
                 - {{name: drop, host: 127.0.0.1, port: {drop}, user: {DROP_LOGIN}, password: {DROP_LOGIN}, \
                     directory: /delivered, known_hosts: {known_hosts}}}\n\
             monitor:\n  \
               interval: 5s\n  \
               metrics: null\n  \
               smtp: {{host: 127.0.0.1, port: {mail}, from: logferry@example.com, to: [ops@example.com]}}\n\
             housekeeper: {{}}\n",
            metrics = ports.metrics,
        ))
    }

    fn sender_yaml(&self, ports: Ports, host: Host) -> anyhow::Result<String> {
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
            state_dir = quoted(&self.host(host).join("state"))?,
            path = quoted(&self.log(host))?,
        ))
    }
}

fn group_yaml(group: usize, ports: Ports) -> String {
    let sources: Vec<String> = HOSTS
        .iter()
        .filter(|host| host.group == group)
        .map(|host| host.address.to_string())
        .collect();
    let (name, listen) = (GROUPS[group], ports.groups[group]);
    format!(
        "    - {{name: {name}, listen: \"{listen}\", sources: [{}]}}\n",
        sources.join(", ")
    )
}

/// Where the middle host listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    groups: [SocketAddr; GROUPS.len()],
    metrics: SocketAddr,
}

/// Ports that were free a moment ago. Another process could take one before the relay does, which then says so.
fn free_ports() -> io::Result<Ports> {
    // All are held until the last is known, so that no two are the same.
    let listeners = [free_port()?, free_port()?, free_port()?];
    let [first, second, metrics] = [
        listeners[0].local_addr()?,
        listeners[1].local_addr()?,
        listeners[2].local_addr()?,
    ];
    Ok(Ports {
        groups: [first, second],
        metrics,
    })
}

fn free_port() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// A path as a YAML string: JSON's strings are YAML's too.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8; give another --dir", path.display()))?;
    Ok(serde_json::to_string(text)?)
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Writes a new file that only its owner can read, since some hold a password. Not durable: the demo does not outlive
/// the machine.
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
