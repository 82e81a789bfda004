//! The one YAML file: types, defaults, validation, secrets.
//!
//! Two layers. Private `Raw…` structs hold the file's text with the documented defaults. The public types hold the values
//! that the program uses. One pass between them, role by role, expands `${ENV_NAME}`, reads secret files and checks every
//! value.
//!
//! Invariants:
//! - A [`Config`] is valid: no other code checks its values again.
//! - Every wrong value of a file is reported at once, with its line and key. An error of the YAML
//!   reader itself (bad syntax, an unknown key, a list instead of text) is reported alone.
//! - A setting that this version does not support is refused, never ignored.

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
pub use sender::{ChunkLimits, LogSettings, RotatedNames, SenderSettings, SourceSetting, StartPosition};
pub use yaml::secret::Secret;
pub use yaml::units;
