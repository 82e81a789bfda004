//! A line as a document. Pure.
//!
//! The shape is `LogFlow`'s (`timestamp`, `level`, `service`, `message`, `source`, `extra_fields`, `ingested_at`) and ours
//! (`batch`, `offset`, `group`, `log`, `status`, `request_seconds`). docs/index/opensearch.md has it for people.
//!
//! Invariant: a document is valid JSON without a name twice, whatever bytes the line has. Values of `extra_fields` are texts:
//! with numbers a field would get the type of its first value, and other values would be refused.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use logferry_fields::{Format, Level, LineFacts, LineReader};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Most fields of a line that go into its document. The server allows 1000 names in an index.
const FIELDS_MAX: usize = 128;

/// Longest name of a field, in bytes.
const NAME_MAX: usize = 256;

const MESSAGE_NAMES: [&[u8]; 3] = [b"message", b"msg", b"log"];

const SERVICE_NAMES: [&[u8]; 5] = [
    b"service",
    b"service_name",
    b"service.name",
    b"app",
    b"application",
];

/// The first second of the year 1: the server takes no earlier one.
const OLDEST_TIME: i64 = -62_135_596_800;

/// Names of LogFlow's own, which are not among its extra fields.
const OWN_NAMES: [&str; 4] = ["timestamp", "level", "service", "message"];

/// The id of the document of the line that begins at this byte of a batch: that of the line, with the number in 12 digits. It
/// has at most 280 bytes, since the name of a batch is that of a file; the server allows 512.
pub fn document_id(batch: &str, offset: u64) -> String {
    format!("{batch}@{offset:012}")
}

/// Whose lines they are.
#[derive(Debug, Clone, Copy)]
pub struct DocumentOrigin<'a> {
    /// The batch's name without `.log`.
    pub batch: &'a str,
    /// The index.
    pub index: &'a str,
    /// The source.
    pub source: &'a str,
    /// The source's group.
    pub group: &'a str,
    /// The log, if it is known.
    pub log: Option<&'a str>,
    /// The format of the lines.
    pub format: &'a Format,
    /// When they are sent, as RFC 3339.
    pub ingested_at: &'a str,
}

/// Writes lines of one origin as documents.
#[derive(Debug)]
pub struct DocumentWriter<'a> {
    origin: DocumentOrigin<'a>,
    reader: LineReader<'a>,
    /// The time of the line before, in seconds since 1970.
    time: i64,
    /// Lines that are not of the format.
    unparsed: u64,
}

#[derive(Serialize)]
struct BulkAction<'a> {
    create: ActionTarget<'a>,
}

#[derive(Serialize)]
struct ActionTarget<'a> {
    _index: &'a str,
    _id: &'a str,
}

#[derive(Serialize)]
struct LineDocument<'a> {
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
    source: DocumentSource<'a>,
    #[serde(serialize_with = "as_map", skip_serializing_if = "Vec::is_empty")]
    extra_fields: Vec<(String, Cow<'a, str>)>,
    ingested_at: &'a str,
    batch: &'a str,
    offset: u64,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_seconds: Option<f64>,
}

#[derive(Serialize)]
struct DocumentSource<'a> {
    hostname: &'a str,
    file: &'a str,
}

fn as_map<S: Serializer>(fields: &[(String, Cow<'_, str>)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(fields.len()))?;
    for (name, value) in fields {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

impl<'a> DocumentWriter<'a> {
    /// `time`: that of a line that has none, and has none before it, in seconds since 1970.
    pub fn new(origin: DocumentOrigin<'a>, time: i64) -> Self {
        Self {
            reader: LineReader::new(origin.format, time),
            origin,
            time,
            unparsed: 0,
        }
    }

    /// Adds the action and the document of the line at `offset`, as a bulk request has them. Returns its id.
    pub fn append(&mut self, line: &[u8], offset: u64, request: &mut Vec<u8>) -> serde_json::Result<String> {
        let origin = self.origin;
        let id = document_id(origin.batch, offset);
        let facts = self.reader.read(line);
        self.time = facts.time.map_or(self.time, |time| time.unix);
        self.unparsed += u64::from(!facts.is_parsed);
        let action = BulkAction {
            create: ActionTarget {
                _index: origin.index,
                _id: &id,
            },
        };
        let document = self.document(without_end(line), offset, &facts);
        serde_json::to_writer(&mut *request, &action)?;
        request.push(b'\n');
        serde_json::to_writer(&mut *request, &document)?;
        request.push(b'\n');
        Ok(id)
    }

    /// The time of the last line, in seconds since 1970.
    pub fn time(&self) -> i64 {
        self.time
    }

    /// How many lines were not of the format.
    pub fn unparsed(&self) -> u64 {
        self.unparsed
    }

    fn document<'l>(&self, line: &'l [u8], offset: u64, facts: &LineFacts<'_>) -> LineDocument<'l>
    where
        'a: 'l,
    {
        let origin = self.origin;
        let named = |names: &'static [&'static [u8]]| {
            let found = names.iter().find_map(|name| {
                let value = self.reader.field(line, name)?;
                (!value.is_empty()).then_some((*name, value))
            });
            found.map(|(name, value)| (name, lossy(value)))
        };
        let (message, service) = (named(&MESSAGE_NAMES), named(&SERVICE_NAMES));
        let used = [&message, &service].map(|used| used.as_ref().map(|(name, _)| *name));
        let (message, service) = (message.map(|(_, text)| text), service.map(|(_, text)| text));
        let (in_brackets, after) = match self.bracketed_service(line) {
            Some((service, after)) => (
                Some(lossy(Cow::Borrowed(service))),
                Some(lossy(Cow::Borrowed(after))),
            ),
            None => (None, None),
        };
        LineDocument {
            timestamp: Timestamp::from_second(self.time.max(OLDEST_TIME)).unwrap_or_default(),
            level: facts.level.map(level_word),
            service: service.or(in_brackets).or_else(|| origin.log.map(Cow::Borrowed)),
            message: message.or(after).unwrap_or_else(|| String::from_utf8_lossy(line)),
            source: DocumentSource {
                hostname: origin.source,
                file: origin.log.unwrap_or(origin.batch),
            },
            extra_fields: self.extra_fields(line, &used),
            ingested_at: origin.ingested_at,
            batch: origin.batch,
            offset,
            group: origin.group,
            log: origin.log,
            status: facts.status,
            #[expect(clippy::cast_precision_loss, reason = "below 2^53 microseconds")]
            request_seconds: facts.request_micros.map(|micros| micros as f64 / 1e6),
        }
    }

    /// `LogFlow`'s text lines: `… INFO [payment-service] Payment completed`.
    fn bracketed_service<'l>(&self, line: &'l [u8]) -> Option<(&'l [u8], &'l [u8])> {
        let [level] = self.reader.fields() else {
            return None;
        };
        if level.name(line) != b"level" {
            return None;
        }
        let rest = line.get(level.value.end..)?.strip_prefix(b" [")?;
        let end = rest.iter().position(|byte| *byte == b']')?;
        let (service, after) = rest.split_at_checked(end)?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let after = after.strip_prefix(b"] ")?;
        (!service.is_empty() && service.iter().all(is_name)).then_some((service, after))
    }

    fn extra_fields<'l>(&self, line: &'l [u8], used: &[Option<&[u8]>]) -> Vec<(String, Cow<'l, str>)> {
        let mut names = BTreeSet::new();
        let mut extra = Vec::new();
        for field in self.reader.fields().iter().take(FIELDS_MAX) {
            let name = field.name(line);
            if used.contains(&Some(name)) {
                continue;
            }
            let name = field_name(&self.origin.format.name(line, field));
            if OWN_NAMES.contains(&&*name) || !names.insert(name.clone()) {
                continue;
            }
            if let Some(value) = self.origin.format.value(line, field) {
                extra.push((name, lossy(value)));
            }
        }
        extra
    }
}

/// A name that the server takes: it must not begin or end with a dot, nor have two in a row, since dots make objects.
fn field_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let end = name
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| *end <= NAME_MAX)
        .last()
        .unwrap_or(0);
    let name = name.get(..end).unwrap_or_default();
    let is_odd = |part: &str| part.trim().is_empty();
    if name.split('.').any(is_odd) {
        return format!("_{}", name.replace('.', "_"));
    }
    name.to_owned()
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn lossy(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests;
