//! The `forwarder` section: destinations, with their folders and names (`layout`), filters (`filter`) and publishing
//! (`publishing`).
//!
//! A setting of a destination is added here; `docs/configure.md` describes it.

pub(crate) mod filter;
pub(crate) mod layout;
pub(crate) mod publishing;

use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_protocol::names::{DestinationName, SourceId};
use logferry_time_windows::NameValues;
use serde::Deserialize;

use crate::backoff::Backoff;
use crate::forwarder::filter::{DeliveryFilter, Subscriber};
use crate::forwarder::layout::{RemoteBatchPaths, RemoteLayout};
use crate::forwarder::publishing::{Publishing, suffix};
use crate::yaml::field::{ConfigField, RawText};
use crate::yaml::secret::Secret;

/// The least bandwidth in bytes a second: with less, an SSH connection stalls.
const BANDWIDTH_MIN: u64 = 1 << 10;

const TEMP_SUFFIX: &str = ".part";

/// The settings of the forwarder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwarderSettings {
    /// Folder of the spool and of `ledger.db`.
    pub data_dir: PathBuf,
    /// How often to look for sealed batches, besides notifications.
    pub interval: Duration,
    /// The destinations, at least one; names are unique.
    pub destinations: Vec<Destination>,
    /// The console's folder, whose requests are carried out; `None`: there is no console.
    pub console_dir: Option<PathBuf>,
}

/// One destination: a folder on an SFTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The destination's name, unique in the file.
    pub name: DestinationName,
    /// The batches it gets.
    pub filter: DeliveryFilter,
    /// Host name or IP address.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// Folder at the destination that must exist. Not empty; no slash at its end, unless it is `/`.
    pub directory: String,
    /// Folders and names of batches below it.
    pub layout: RemoteLayout,
    /// The login.
    pub login: Login,
    /// The check of the destination's host key.
    pub host_key: HostKeyPolicy,
    /// Connections at one time, at least 1.
    pub sessions: usize,
    /// End of a file's name during its upload; not empty.
    pub temp_suffix: String,
    /// Compression, proof, manifest and marker of batches.
    pub publish: Publishing,
    /// Attempts for a batch before it counts as failed.
    pub retry: DeliveryRetry,
    /// Time between attempts for failed batches.
    pub failed_every: Duration,
    /// How long a connection may be silent while an answer is due.
    pub stall_after: Duration,
    /// Window manifests; `None`: it gets none.
    pub window_manifest: Option<WindowManifest>,
    /// Bytes per second over all connections together; `None`: no limit.
    pub bandwidth: Option<u64>,
}

impl ForwarderSettings {
    /// The destinations with their filters.
    pub fn subscribers(&self) -> Vec<Subscriber> {
        let subscriber = |destination: &Destination| Subscriber {
            name: destination.name.clone(),
            filter: destination.filter.clone(),
        };
        self.destinations.iter().map(subscriber).collect()
    }
}

/// The settings of window manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowManifest {
    /// How long after a window's end the manifest waits for a source that may still have lines of it.
    pub wait: Duration,
    /// Sources that count as missing if they never made contact.
    pub expected_sources: Vec<SourceId>,
}

/// The login at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// With a password.
    Password(Secret),
    /// With a private key.
    Key {
        /// The key file.
        file: PathBuf,
        /// Its passphrase, if it has one.
        passphrase: Option<Secret>,
    },
    /// With a private key and then a password, for a server that wants both.
    KeyAndPassword {
        /// The key file.
        file: PathBuf,
        /// Its passphrase, if it has one.
        passphrase: Option<Secret>,
        /// The password.
        password: Secret,
    },
    /// With a key of an SSH agent.
    Agent {
        /// The agent's socket; `None`: the one in the environment variable `SSH_AUTH_SOCK`.
        socket: Option<PathBuf>,
    },
}

/// The check of a destination's host key. An unknown key is always refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// It must be in this file, which has the format of OpenSSH's `known_hosts`.
    KnownHosts(PathBuf),
    /// It must have this fingerprint, `SHA256:` and 43 characters of Base64, as OpenSSH prints it.
    Fingerprint(String),
}

/// Attempts for a batch before it counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryRetry {
    /// Attempts, at least 1.
    pub attempts: u32,
    /// The waits between them.
    pub backoff: Backoff,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawForwarder {
    data_dir: Option<String>,
    interval: RawText,
    destinations: Vec<RawDestination>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawDestination {
    name: Option<String>,
    sources: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    logs: Option<Vec<String>>,
    host: Option<String>,
    port: RawText,
    user: Option<String>,
    directory: Option<String>,
    file_name: Option<String>,
    password: Option<String>,
    password_file: Option<String>,
    key_file: Option<String>,
    passphrase: Option<String>,
    passphrase_file: Option<String>,
    agent: bool,
    agent_socket: Option<String>,
    known_hosts: Option<String>,
    host_key: Option<String>,
    sessions: RawText,
    compress: RawText,
    verify: RawText,
    temp_suffix: RawText,
    marker: Option<String>,
    manifest: Option<String>,
    retry: RawRetry,
    failed_every: RawText,
    stall_after: RawText,
    bandwidth: Option<String>,
    window_manifest: bool,
    window_wait: RawText,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawRetry {
    attempts: RawText,
    initial: RawText,
    max: RawText,
}

impl RawForwarder {
    /// `spool`: the folder if the section has none.
    pub(crate) fn resolve(self, at: &ConfigField<'_>, spool: &Path) -> Option<ForwarderSettings> {
        let data_dir = at.optional("data_dir", self.data_dir, ConfigField::path);
        let interval = at.key("interval").interval(self.interval.or("5s"));
        let destinations = resolve_destinations(self.destinations, &at.key("destinations"));
        Some(ForwarderSettings {
            data_dir: data_dir?.unwrap_or_else(|| spool.to_owned()),
            interval: interval?,
            destinations: destinations?,
            console_dir: None,
        })
    }
}

fn resolve_destinations(raw: Vec<RawDestination>, at: &ConfigField<'_>) -> Option<Vec<Destination>> {
    if raw.is_empty() {
        return at.refuse(
            "has no entry; write at least name, host, user, directory and password_file or key_file of one",
        );
    }
    let destinations = at.each(raw, RawDestination::resolve)?;
    let names = destinations.iter().map(|destination| Some(&destination.name));
    at.distinct("name", names, "give each destination a name of its own");
    Some(destinations)
}

impl RawDestination {
    fn resolve(self, at: &ConfigField<'_>) -> Option<Destination> {
        let login = self.login(at);
        let host_key = self.host_key(at);
        let publish = self.publishing(at);
        let name = at.required("name", self.name, "edw", ConfigField::parse);
        let host = at.required("host", self.host, "drop.example.com", ConfigField::host);
        let port = at.key("port").port(self.port.or("22"));
        let user = at.required("user", self.user, "ferry", ConfigField::filled);
        let file_name = at.optional("file_name", self.file_name, |at, raw| {
            at.check(raw, layout::parse_name)
        });
        let directory = at.required("directory", self.directory, "/cdrdata/source_data", |at, raw| {
            at.accept(layout::parse_directory(&at.filled(raw)?))
        });
        let filter = filter::resolve(self.sources, self.groups, self.logs, at);
        let sessions = at.key("sessions").number(self.sessions.or("4"), 1..=64);
        let temp_suffix = at
            .key("temp_suffix")
            .check(self.temp_suffix.or(TEMP_SUFFIX), |text| suffix(text, TEMP_SUFFIX));
        let retry = self.retry.resolve(&at.key("retry"));
        let failed_every = at.key("failed_every").interval(self.failed_every.or("60s"));
        let stall_after = at.key("stall_after").interval(self.stall_after.or("30s"));
        let bandwidth = at.optional("bandwidth", self.bandwidth, |at, raw| {
            at.size(raw, BANDWIDTH_MIN..=u64::MAX)
        });
        let window_wait = at.key("window_wait").time(self.window_wait.or("32m"));
        let (directory, subfolders) = directory?;
        Some(Destination {
            name: name?,
            filter: filter?,
            host: host?,
            port: port?,
            user: user?,
            directory: without_slash(&directory),
            layout: RemoteLayout::new(subfolders, file_name?),
            login: login?,
            host_key: host_key?,
            sessions: sessions?,
            temp_suffix: temp_suffix?,
            publish: publish?,
            retry: retry?,
            failed_every: failed_every?,
            stall_after: stall_after?,
            bandwidth: bandwidth?,
            window_manifest: window_wait.map(|wait| {
                let expected_sources = Vec::new();
                self.window_manifest.then_some(WindowManifest {
                    wait,
                    expected_sources,
                })
            })?,
        })
    }

    fn login(&self, at: &ConfigField<'_>) -> Option<Login> {
        let password = at.secret(
            ("password", self.password.as_deref()),
            ("password_file", self.password_file.as_deref()),
        );
        let passphrase = at.secret(
            ("passphrase", self.passphrase.as_deref()),
            ("passphrase_file", self.passphrase_file.as_deref()),
        );
        let file = at.optional("key_file", self.key_file.clone(), ConfigField::path);
        let socket = at.optional("agent_socket", self.agent_socket.clone(), ConfigField::path);
        let (password, file, passphrase, socket) = (password?, file?, passphrase?, socket?);
        if socket.is_some() && !self.agent {
            return at
                .key("agent_socket")
                .refuse("names the socket of an agent that is not used; write agent: true beside it");
        }
        if let Some(file) = &file {
            at.key("key_file").warn_if_world_readable(file);
        }
        if self.agent && (password.is_some() || file.is_some()) {
            return at
                .key("agent")
                .refuse("cannot be used together with a password or key_file; remove one of them");
        }
        if file.is_none() && passphrase.is_some() {
            return at
                .refuse("has a passphrase but no key_file; write key_file, or leave the passphrase out");
        }
        match (file, password) {
            (Some(file), None) => Some(Login::Key { file, passphrase }),
            (None, Some(password)) => Some(Login::Password(password)),
            (Some(file), Some(password)) => Some(Login::KeyAndPassword {
                file,
                passphrase,
                password,
            }),
            (None, None) if self.agent => Some(Login::Agent { socket }),
            (None, None) => at.refuse("has no login; write password_file, key_file or agent: true"),
        }
    }

    fn host_key(&self, at: &ConfigField<'_>) -> Option<HostKeyPolicy> {
        match (self.known_hosts.as_deref(), self.host_key.as_deref()) {
            (Some(_), Some(_)) => at
                .key("host_key")
                .refuse("cannot be used together with `known_hosts`; remove one of them"),
            (None, Some(raw)) => at
                .key("host_key")
                .check(raw, fingerprint)
                .map(HostKeyPolicy::Fingerprint),
            (known_hosts, None) => at
                .key("known_hosts")
                .path(known_hosts.unwrap_or("/etc/logferry/known_hosts"))
                .map(HostKeyPolicy::KnownHosts),
        }
    }
}

impl RawRetry {
    fn resolve(&self, at: &ConfigField<'_>) -> Option<DeliveryRetry> {
        let attempts = at.key("attempts").number(self.attempts.or("3"), 1..=1000);
        let backoff = at.backoff(self.initial.or("5s"), self.max.or("5m"));
        Some(DeliveryRetry {
            attempts: attempts?,
            backoff: backoff?,
        })
    }
}

/// OpenSSH prints the 32 bytes of a SHA-256 as Base64 without padding (ssh-keygen(1), `-l`).
fn fingerprint(text: &str) -> Result<String, String> {
    const DIGITS: usize = 43;
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
    match text.strip_prefix("SHA256:") {
        Some(hash) if hash.len() == DIGITS && hash.bytes().all(base64) => Ok(text.to_owned()),
        _ => Err(format!(
            "`{text}` is not a fingerprint; write `SHA256:` and 43 characters, as ssh-keygen -l prints it"
        )),
    }
}

fn without_slash(directory: &str) -> String {
    match directory.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

impl Destination {
    /// The paths of a batch, the `part`th of its window.
    pub fn paths(&self, values: &NameValues<'_>, part: u32) -> RemoteBatchPaths {
        let extension = self.publish.compress.extension();
        self.layout.paths(&self.directory, extension, values, part)
    }
}
