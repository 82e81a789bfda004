//! The `sender` section: logs and chunks here, the way to the relay in `relay_endpoint`.
//!
//! A setting of the sender is added here; `docs/configure.md` describes it.

pub(crate) mod relay_endpoint;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_protocol::names::{LogName, SourceId};
use serde::Deserialize;

use crate::backoff::Backoff;
use crate::sender::relay_endpoint::{
    ChunkCompression, ClientTls, RawAddresses, RawClientTls, RelayAddress, token_file,
};
use crate::yaml::field::{ConfigField, RawText, refuse_home};

/// The settings of a sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderSettings {
    /// The relay's addresses for this host's group, at least one, tried in this order. All belong to one relay.
    pub relay: Vec<RelayAddress>,
    /// The source of this host's lines.
    pub source: SourceSetting,
    /// Local address of outgoing connections; `None`: any.
    pub local_address: Option<IpAddr>,
    /// Folder of the checkpoint.
    pub state_dir: PathBuf,
    /// The logs to ship, at least one unless there are `captures`; names are unique.
    pub logs: Vec<LogSettings>,
    /// The collector's folder, whose capture files are logs too; each source's name is its log's name.
    pub captures: Option<PathBuf>,
    /// Bounds of a chunk.
    pub chunk: ChunkLimits,
    /// Chunks in flight at one time, 1 to 64.
    pub in_flight: usize,
    /// The compression of chunks.
    pub compression: ChunkCompression,
    /// File with the token for the relay; `None`: no token. Only its first line counts. It is read at each connection, so it
    /// can be renewed.
    pub token_file: Option<PathBuf>,
    /// The files of TLS.
    pub tls: ClientTls,
    /// The waits between attempts. The sender never gives up.
    pub retry: Backoff,
    /// Address of `/metrics` and `/healthz`; none when absent.
    pub metrics: Option<SocketAddr>,
}

/// The source of a sender's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSetting {
    /// The address that the relay sees.
    Auto,
    /// This name or address, if the relay's group trusts it.
    Named(SourceId),
}

/// One log of a sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Path of the live file, or a glob for several.
    pub path: String,
    /// The names of its rotated files.
    pub rotated: RotatedNames,
    /// Name of the log at the relay.
    pub name: LogName,
    /// The start position in a file that was never seen before.
    pub start: StartPosition,
    /// A line is dropped if it contains all strings of one entry. No entry and no string is empty.
    pub exclude: Vec<Vec<String>>,
    /// A line with more bytes is shipped in pieces; at most the chunk's `max_bytes`.
    pub max_line: usize,
}

/// The names of a log's rotated files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotatedNames {
    /// Those that rotation makes from the name of the live file.
    Auto,
    /// Those that match one of these globs.
    Globs(Vec<String>),
}

/// The start position in a file that was never seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPosition {
    /// At its first byte.
    Beginning,
    /// At its end: only later lines are shipped.
    End,
}

/// Bounds of a chunk. It is full at the first one that it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes of lines, 4 KiB to 16 MiB.
    pub max_bytes: usize,
    /// Lines, 1 to a million.
    pub max_lines: usize,
    /// Age of its first line; with zero each line is shipped at once.
    pub max_delay: Duration,
}

/// The default of `state_dir`.
pub(crate) const STATE_DIR: &str = "/var/lib/logferry/sender";

const MIN_CHUNK: u64 = 4 << 10;
/// The largest chunk of the protocol.
const MAX_CHUNK: u64 = 16 << 20;
/// Of `max_line`, unless a chunk has less.
const MAX_LINE_DEFAULT: u64 = 1 << 20;
const MAX_LINES: usize = 1_000_000;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawSender {
    relay: RawAddresses,
    source: RawText,
    local_address: Option<String>,
    state_dir: RawText,
    logs: Vec<RawLog>,
    captures: Option<String>,
    chunk: RawChunk,
    in_flight: RawText,
    compression: RawText,
    retry: RawBackoff,
    token_file: Option<String>,
    tls: RawClientTls,
    metrics: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawLog {
    path: Option<String>,
    rotated: RawRotated,
    name: Option<String>,
    start: Option<String>,
    exclude: Vec<Vec<String>>,
    max_line: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`auto`, or a list of globs such as [/app/log/nginx/access.log.*]"
)]
enum RawRotated {
    Word(String),
    Globs(Vec<String>),
}

impl Default for RawRotated {
    fn default() -> Self {
        Self::Word("auto".into())
    }
}

impl RawRotated {
    /// `path`: of the log.
    fn resolve(self, path: Option<&str>, at: &ConfigField<'_>) -> Option<RotatedNames> {
        match self {
            Self::Word(word) => at.check(&word, |text| match text {
                "auto" => Ok(RotatedNames::Auto),
                glob => Err(format!(
                    "`{glob}` is not `auto`; write globs as a list: [\"{glob}\"]"
                )),
            }),
            Self::Globs(globs) => {
                let globs = at.each(globs, |raw: String, at| at.check(&raw, glob_pattern))?;
                let globs = globs.into_iter().map(|glob| beside_log(path, glob));
                Some(RotatedNames::Globs(globs.collect()))
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
#[expect(clippy::struct_field_names, reason = "named as in the file")]
struct RawChunk {
    max_bytes: RawText,
    max_lines: RawText,
    max_delay: RawText,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawBackoff {
    initial: RawText,
    max: RawText,
}

impl RawSender {
    pub(crate) fn resolve(self, at: &ConfigField<'_>) -> Option<SenderSettings> {
        let relay = self.relay.resolve(&at.key("relay"));
        let compression = at
            .key("compression")
            .choice(self.compression.or("none"), &ChunkCompression::WORDS);
        let tls = self.tls.resolve(&at.key("tls"), relay.as_deref());
        let token_file = at.optional("token_file", self.token_file, |at, raw| {
            token_file(at, raw, relay.as_deref())
        });
        let source = at.key("source").check(self.source.or("auto"), |text| match text {
            "auto" => Ok(SourceSetting::Auto),
            name => name.parse().map(SourceSetting::Named),
        });
        let local_address = at.optional("local_address", self.local_address, |at, raw| {
            at.check(raw, |text| {
                text.parse()
                    .map_err(|_| format!("`{text}` is not an IP address of this host"))
            })
        });
        let state_dir = self.state_dir.or(STATE_DIR);
        let state_dir = at.key("state_dir").path(state_dir);
        let chunk = self.chunk.resolve(&at.key("chunk"));
        let max_line = chunk.map_or(MAX_CHUNK, |chunk| chunk.max_bytes as u64);
        let has_captures = self.captures.is_some();
        let logs = resolve_logs(self.logs, &at.key("logs"), max_line, has_captures);
        let captures = at.optional("captures", self.captures, ConfigField::path);
        let in_flight = at.key("in_flight").number(self.in_flight.or("4"), 1..=64);
        let RawBackoff { initial, max } = self.retry;
        let retry = at.key("retry").backoff(initial.or("200ms"), max.or("30s"));
        let metrics = at.optional("metrics", self.metrics, ConfigField::address);
        Some(SenderSettings {
            relay: relay?,
            source: source?,
            local_address: local_address?,
            state_dir: state_dir?,
            logs: logs?,
            captures: captures?,
            chunk: chunk?,
            in_flight: in_flight?,
            compression: compression?,
            token_file: token_file?,
            tls: tls?,
            retry: retry?,
            metrics: metrics?,
        })
    }
}

impl RawChunk {
    fn resolve(&self, at: &ConfigField<'_>) -> Option<ChunkLimits> {
        let max_bytes = self.max_bytes.or("1MiB");
        let max_bytes = at.key("max_bytes").memory(max_bytes, MIN_CHUNK..=MAX_CHUNK);
        let max_lines = self.max_lines.or("10000");
        let max_lines = at.key("max_lines").number(max_lines, 1..=MAX_LINES);
        let max_delay = at.key("max_delay").time(self.max_delay.or("1s"));
        Some(ChunkLimits {
            max_bytes: max_bytes?,
            max_lines: max_lines?,
            max_delay: max_delay?,
        })
    }
}

fn resolve_logs(
    raw: Vec<RawLog>,
    at: &ConfigField<'_>,
    max_line: u64,
    may_be_empty: bool,
) -> Option<Vec<LogSettings>> {
    if raw.is_empty() && !may_be_empty {
        return at.refuse("has no entry; write at least `- path: /app/log/nginx/access.log`");
    }
    let logs = at.each(raw, |log, at| log.resolve(at, max_line))?;
    let paths = logs.iter().map(|log| Some(&log.path));
    at.distinct("path", paths, "its lines would be shipped twice");
    let names = logs.iter().map(|log| Some(&log.name));
    at.distinct("name", names, "give each log a name of its own");
    Some(logs)
}

impl RawLog {
    /// `max_line`: bytes of the largest chunk; no piece of a line may be longer.
    fn resolve(self, at: &ConfigField<'_>, max_line: u64) -> Option<LogSettings> {
        let path = at.required("path", self.path, "/app/log/nginx/access.log", |at, raw| {
            at.check(raw, glob_pattern)
        });
        let name = match (&self.name, &path) {
            (Some(name), _) => at.key("name").parse(name),
            (None, Some(path)) => name_from(path, &at.key("name")),
            (None, None) => None,
        };
        let rotated = self.rotated.resolve(path.as_deref(), &at.key("rotated"));
        let start = at.key("start").choice(
            self.start.as_deref().unwrap_or("beginning"),
            &[
                ("beginning", StartPosition::Beginning),
                ("end", StartPosition::End),
            ],
        );
        let exclude = at.key("exclude").each(self.exclude, |strings, at| {
            if strings.is_empty() {
                at.report("is empty, so it would drop every line; write the strings or leave it out");
            }
            at.each(strings, |string: String, at| at.filled(&string))
        });
        // Smaller chunks alone must not need a smaller `max_line` too.
        let default = max_line.min(MAX_LINE_DEFAULT).to_string();
        let max_line = at
            .key("max_line")
            .memory(self.max_line.as_deref().unwrap_or(&default), 1..=max_line);
        Some(LogSettings {
            path: path?,
            rotated: rotated?,
            name: name?,
            start: start?,
            exclude: exclude?,
            max_line: max_line?,
        })
    }
}

/// A relative glob counts from the folder of the log, where rotation leaves its files. Only beside a relative path a glob
/// with a folder counts from the same folder as that path.
fn beside_log(path: Option<&str>, glob: String) -> String {
    let is_beside = |path: &str| !glob.starts_with('/') && (path.starts_with('/') || !glob.contains('/'));
    match path
        .filter(|path| is_beside(path))
        .and_then(|path| path.rsplit_once('/'))
    {
        Some((folder, _)) => format!("{folder}/{glob}"),
        None => glob,
    }
}

fn glob_pattern(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty; write a path or a glob such as /app/log/*/access.log".to_owned());
    }
    refuse_home(text)?;
    match glob::Pattern::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "`{text}` is not a glob: {}; put a plain `[`, `*` or `?` in brackets",
            error.msg
        )),
    }
}

/// The file stem of a path, as a name.
fn name_from(path: &str, at: &ConfigField<'_>) -> Option<LogName> {
    let stem = Path::new(path)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    at.accept(stem.parse().map_err(|_| {
        format!("is missing, and `{stem}`, from the path, is not a valid name; write for example `access`")
    }))
}
