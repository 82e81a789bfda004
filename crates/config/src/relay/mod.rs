//! The `relay` section: groups, their sources (`sources`), and batches (`batch`).
//!
//! A setting of the relay is added here; `docs/configure.md` describes it.

pub(crate) mod batch;
pub(crate) mod sources;

use std::net::SocketAddr;
use std::path::PathBuf;

use logferry_protocol::names::GroupName;
use serde::Deserialize;

use crate::relay::batch::{BatchSettings, RawBatch};
use crate::relay::sources::{SourceEntry, SourceList};
use crate::yaml::field::{ConfigField, RawText};

/// The settings of the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// Folder of the spool and of `ledger.db`.
    pub data_dir: PathBuf,
    /// The groups, at least one; names and ports are unique.
    pub groups: Vec<GroupSettings>,
    /// The settings of batches.
    pub batch: BatchSettings,
    /// Bounds of each group.
    pub limits: GroupLimits,
    /// TLS on every group's port; `None`: no TLS.
    pub tls: Option<ServerTls>,
    /// The file of tokens; a client must send one of them. `None`: no token is needed.
    pub tokens_file: Option<PathBuf>,
    /// Address of `/metrics` and `/healthz`; none when absent.
    pub metrics: Option<SocketAddr>,
}

/// The sources that share a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// The group's name, unique in the file.
    pub name: GroupName,
    /// The address to listen on; with port 0 the system chooses one.
    pub listen: SocketAddr,
    /// The sources that may send.
    pub sources: SourceList,
    /// Whether the relay accepts the source that a client names, if it is in `sources`.
    pub trust_source: bool,
}

/// The files of TLS, in PEM. The relay reads them every few seconds, so they can be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The relay's certificate, then the intermediate certificates.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// The authorities; a client must have a certificate of one of them. `None`: no certificate is needed.
    pub client_ca_file: Option<PathBuf>,
}

/// Bounds of one group. At each bound the relay answers "wait" or "too large"; it drops no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Bytes of the largest request body; at most `max_in_flight`.
    pub max_chunk: usize,
    /// Bytes of all request bodies in memory at one time.
    pub max_in_flight: usize,
    /// Bytes of the bodies of all groups together; at least `max_in_flight`.
    pub max_in_flight_total: usize,
    /// Open connections, 1 to 65536.
    pub max_connections: usize,
    /// Bytes of free disk; below it the relay accepts no lines.
    pub min_free_disk: u64,
}

/// The default folder of the spool, for every role of the middle host.
pub(crate) const DATA_DIR: &str = "/var/lib/logferry/relay";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawRelay {
    data_dir: RawText,
    groups: Vec<RawGroup>,
    batch: RawBatch,
    limits: RawLimits,
    tls: RawServerTls,
    tokens_file: Option<String>,
    #[serde(default = "metrics_address")]
    metrics: Option<String>,
}

/// The default. `null` in the file means no address.
#[expect(clippy::unnecessary_wraps, reason = "the type of the field")]
fn metrics_address() -> Option<String> {
    Some("127.0.0.1:9102".into())
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawGroup {
    name: Option<String>,
    listen: Option<String>,
    sources: Option<Vec<String>>,
    trust_source: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawLimits {
    max_chunk: RawText,
    max_in_flight: RawText,
    max_in_flight_total: RawText,
    max_connections: RawText,
    min_free_disk: RawText,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
#[expect(clippy::struct_field_names, reason = "named as in the file")]
pub(crate) struct RawServerTls {
    pub(crate) cert_file: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) client_ca_file: Option<String>,
}

impl RawRelay {
    /// The data folder, which is that of the other roles of the host too.
    pub(crate) fn data_dir(&self, at: &ConfigField<'_>) -> Option<PathBuf> {
        at.key("data_dir").path(self.data_dir.or(DATA_DIR))
    }

    /// `data_dir`: from [`Self::data_dir`].
    pub(crate) fn resolve(self, at: &ConfigField<'_>, data_dir: Option<PathBuf>) -> Option<RelaySettings> {
        let binds_names = self.tls.client_ca_file.is_some() || self.tokens_file.is_some();
        let groups = resolve_groups(self.groups, binds_names, &at.key("groups"));
        let batch = self.batch.resolve(&at.key("batch"));
        if let (Some(groups), Some(batch)) = (&groups, &batch) {
            check_source_names(groups, batch, &at.key("groups"));
        }
        let limits = self.limits.resolve(&at.key("limits"));
        let tls = self.tls.resolve(&at.key("tls"));
        let tokens_file = at.optional("tokens_file", self.tokens_file, ConfigField::secret_path);
        if let (Some(None), Some(Some(_))) = (&tls, &tokens_file) {
            at.key("tokens_file")
                .warn("without `tls`, tokens can be read on the network; set tls too");
        }
        let metrics = at.optional("metrics", self.metrics, ConfigField::address);
        Some(RelaySettings {
            data_dir: data_dir?,
            groups: groups?,
            batch: batch?,
            limits: limits?,
            tls: tls?,
            tokens_file: tokens_file?,
            metrics: metrics?,
        })
    }
}

impl RawServerTls {
    #[expect(clippy::option_option, reason = "outer: no problem; inner: TLS is spoken")]
    pub(crate) fn resolve(self, at: &ConfigField<'_>) -> Option<Option<ServerTls>> {
        let cert_file = at.optional("cert_file", self.cert_file, ConfigField::readable);
        let key_file = at.optional("key_file", self.key_file, ConfigField::secret_path);
        let client_ca_file = at.optional("client_ca_file", self.client_ca_file, ConfigField::readable);
        match (cert_file?, key_file?, client_ca_file?) {
            (Some(cert_file), Some(key_file), client_ca_file) => Some(Some(ServerTls {
                cert_file,
                key_file,
                client_ca_file,
            })),
            (None, None, None) => Some(None),
            (None, None, Some(_)) => {
                at.refuse("has client_ca_file, which counts with TLS only; write cert_file and key_file too")
            }
            _ => at.refuse("has only one of cert_file and key_file; write both or neither"),
        }
    }
}

/// `binds_names`: certificates or tokens bind the source, so a source may be a name.
fn resolve_groups(raw: Vec<RawGroup>, binds_names: bool, at: &ConfigField<'_>) -> Option<Vec<GroupSettings>> {
    if raw.is_empty() {
        return at.refuse("has no entry; write at least `- {name: web-1, listen: \"0.0.0.0:5001\"}`");
    }
    let groups = at.each(raw, |group: RawGroup, at| group.resolve(binds_names, at))?;
    let names = groups.iter().map(|group| Some(&group.name));
    at.distinct("name", names, "give each group a name of its own");
    Some(groups)
}

impl RawGroup {
    fn resolve(self, binds_names: bool, at: &ConfigField<'_>) -> Option<GroupSettings> {
        let name = at.required("name", self.name, "web-1", ConfigField::parse);
        let listen = at.required("listen", self.listen, "0.0.0.0:5001", ConfigField::address);
        let sources = match self.sources {
            Some(sources) => resolve_sources(sources, self.trust_source || binds_names, &at.key("sources")),
            None => Some(SourceList::Any),
        };
        Some(GroupSettings {
            name: name?,
            listen: listen?,
            sources: sources?,
            trust_source: self.trust_source,
        })
    }
}

/// Reports the listed sources whose names are too long for the names of their batches.
fn check_source_names(groups: &[GroupSettings], batch: &BatchSettings, at: &ConfigField<'_>) {
    for (index, group) in groups.iter().enumerate() {
        let SourceList::Only { names, .. } = &group.sources else {
            continue;
        };
        for name in names {
            if let Err(error) = batch.check_source(name, &group.name, None) {
                let sources = at.item(index).key("sources");
                sources.report(format!("has `{name}`, whose name is too long: {error}"));
            }
        }
    }
}

fn resolve_sources(raw: Vec<String>, may_be_names: bool, at: &ConfigField<'_>) -> Option<SourceList> {
    if raw.is_empty() {
        return at
            .refuse("is empty, so no sender is admitted; list the sources, or leave it out to admit any");
    }
    let entries = at.each(raw, |text: String, at| {
        let entry = at.check(&text, SourceEntry::parse)?;
        if let (SourceEntry::Name(name), false) = (&entry, may_be_names) {
            at.report(format!(
                "`{name}` is a host name, which counts only with `trust_source: true`, tokens or client certificates; \
                 write its address"
            ));
        }
        Some(entry)
    })?;
    Some(SourceList::only(entries))
}

impl RawLimits {
    fn resolve(&self, at: &ConfigField<'_>) -> Option<GroupLimits> {
        const SMALLEST: u64 = 4 << 10;
        const MOST_CONNECTIONS: usize = 1 << 16;
        let max_chunk = self.max_chunk.or("16MiB");
        let max_chunk = at.key("max_chunk").memory(max_chunk, SMALLEST..=u64::MAX);
        let least_in_flight = max_chunk.map_or(SMALLEST, |bytes| bytes as u64);
        let max_in_flight = at
            .key("max_in_flight")
            .memory(self.max_in_flight.or("64MiB"), least_in_flight..=u64::MAX);
        let total = self.max_in_flight_total.or("64MiB");
        let total = at.key("max_in_flight_total").memory(total, SMALLEST..=u64::MAX);
        let max_connections = at
            .key("max_connections")
            .number(self.max_connections.or("1024"), 1..=MOST_CONNECTIONS);
        let min_free_disk = self.min_free_disk.or("1GiB");
        let min_free_disk = at.key("min_free_disk").size(min_free_disk, 0..=u64::MAX);
        Some(GroupLimits {
            max_chunk: max_chunk?,
            max_in_flight: max_in_flight?,
            max_in_flight_total: total?.max(max_in_flight?),
            max_connections: max_connections?,
            min_free_disk: min_free_disk?,
        })
    }
}
