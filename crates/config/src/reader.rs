//! Reads a file into a [`Config`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_yaml::Location;

use crate::cross_checks;
use crate::error::{ConfigError, ConfigProblem};
use crate::formats::{self, FormatsByLog};
use crate::forwarder::{ForwarderSettings, RawForwarder};
use crate::housekeeper::{HousekeeperSettings, RawHousekeeper};
use crate::monitor::{MonitorSettings, RawMonitor};
use crate::relay::{DATA_DIR, RawRelay, RelaySettings};
use crate::sender::{RawSender, SenderSettings};
use crate::yaml::field::{ConfigField, Diagnostics, nearest_hint};

/// A configuration: the settings of each role that has a section, at least one role.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Allowed but unwise settings, as messages for the operator.
    pub warnings: Vec<String>,
}

/// Reads and checks a configuration file. Environment variables come from the process.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        file: path.to_owned(),
        source,
    })?;
    parse(&text, path, &|name| std::env::var(name).ok())
}

/// Checks the text of a configuration. `file` is its name in messages; `env` looks up environment variables.
///
/// Reads the secret files that the text names.
pub fn parse(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let invalid = |problems| ConfigError::Invalid {
        file: file.to_owned(),
        problems,
    };
    let raw: Option<RawConfig> =
        serde_yaml::from_str(text).map_err(|error| invalid(vec![yaml_problem(&error)]))?;
    let findings = Diagnostics {
        file,
        text,
        env,
        problems: RefCell::default(),
        warnings: RefCell::default(),
    };
    let config = raw.unwrap_or_default().resolve(&ConfigField::root(&findings));

    let mut problems = findings.problems.into_inner();
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    match config {
        Some(config) if problems.is_empty() => Ok(Config {
            warnings: findings.warnings.into_inner(),
            ..config
        }),
        _ => Err(invalid(problems)),
    }
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "the sections sender, relay, forwarder, monitor, housekeeper"
)]
struct RawConfig {
    formats: Option<BTreeMap<String, String>>,
    sender: Section<RawSender>,
    relay: Section<RawRelay>,
    forwarder: Section<RawForwarder>,
    monitor: Section<RawMonitor>,
    housekeeper: Section<RawHousekeeper>,
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
    /// Resolves the section if it exists; `None` if it has a problem.
    #[expect(
        clippy::option_option,
        reason = "outer: no problem; inner: the section is there"
    )]
    fn resolve<R>(
        self,
        key: &'static str,
        at: &ConfigField<'_>,
        resolve: impl FnOnce(T, &ConfigField<'_>) -> Option<R>,
    ) -> Option<Option<R>> {
        let at = at.key(key);
        match self {
            Self::Absent => Some(None),
            Self::Empty => at.refuse(format!(
                "is empty; write `{at}: {{}}` for its defaults, or leave it out"
            )),
            Self::Given(raw) => resolve(raw, &at).map(Some),
        }
    }
}

impl RawConfig {
    fn resolve(self, at: &ConfigField<'_>) -> Option<Config> {
        let formats = formats::resolve(self.formats.unwrap_or_default(), &at.key("formats"));
        let sender = self.sender.resolve("sender", at, RawSender::resolve);
        let relay = self.relay.resolve("relay", at, RawRelay::resolve);
        let spool = match &relay {
            Some(Some(relay)) => relay.data_dir.clone(),
            _ => PathBuf::from(DATA_DIR),
        };
        let forwarder = self
            .forwarder
            .resolve("forwarder", at, |raw, at| raw.resolve(at, &spool));
        let monitor = self
            .monitor
            .resolve("monitor", at, |raw, at| raw.resolve(at, &spool));
        let housekeeper = self
            .housekeeper
            .resolve("housekeeper", at, |raw, at| raw.resolve(at, &spool));
        let mut config = Config {
            formats: formats?,
            sender: sender?,
            relay: relay?,
            forwarder: forwarder?,
            monitor: monitor?,
            housekeeper: housekeeper?,
            warnings: Vec::new(),
        };
        if config.sender.is_none() && config.data_dirs().next().is_none() {
            return at.refuse(
                "has no section; write at least one of sender, relay, forwarder, monitor, housekeeper",
            );
        }
        config.share_expected_sources();
        if let Some(relay) = &mut config.relay {
            relay.batch.formats.clone_from(&config.formats);
        }
        config.check_one_spool(at);
        if let Some(forwarder) = &config.forwarder {
            cross_checks::check(config.relay.as_ref(), forwarder, at);
        }
        Some(config)
    }
}

impl Config {
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

/// An error of the YAML reader as a problem. Its text begins with the path of the mapping, if known, and ends with the
/// position.
fn yaml_problem(error: &serde_yaml::Error) -> ConfigProblem {
    let whole = error.to_string();
    let location = error.location();
    let suffix = |at: &Location| format!(" at line {} column {}", at.line(), at.column());
    let suffix = location.as_ref().map_or_else(String::new, suffix);
    let text = whole.strip_suffix(&suffix).unwrap_or(&whole);
    let (path, said) = match text.split_once(": ") {
        Some((path, said)) if !path.contains(char::is_whitespace) => (path, said),
        _ => ("", text),
    };
    let (field, message) = if let Some((field, known)) = field_of(said, "unknown field `") {
        let known = known.split('`').skip(1).step_by(2);
        (field, format!("unknown key{}", nearest_hint(field, known)))
    } else if let Some((field, _)) = field_of(said, "duplicate field `") {
        let message = "is written twice in the mapping that begins on this line; keep one";
        (field, message.to_owned())
    } else {
        ("", said.to_owned())
    };
    let key = [path, field].into_iter().filter(|part| !part.is_empty());
    ConfigProblem {
        line: location.map(|at| at.line()),
        key: key.collect::<Vec<_>>().join("."),
        message,
    }
}

/// The field after this beginning of a message, and the rest of the message.
fn field_of<'m>(said: &'m str, beginning: &str) -> Option<(&'m str, &'m str)> {
    let rest = said.strip_prefix(beginning)?;
    rest.rsplit_once("`, expected ")
        .or_else(|| Some((rest.strip_suffix('`')?, "")))
}
