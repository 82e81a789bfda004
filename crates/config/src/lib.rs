//! The one YAML file: types, defaults, validation, secrets.
//!
//! Two layers. Private `Raw…` structs hold what the file says, text for text, with the documented defaults; the public
//! types hold what the program uses. Between them stands one pass, role by role, that expands `${ENV_NAME}`, reads
//! secret files and judges every value.
//!
//! Invariants:
//! - A [`Config`] that exists is valid: nobody checks its values again.
//! - Every wrong value of a file is reported at once, with its line and key. Only what the YAML reader itself
//!   refuses (bad syntax, an unknown key, a list where text belongs) is reported alone.
//! - A setting this version does not act on is refused when it is set, never ignored.

mod backoff;
mod cross_checks;
mod error;
mod forwarder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod housekeeper;
mod monitor;
mod reader;
mod relay;
mod sender;
mod yaml;

pub use logferry_time_windows::{
    NameField, NamePiece, NameTemplate, NameTemplateError, NameValues, TimestampFormat, WindowLength,
    WindowLengthError, hour_stamp, window_label,
};

pub use backoff::Backoff;
pub use error::{ConfigError, ConfigProblem};
pub use forwarder::filter::{DeliveryFilter, Subscriber};
pub use forwarder::layout::{RemoteBatchPaths, RemoteLayout};
pub use forwarder::publishing::{FileCompression, Publishing, VerifyMode};
pub use forwarder::{DeliveryRetry, Destination, ForwarderSettings, HostKeyPolicy, Login, WindowManifest};
pub use housekeeper::HousekeeperSettings;
pub use monitor::smtp::{Smtp, SmtpTls};
pub use monitor::{MonitorSettings, SummarySettings};
pub use reader::{Config, load, parse};
pub use relay::batch::BatchSettings;
pub use relay::sources::{SourceList, SourceListError};
pub use relay::{GroupLimits, GroupSettings, RelaySettings, ServerTls};
pub use sender::relay_endpoint::{
    ChunkCompression, ClientIdentity, ClientTls, RelayAddress, RelayAddressError, Scheme,
};
pub use sender::{ChunkLimits, LogSettings, SenderSettings, SourceSetting, StartPosition};
pub use yaml::secret::Secret;
pub use yaml::units;
