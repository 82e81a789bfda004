//! The one YAML file: types, defaults, validation, secrets.
//!
//! Two layers. Private `Raw…` structs hold the file's text with the documented defaults. The public types hold the values
//! that the program uses. One pass between them, role by role, expands `${ENV_NAME}`, reads secret files and checks every
//! value.
//!
//! Invariants:
//! - A [`Config`] is valid: no other code checks its values again.
//! - Everything wrong with a file is reported at once, with its line and key. Only an error of YAML syntax is reported alone,
//!   as nothing can be known of what follows it.
//! - A role needs its own section to be valid, not those of other roles ([`load_for`]). It reads no file and no secret that another
//!   section names.
//! - A setting that this version does not support is refused, never ignored.

mod backoff;
mod collector;
mod console;
mod cross_checks;
#[cfg(test)]
mod documented;
mod error;
mod formats;
mod forwarder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod housekeeper;
mod indexer;
mod monitor;
pub mod ownership;
mod reader;
mod relay;
mod sender;
mod watched_host;
mod watched_sections;
mod yaml;

pub use logferry_time_windows::{
    NameField, NamePiece, NameTemplate, NameTemplateError, NameValues, TimestampFormat, WindowLength,
    WindowLengthError, hour_stamp, window_label,
};

pub use backoff::Backoff;
pub use collector::events::WindowsEventsSettings;
pub use collector::journal::JournalSettings;
pub use collector::listeners::{HttpSourceSettings, SyslogSettings, TcpSettings};
pub use collector::mysql::MysqlSettings;
pub use collector::source_tls::DatabaseTls;
pub use collector::{CollectorSettings, CollectorSource, CollectorSourceKind};
pub use console::{ConsoleSettings, ConsoleShared, ConsoleTls};
pub use error::{ConfigError, ConfigProblem};
pub use formats::FormatsByLog;
pub use forwarder::filter::{DeliveryFilter, Subscriber};
pub use forwarder::layout::{RemoteBatchPaths, RemoteLayout};
pub use forwarder::publishing::{FileCompression, Publishing, VerifyMode};
pub use forwarder::{DeliveryRetry, Destination, ForwarderSettings, HostKeyPolicy, Login, WindowManifest};
pub use housekeeper::{DiskThresholds, HousekeeperSettings};
pub use indexer::counters::{CounterRule, CounterSettings, TextPattern};
pub use indexer::opensearch::{IndexTemplate, OpenSearchLogin, OpenSearchSettings, OpenSearchUrl};
pub use indexer::{IndexKeep, IndexerSettings};
pub use monitor::channels::{
    ChannelKind, ChannelSettings, HeartbeatSettings, HeartbeatTarget, MAIL_CHANNEL, WebAddress,
    WebAddressError, WebEndpoint,
};
pub use monitor::limits::AlertLimits;
pub use monitor::rules::{
    BuiltInCounter, RuleCounter, RuleDimension, RuleFilter, RuleMeasure, RuleSettings, RuleSeverity,
    RuleThreshold,
};
pub use monitor::smtp::{Smtp, SmtpTls};
pub use monitor::summary::SummarySettings;
pub use monitor::{AlertHold, MonitorSettings};
pub use reader::{Config, load, load_for, parse, parse_for};
pub use relay::batch::BatchSettings;
pub use relay::sources::{SourceList, SourceListError};
pub use relay::{GroupLimits, GroupSettings, RelaySettings, ServerTls};
pub use sender::relay_endpoint::{
    ChunkCompression, ClientIdentity, ClientTls, RelayAddress, RelayAddressError, Scheme,
};
pub use sender::{ChunkLimits, LogSettings, RotatedNames, SenderSettings, SourceSetting, StartPosition};
pub use watched_host::{WatchedCertificate, WatchedHost};
pub use yaml::secret::Secret;
pub use yaml::units;
