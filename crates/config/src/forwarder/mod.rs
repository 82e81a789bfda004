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
use crate::forwarder::filter::{DeliveryFilter, RawDeliveryFilter, Subscriber};
use crate::forwarder::layout::{RemoteBatchPaths, RemoteLayout};
use crate::forwarder::publishing::{Publishing, RawPublishing, suffix};
use crate::yaml::field::ConfigField;
use crate::yaml::secret::Secret;

/// The least bandwidth in bytes a second: with less, an SSH connection stalls.
const BANDWIDTH_MIN: u64 = 1 << 10;

/// The settings of the forwarder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwarderSettings {
    /// Folder of the spool and of `ledger.db`.
    pub data_dir: PathBuf,
    /// How often to look for sealed batches, besides notifications.
    pub interval: Duration,
    /// The destinations, at least one; names are unique.
    pub destinations: Vec<Destination>,
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

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawForwarder {
    data_dir: Option<String>,
    interval: String,
    destinations: Vec<RawDestination>,
}

impl Default for RawForwarder {
    fn default() -> Self {
        Self {
            data_dir: None,
            interval: "5s".into(),
            destinations: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawDestination {
    name: Option<String>,
    sources: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    logs: Option<Vec<String>>,
    host: Option<String>,
    port: String,
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
    sessions: String,
    compress: String,
    verify: String,
    temp_suffix: String,
    marker: Option<String>,
    manifest: Option<String>,
    retry: RawRetry,
    failed_every: String,
    stall_after: String,
    bandwidth: Option<String>,
    window_manifest: bool,
    window_wait: String,
}

impl Default for RawDestination {
    fn default() -> Self {
        Self {
            name: None,
            sources: None,
            groups: None,
            logs: None,
            host: None,
            port: "22".into(),
            user: None,
            directory: None,
            file_name: None,
            password: None,
            password_file: None,
            key_file: None,
            passphrase: None,
            passphrase_file: None,
            agent: false,
            agent_socket: None,
            known_hosts: None,
            host_key: None,
            sessions: "4".into(),
            compress: "none".into(),
            verify: "size".into(),
            temp_suffix: ".part".into(),
            marker: None,
            manifest: None,
            retry: RawRetry::default(),
            failed_every: "60s".into(),
            stall_after: "30s".into(),
            bandwidth: None,
            window_manifest: false,
            window_wait: "32m".into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawRetry {
    attempts: String,
    initial: String,
    max: String,
}

impl Default for RawRetry {
    fn default() -> Self {
        Self {
            attempts: "3".into(),
            initial: "5s".into(),
            max: "5m".into(),
        }
    }
}

impl RawForwarder {
    /// `spool`: the folder if the section has none.
    pub(crate) fn resolve(self, at: &ConfigField<'_>, spool: &Path) -> Option<ForwarderSettings> {
        let data_dir = at
            .key("data_dir")
            .optional(self.data_dir.as_deref(), ConfigField::path);
        let interval = at.key("interval").interval(&self.interval);
        let destinations = resolve_destinations(self.destinations, &at.key("destinations"));
        Some(ForwarderSettings {
            data_dir: data_dir?.unwrap_or_else(|| spool.to_owned()),
            interval: interval?,
            destinations: destinations?,
        })
    }
}

fn resolve_destinations(raw: Vec<RawDestination>, at: &ConfigField<'_>) -> Option<Vec<Destination>> {
    if raw.is_empty() {
        at.report(
            "has no entry; write at least name, host, user, directory and password_file or key_file of one",
        );
        return None;
    }
    let destinations = at.each(raw, RawDestination::resolve)?;
    let names: Vec<_> = destinations
        .iter()
        .map(|destination| Some(&destination.name))
        .collect();
    at.distinct("name", &names, "give each destination a name of its own");
    Some(destinations)
}

/// The folder that must exist, and the layout below it.
fn place(
    directory: Option<String>,
    file_name: Option<&str>,
    at: &ConfigField<'_>,
) -> Option<(String, RemoteLayout)> {
    let file_name = at
        .key("file_name")
        .optional(file_name, |at, raw| at.check(raw, layout::parse_name));
    let at = at.key("directory");
    let raw = at.required(directory, "/cdrdata/source_data")?;
    let parsed = layout::parse_directory(&at.filled(&raw)?);
    let (directory, subfolders) = parsed.map_err(|error| at.report(error.to_string())).ok()?;
    Some((directory, RemoteLayout::new(subfolders, file_name?)))
}

impl RawDestination {
    fn resolve(self, at: &ConfigField<'_>) -> Option<Destination> {
        let login = self.login(at);
        let host_key = self.host_key(at);
        let required = |key, raw, example| {
            let place = at.key(key);
            place.required(raw, example).map(|raw| (place, raw))
        };
        let name = required("name", self.name, "edw").and_then(|(at, raw)| at.parse(&raw));
        let host = required("host", self.host, "drop.example.com").and_then(|(at, raw)| at.host(&raw));
        let port = at.key("port").port(&self.port);
        let user = required("user", self.user, "ferry").and_then(|(at, raw)| at.filled(&raw));
        let place = place(self.directory, self.file_name.as_deref(), at);
        let wants = RawDeliveryFilter {
            sources: self.sources,
            groups: self.groups,
            logs: self.logs,
        };
        let wants = wants.resolve(at);
        let sessions = at.key("sessions").number(&self.sessions, 1..=64);
        let temp_suffix = at
            .key("temp_suffix")
            .check(&self.temp_suffix, |text| suffix(text, ".part"));
        let publish = RawPublishing {
            verify: &self.verify,
            compress: &self.compress,
            manifest: self.manifest.as_deref(),
            marker: self.marker.as_deref(),
            temp_suffix: &self.temp_suffix,
        }
        .resolve(at);
        let retry = self.retry.resolve(&at.key("retry"));
        let failed_every = at.key("failed_every").interval(&self.failed_every);
        let stall_after = at.key("stall_after").interval(&self.stall_after);
        let bandwidth = at
            .key("bandwidth")
            .optional(self.bandwidth.as_deref(), |at, raw| {
                at.size(raw, BANDWIDTH_MIN..=u64::MAX)
            });
        let window_wait = at.key("window_wait").time(&self.window_wait);
        let (directory, layout) = place?;
        Some(Destination {
            name: name?,
            filter: wants?,
            host: host?,
            port: port?,
            user: user?,
            directory: without_slash(&directory),
            layout,
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
                self.window_manifest.then(|| WindowManifest {
                    wait,
                    expected_sources: Vec::new(),
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
        let key = at.key("key_file");
        let file = key.optional(self.key_file.as_deref(), ConfigField::path);
        let socket = at.key("agent_socket");
        let agent_socket = socket.optional(self.agent_socket.as_deref(), ConfigField::path);
        let (password, file, passphrase, agent_socket) = (password?, file?, passphrase?, agent_socket?);
        if agent_socket.is_some() && !self.agent {
            socket.report("names the socket of an agent that is not used; write agent: true beside it");
            return None;
        }
        let agent = self.agent.then_some(Login::Agent { socket: agent_socket });
        if let Some(file) = &file {
            key.warn_if_world_readable(file);
        }
        if agent.is_some() && (password.is_some() || file.is_some()) {
            at.key("agent")
                .report("cannot be used together with a password or key_file; remove one of them");
            return None;
        }
        if file.is_none() && passphrase.is_some() {
            at.report("has a passphrase but no key_file; write key_file, or leave the passphrase out");
            return None;
        }
        let login = match (file, password) {
            (Some(file), None) => Some(Login::Key { file, passphrase }),
            (None, Some(password)) => Some(Login::Password(password)),
            (Some(file), Some(password)) => Some(Login::KeyAndPassword {
                file,
                passphrase,
                password,
            }),
            (None, None) => agent,
        };
        if login.is_none() {
            at.report("has no login; write password_file, key_file or agent: true");
        }
        login
    }

    fn host_key(&self, at: &ConfigField<'_>) -> Option<HostKeyPolicy> {
        match (self.known_hosts.as_deref(), self.host_key.as_deref()) {
            (Some(_), Some(_)) => {
                at.key("host_key")
                    .report("cannot be used together with `known_hosts`; remove one of them");
                None
            }
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
        let attempts = at.key("attempts").number(&self.attempts, 1..=1000);
        let backoff = at.backoff(&self.initial, &self.max);
        let (attempts, (initial, max)) = (attempts?, backoff?);
        Some(DeliveryRetry {
            attempts,
            backoff: Backoff { initial, max },
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
