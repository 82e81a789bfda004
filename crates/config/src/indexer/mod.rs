//! The `indexer` section; `counters` has what named counters count, `opensearch` where lines go as documents.

pub(crate) mod counters;
pub(crate) mod opensearch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::formats::FormatsByLog;
use crate::indexer::counters::{CounterSettings, RawCounter};
use crate::indexer::opensearch::{OpenSearchSettings, RawOpenSearch};
use crate::watched_host::MIN_FREE_DISK;
use crate::yaml::field::{ConfigField, RawText};

/// The default of `store_dir`, the monitor's too.
pub(crate) const STORE_DIR: &str = "/var/lib/logferry/index";

/// A store below this is removed before anybody has searched in it.
const STORE_MIN: u64 = 64 << 20;

/// The settings of the indexer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexerSettings {
    /// Folder of the spool and of `ledger.db`; it is only read.
    pub data_dir: PathBuf,
    /// Folder of `index.db` and `segments/`.
    pub store_dir: PathBuf,
    /// How long things are kept.
    pub keep: IndexKeep,
    /// The named counters.
    pub counters: Vec<CounterSettings>,
    /// The formats of logs: the `formats` section.
    pub formats: FormatsByLog,
    /// Where lines go as documents; `None`: nowhere.
    pub opensearch: Option<OpenSearchSettings>,
    /// With fewer free bytes the relay takes no lines: `min_free_disk` of its section.
    pub min_free_disk: u64,
    /// Address of `/metrics` and `/healthz`; none when absent.
    pub metrics: Option<SocketAddr>,
}

/// How long the indexer keeps things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexKeep {
    /// Lines to search in.
    pub age: Duration,
    /// The most bytes of these lines on disk.
    pub max_bytes: u64,
    /// Numbers by minute.
    pub minutes: Duration,
    /// Numbers by hour.
    pub hours: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawIndexer {
    data_dir: Option<String>,
    store_dir: RawText,
    keep: RawKeep,
    counters: Vec<RawCounter>,
    opensearch: Option<RawOpenSearch>,
    metrics: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawKeep {
    age: RawText,
    max_bytes: RawText,
    minutes: RawText,
    hours: RawText,
}

impl RawIndexer {
    /// `spool`: the folder if the section has none.
    pub(crate) fn resolve(self, at: &ConfigField<'_>, spool: &Path) -> Option<IndexerSettings> {
        let data_dir = at.optional("data_dir", self.data_dir, ConfigField::path);
        let store_at = at.key("store_dir");
        let store_dir = store_at.path(self.store_dir.or(STORE_DIR));
        let keep = self.keep.resolve(&at.key("keep"));
        let counters = counters::resolve(self.counters, &at.key("counters"));
        let metrics = at.optional("metrics", self.metrics, ConfigField::address);
        // `None` after a problem, too: it is reported, so that the whole is refused.
        let opensearch = self.opensearch.and_then(|raw| raw.resolve(&at.key("opensearch")));
        let (data_dir, store_dir) = (data_dir?.unwrap_or_else(|| spool.to_owned()), store_dir?);
        if store_dir.starts_with(&data_dir) || data_dir.starts_with(&store_dir) {
            let (shown, spool) = (store_dir.display(), data_dir.display());
            return store_at.refuse(format!(
                "{shown} and data_dir ({spool}) are one in the other; the index needs a folder of its own, such as {STORE_DIR}"
            ));
        }
        Some(IndexerSettings {
            data_dir,
            store_dir,
            keep: keep?,
            counters: counters?,
            formats: FormatsByLog::default(),
            opensearch,
            min_free_disk: MIN_FREE_DISK,
            metrics: metrics?,
        })
    }
}

impl RawKeep {
    fn resolve(self, at: &ConfigField<'_>) -> Option<IndexKeep> {
        let age = at.key("age").interval(self.age.or("7d"));
        let max_bytes = at
            .key("max_bytes")
            .size(self.max_bytes.or("50GiB"), STORE_MIN..=u64::MAX);
        let minutes = at.key("minutes").interval(self.minutes.or("8d"));
        let hours_at = at.key("hours");
        let hours = hours_at.interval(self.hours.or("400d"));
        let (minutes, hours) = (minutes?, hours?);
        if hours < minutes {
            return hours_at
                .refuse("is below `minutes`; numbers by hour are much smaller, so write a time that is not");
        }
        Some(IndexKeep {
            age: age?,
            max_bytes: max_bytes?,
            minutes,
            hours,
        })
    }
}
