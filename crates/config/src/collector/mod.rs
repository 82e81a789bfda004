//! The `collector` section: the folder here, a file for each type of source beside it.
//!
//! A setting of a type of source is added to `RawCollectorSource` and to the type's own file; `docs/sources/` describes it. A key
//! that the type does not take is refused.

pub(crate) mod events;
pub(crate) mod journal;
pub(crate) mod listeners;
pub(crate) mod mysql;
mod raw_source;
pub(crate) mod source_tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use logferry_protocol::names::LogName;
use serde::Deserialize;

use crate::collector::events::WindowsEventsSettings;
use crate::collector::journal::JournalSettings;
use crate::collector::listeners::{HttpSourceSettings, SyslogSettings, TcpSettings};
use crate::collector::mysql::MysqlSettings;
use crate::collector::raw_source::RawCollectorSource;
use crate::sender::STATE_DIR as SENDER_STATE_DIR;
use crate::yaml::field::{ConfigField, RawText};

/// The default of `state_dir`, the sender's `captures` too.
const STATE_DIR: &str = "/var/lib/logferry/collector";

/// The smallest file that rotation makes: below it, files would come faster than they can be shipped.
const ROTATE_MIN: u64 = 64 << 10;

/// The default of `max_record`, the longest line of a capture file.
const RECORD_MAX: &str = "256KiB";

/// The settings of the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorSettings {
    /// Folder of the capture files: a folder for each source.
    pub state_dir: PathBuf,
    /// Folder in which the sender says what of the captures the relay has: its `state_dir`.
    pub sender_state_dir: PathBuf,
    /// Bytes of a capture file; then it is rotated.
    pub rotate_max_bytes: u64,
    /// Bytes of the largest record, as the line that is captured; at most the sender's `max_line`, which is 1 MiB.
    pub max_record: usize,
    /// Bytes of free disk; below it no record is taken.
    pub min_free_disk: u64,
    /// The sources, at least one; names are unique.
    pub sources: Vec<CollectorSource>,
    /// Address of `/metrics` and `/healthz`; none when absent.
    pub metrics: Option<SocketAddr>,
}

/// A source of the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorSource {
    /// Its name: the log's name too, and that of its folder.
    pub name: LogName,
    /// What it is.
    pub kind: CollectorSourceKind,
}

/// The type of a source, with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectorSourceKind {
    /// Clients post records.
    Http(HttpSourceSettings),
    /// Clients write a record a line.
    Tcp(TcpSettings),
    /// Clients write syslog.
    Syslog(SyslogSettings),
    /// The journal of this host.
    Journal(JournalSettings),
    /// A table of a MySQL or MariaDB server.
    Mysql(MysqlSettings),
    /// Windows event logs.
    WindowsEvents(WindowsEventsSettings),
}

impl CollectorSourceKind {
    /// Its name in the file.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Syslog(_) => "syslog",
            Self::Journal(_) => "journal",
            Self::Mysql(_) => "mysql",
            Self::WindowsEvents(_) => "windows_events",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawCollector {
    state_dir: RawText,
    sender_state_dir: Option<String>,
    rotate: RawRotate,
    max_record: RawText,
    min_free_disk: RawText,
    sources: Vec<RawCollectorSource>,
    metrics: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a mapping such as {max_bytes: 256MiB}"
)]
struct RawRotate {
    max_bytes: RawText,
}

impl RawCollector {
    /// `sender_state_dir`: of the sender's section, if the same file has one.
    pub(crate) fn resolve(
        self,
        at: &ConfigField<'_>,
        sender_state_dir: Option<&Path>,
    ) -> Option<CollectorSettings> {
        let state_dir = at.key("state_dir").path(self.state_dir.or(STATE_DIR));
        let given = at.optional("sender_state_dir", self.sender_state_dir, ConfigField::path);
        let rotate_at = at.key("rotate").key("max_bytes");
        let rotate_max_bytes = rotate_at.size(self.rotate.max_bytes.or("256MiB"), ROTATE_MIN..=u64::MAX);
        let max_record = at
            .key("max_record")
            .memory(self.max_record.or(RECORD_MAX), 4 << 10..=1 << 20);
        let min_free_disk = self.min_free_disk.or("256MiB");
        let min_free_disk = at.key("min_free_disk").size(min_free_disk, 0..=u64::MAX);
        let sources = resolve_sources(self.sources, &at.key("sources"));
        let metrics = at.optional("metrics", self.metrics, ConfigField::address);
        let sender_default = sender_state_dir.unwrap_or(Path::new(SENDER_STATE_DIR));
        Some(CollectorSettings {
            state_dir: state_dir?,
            sender_state_dir: given?.unwrap_or_else(|| sender_default.to_owned()),
            rotate_max_bytes: rotate_max_bytes?,
            max_record: max_record?,
            min_free_disk: min_free_disk?,
            sources: sources?,
            metrics: metrics?,
        })
    }
}

fn resolve_sources(raw: Vec<RawCollectorSource>, at: &ConfigField<'_>) -> Option<Vec<CollectorSource>> {
    if raw.is_empty() {
        return at
            .refuse("has no entry; write at least `- {type: http, name: api, listen: \"0.0.0.0:5000\"}`");
    }
    let sources = at.each(raw, resolve_source)?;
    let names: Vec<_> = sources.iter().map(|source| Some(source.name.clone())).collect();
    at.distinct(
        "name",
        names,
        "each source needs a name of its own, which is its log's name too",
    );
    Some(sources)
}

#[derive(Clone, Copy)]
enum TypeName {
    Http,
    Tcp,
    Syslog,
    Journal,
    Mysql,
    WindowsEvents,
}

fn resolve_source(mut raw: RawCollectorSource, at: &ConfigField<'_>) -> Option<CollectorSource> {
    let words = [
        ("http", TypeName::Http),
        ("tcp", TypeName::Tcp),
        ("syslog", TypeName::Syslog),
        ("journal", TypeName::Journal),
        ("mysql", TypeName::Mysql),
        ("windows_events", TypeName::WindowsEvents),
    ];
    let kind = at.required("type", raw.r#type.take(), "http", |at, text| {
        at.choice(text, &words)
    });
    let name = at.required("name", raw.name.take(), "api", ConfigField::parse);
    let kind = kind?;
    let resolved = match kind {
        TypeName::Http => HttpSourceSettings::take(&mut raw, at).map(CollectorSourceKind::Http),
        TypeName::Tcp => TcpSettings::take(&mut raw, at).map(CollectorSourceKind::Tcp),
        TypeName::Syslog => SyslogSettings::take(&mut raw, at).map(CollectorSourceKind::Syslog),
        TypeName::Journal => JournalSettings::take(&mut raw, at).map(CollectorSourceKind::Journal),
        TypeName::Mysql => MysqlSettings::take(&mut raw, at).map(CollectorSourceKind::Mysql),
        TypeName::WindowsEvents => {
            WindowsEventsSettings::take(&mut raw, at).map(CollectorSourceKind::WindowsEvents)
        }
    };
    let word = words.iter().find(|(_, of)| *of as u8 == kind as u8);
    let word = word.map_or("", |(word, _)| *word);
    for key in raw.left() {
        at.key(key)
            .report(format!("does not belong to a source of type {word}; remove it"));
    }
    Some(CollectorSource {
        name: name?,
        kind: resolved?,
    })
}
