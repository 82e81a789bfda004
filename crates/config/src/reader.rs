//! Reads a file into a [`Config`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::collector::{CollectorSettings, RawCollector};
use crate::console::{ConsoleSettings, ConsoleShared, RawConsole};
use crate::cross_checks;
use crate::error::{ConfigError, ConfigProblem};
use crate::formats::{self, FormatsByLog};
use crate::forwarder::{ForwarderSettings, RawForwarder};
use crate::housekeeper::{HousekeeperSettings, RawHousekeeper};
use crate::indexer::{IndexerSettings, RawIndexer};
use crate::monitor::{MonitorSettings, RawMonitor, rules};
use crate::relay::{DATA_DIR, RawRelay, RelaySettings};
use crate::sender::{RawSender, SenderSettings};
use crate::watched_host::WatchedHost;
use crate::watched_sections::WatchedSections;
use crate::yaml::field::{ConfigField, Diagnostics};
use crate::yaml::structure::Structure;

/// A configuration: the settings of each role that has a section, at least one role.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The `formats` section.
    pub formats: FormatsByLog,
    /// The `sender` section.
    pub sender: Option<SenderSettings>,
    /// The `relay` section.
    pub relay: Option<RelaySettings>,
    /// The `forwarder` section.
    pub forwarder: Option<ForwarderSettings>,
    /// The `monitor` section.
    pub monitor: Option<MonitorSettings>,
    /// The `housekeeper` section.
    pub housekeeper: Option<HousekeeperSettings>,
    /// The `indexer` section.
    pub indexer: Option<IndexerSettings>,
    /// The `collector` section.
    pub collector: Option<CollectorSettings>,
    /// The `console` section.
    pub console: Option<ConsoleSettings>,
    /// Allowed but unwise settings, as messages for the operator.
    pub warnings: Vec<String>,
}

/// Reads and checks a configuration file. Environment variables come from the process.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    parse(&read(path)?, path, &|name| std::env::var(name).ok())
}

/// Reads a configuration file for one role, the name of a section.
///
/// Problems in the sections of other roles are warnings: a typo there must not stop this role. Those sections are absent from
/// the result. Files and secrets that they name are not read: they may belong to the user of the other role. A file without the
/// role's section is judged as a whole, as the section's name may be what is mistyped.
pub fn load_for(path: &Path, role: &str) -> Result<Config, ConfigError> {
    parse_for(&read(path)?, path, &|name| std::env::var(name).ok(), role)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        file: path.to_owned(),
        source,
    })
}

/// Checks the text of a configuration. `file` is its name in messages; `env` looks up environment variables.
///
/// Reads the secret files that the text names.
pub fn parse(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let Evaluation { config, problems, .. } = Evaluation::of(text, file, env, None);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::Invalid {
            file: file.to_owned(),
            problems,
        }),
    }
}

/// Checks the text of a configuration for one role, as [`load_for`] does.
pub fn parse_for(
    text: &str,
    file: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    role: &str,
) -> Result<Config, ConfigError> {
    let Evaluation {
        config,
        sections,
        problems,
    } = Evaluation::of(text, file, env, Some(role));
    let is_mine = |problem: &ConfigProblem| match &config {
        Some(config) if sections.contains(&role) => config.concerns(role, &problem.key),
        _ => true,
    };
    let (mine, others): (Vec<_>, Vec<_>) = problems.into_iter().partition(is_mine);
    let Some(mut config) = config.filter(|_| mine.is_empty()) else {
        return Err(ConfigError::Invalid {
            file: file.to_owned(),
            problems: mine,
        });
    };
    let file = file.display();
    config.warnings.extend(others.iter().map(|problem| {
        let line = problem.line.map_or_else(String::new, |line| format!(":{line}"));
        format!("{file}{line}: {problem}; the {role} does not use this setting, but the role that does cannot start")
    }));
    Ok(config)
}

/// A text and what is wrong with it.
struct Evaluation {
    /// The valid sections; `None` if the text cannot be read to its end.
    config: Option<Config>,
    /// The names of the roles' sections, valid or not.
    sections: Vec<&'static str>,
    /// All problems, in the order of their lines.
    problems: Vec<ConfigProblem>,
}

impl Evaluation {
    /// `role`: the role that reads the text, if it is one alone.
    fn of(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>, role: Option<&str>) -> Self {
        let mut structure = Structure::<Option<RawConfig>>::read(text);
        let findings = Diagnostics {
            file,
            text,
            env,
            role,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            listening: RefCell::default(),
        };
        let raw = structure.value.take().map(Option::unwrap_or_default);
        let sections = raw.as_ref().map_or_else(Vec::new, RawConfig::sections);
        let config = raw.map(|raw| raw.resolve(&ConfigField::root(&findings)));
        let found = findings.problems.into_inner();
        let new = found.into_iter().filter(|problem| !structure.explains(problem));
        let mut problems: Vec<_> = new.collect();
        problems.append(&mut structure.problems);
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        let warnings = findings.warnings.into_inner();
        Self {
            config: config.map(|config| Config { warnings, ..config }),
            sections,
            problems,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "the sections sender, relay, forwarder, monitor, housekeeper, indexer, collector, console"
)]
pub(crate) struct RawConfig {
    formats: Option<BTreeMap<String, String>>,
    sender: Section<RawSender>,
    relay: Section<RawRelay>,
    forwarder: Section<RawForwarder>,
    monitor: Section<RawMonitor>,
    housekeeper: Section<RawHousekeeper>,
    indexer: Section<RawIndexer>,
    collector: Section<RawCollector>,
    console: Section<RawConsole>,
}

/// A role's section. A name with nothing below it is refused: it could mean "on, with defaults" or "off".
#[derive(Default)]
enum Section<T> {
    #[default]
    Absent,
    Empty,
    Given(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Empty, Self::Given))
    }
}

impl<T> Section<T> {
    /// The settings of the section; `None` if it is absent or has a problem.
    fn resolve<R>(
        self,
        key: &'static str,
        at: &ConfigField<'_>,
        resolve: impl FnOnce(T, &ConfigField<'_>) -> Option<R>,
    ) -> Option<R> {
        let at = at.key(key);
        match self {
            Self::Absent => None,
            Self::Empty => at.refuse(format!(
                "is empty; write its settings below it, indented by two spaces, or `{at}: {{}}` for its defaults, or leave it out"
            )),
            Self::Given(raw) => resolve(raw, &at),
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl RawConfig {
    /// The names of the roles that have a section.
    fn sections(&self) -> Vec<&'static str> {
        let sections = [
            ("sender", self.sender.is_absent()),
            ("relay", self.relay.is_absent()),
            ("forwarder", self.forwarder.is_absent()),
            ("monitor", self.monitor.is_absent()),
            ("housekeeper", self.housekeeper.is_absent()),
            ("indexer", self.indexer.is_absent()),
            ("collector", self.collector.is_absent()),
            ("console", self.console.is_absent()),
        ];
        let present = sections.into_iter().filter(|(_, is_absent)| !is_absent);
        present.map(|(name, _)| name).collect()
    }

    /// The valid sections. Each problem is reported at its field.
    fn resolve(self, at: &ConfigField<'_>) -> Config {
        if self.sections().is_empty() {
            at.report("has no section; write at least one of sender, relay, forwarder, monitor, housekeeper, indexer, collector, console");
        }
        let data_dir = match &self.relay {
            Section::Given(relay) => relay.data_dir(&at.key("relay")),
            Section::Absent | Section::Empty => Some(PathBuf::from(DATA_DIR)),
        };
        let spool = data_dir.clone().unwrap_or_default();
        let is_without_indexer = self.indexer.is_absent();
        let indexer = self
            .indexer
            .resolve("indexer", at, |raw, at| raw.resolve(at, &spool));
        let index = indexer.as_ref().map(|indexer| indexer.store_dir.as_path());
        let formats = formats::resolve(self.formats.unwrap_or_default(), &at.key("formats"));
        let mut config = Config {
            formats: formats.unwrap_or_default(),
            sender: self.sender.resolve("sender", at, RawSender::resolve),
            relay: self
                .relay
                .resolve("relay", at, |raw, at| raw.resolve(at, data_dir)),
            forwarder: self
                .forwarder
                .resolve("forwarder", at, |raw, at| raw.resolve(at, &spool)),
            monitor: self
                .monitor
                .resolve("monitor", at, |raw, at| raw.resolve(at, &spool, index)),
            housekeeper: self
                .housekeeper
                .resolve("housekeeper", at, |raw, at| raw.resolve(at, &spool)),
            console: self
                .console
                .resolve("console", at, |raw, at| raw.resolve(at, &spool, index)),
            indexer: None,
            collector: None,
            warnings: Vec::new(),
        };
        let sender_state_dir = config.sender.as_ref().map(|sender| sender.state_dir.as_path());
        config.collector = self
            .collector
            .resolve("collector", at, |raw, at| raw.resolve(at, sender_state_dir));
        let has_indexer = indexer.is_some();
        config.indexer = indexer;
        if let Some(monitor) = &config.monitor
            && (has_indexer || is_without_indexer)
        {
            rules::check(
                &monitor.rules,
                config.indexer.as_ref(),
                &at.key("monitor").key("rules"),
            );
        }
        config.share_expected_sources();
        config.share_with_summaries();
        config.share_host();
        if let Some(relay) = &mut config.relay {
            relay.batch.formats.clone_from(&config.formats);
        }
        if let Some(indexer) = &mut config.indexer {
            indexer.formats.clone_from(&config.formats);
            if let Some(relay) = &config.relay {
                indexer.min_free_disk = relay.limits.min_free_disk;
            }
        }
        config.check_one_spool(at);
        cross_checks::check_addresses(at.listening());
        if let Some(forwarder) = &config.forwarder {
            cross_checks::check(config.relay.as_ref(), forwarder, at);
        }
        config
    }
}

impl Config {
    /// Whether this role must not run with a problem at this key: in its own section, or in a setting of another one that
    /// counts for it.
    fn concerns(&self, role: &str, key: &str) -> bool {
        let is_in = |section: &str| {
            let below = key.strip_prefix(section);
            below.is_some_and(|below| below.is_empty() || below.starts_with(['.', '[']))
        };
        // The roles of the middle host have the relay's data folder; window manifests wait for the monitor's sources.
        let has_spool = role != "sender" && role != "collector";
        // These look into lines.
        let knows_formats = ["relay", "indexer", "console"].contains(&role);
        let forwarder = self
            .forwarder
            .iter()
            .flat_map(|forwarder| &forwarder.destinations);
        let mut manifests = forwarder.map(|destination| &destination.window_manifest);
        let awaits_sources = role == "forwarder" && manifests.any(Option::is_some);
        key.is_empty()
            || is_in(role)
            || (knows_formats && is_in("formats"))
            || (has_spool && (key == "relay" || is_in("relay.data_dir")))
            || (awaits_sources && (key == "monitor" || is_in("monitor.expected_sources")))
    }

    /// `expected_sources` of the monitor holds for window manifests too.
    fn share_expected_sources(&mut self) {
        let (Some(monitor), Some(forwarder)) = (&self.monitor, &mut self.forwarder) else {
            return;
        };
        let destinations = forwarder.destinations.iter_mut();
        for settings in destinations.filter_map(|destination| destination.window_manifest.as_mut()) {
            settings.expected_sources.clone_from(&monitor.expected_sources);
        }
    }

    /// The summaries say what was delivered where.
    fn share_with_summaries(&mut self) {
        let Some(monitor) = &mut self.monitor else { return };
        if let Some(forwarder) = &self.forwarder {
            monitor.summary.destinations = forwarder.subscribers();
        }
    }

    /// The monitor watches what the other sections name, and the console shows it.
    fn share_host(&mut self) {
        let sections = WatchedSections {
            relay: self.relay.as_ref(),
            sender: self.sender.as_ref(),
            forwarder: self.forwarder.as_ref(),
            collector: self.collector.as_ref(),
            indexer: self.indexer.as_ref(),
            console: self.console.as_ref(),
            monitor: self.monitor.as_ref(),
        };
        let sender = self
            .sender
            .iter()
            .map(|sender| ("sender", sender.state_dir.clone()));
        let indexer = self
            .indexer
            .iter()
            .map(|indexer| ("indexer", indexer.store_dir.clone()));
        let collector = self
            .collector
            .iter()
            .map(|collector| ("collector", collector.state_dir.clone()));
        let console = self
            .console
            .iter()
            .map(|console| ("console", console.state_dir.clone()));
        let others = self
            .data_dirs()
            .filter(|(role, _)| !matches!(*role, "indexer" | "console"));
        let others = others.map(|(role, folder)| (role, folder.to_owned()));
        let roles = sender
            .chain(others)
            .chain(indexer)
            .chain(collector)
            .chain(console);
        let host = sections.host(roles.collect());
        self.share_with_console(&host);
        if let Some(monitor) = &mut self.monitor {
            monitor.host = host;
        }
    }

    fn share_with_console(&mut self, host: &WatchedHost) {
        let Some(console) = &mut self.console else { return };
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.console_dir = Some(console.state_dir.clone());
        }
        let mut shared = ConsoleShared {
            formats: self.formats.clone(),
            host: host.clone(),
            ..ConsoleShared::default()
        };
        if let Some(monitor) = &self.monitor {
            shared.expected_sources.clone_from(&monitor.expected_sources);
            shared.stale_after = monitor.stale_after;
            shared.rules.clone_from(&monitor.rules);
        }
        let indexer = self.indexer.as_ref();
        shared.has_opensearch = indexer.is_some_and(|indexer| indexer.opensearch.is_some());
        console.shared = shared;
    }

    /// The data folder of each role of the middle host, with the role's name. All are the same.
    pub fn data_dirs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let folders = [
            ("relay", self.relay.as_ref().map(|role| &role.data_dir)),
            ("forwarder", self.forwarder.as_ref().map(|role| &role.data_dir)),
            ("monitor", self.monitor.as_ref().map(|role| &role.data_dir)),
            (
                "housekeeper",
                self.housekeeper.as_ref().map(|role| &role.data_dir),
            ),
            ("indexer", self.indexer.as_ref().map(|role| &role.data_dir)),
            ("console", self.console.as_ref().map(|role| &role.data_dir)),
        ];
        let present = folders.into_iter();
        present.filter_map(|(role, folder)| Some((role, folder?.as_path())))
    }

    fn check_one_spool(&self, at: &ConfigField<'_>) {
        let mut folders = self.data_dirs();
        let Some((first, shared)) = folders.next() else {
            return;
        };
        for (role, folder) in folders.filter(|(_, folder)| *folder != shared) {
            at.key(role).key("data_dir").report(format!(
                "is {}, but {first}.data_dir is {}; the roles of one host share one folder",
                folder.display(),
                shared.display()
            ));
        }
    }
}
