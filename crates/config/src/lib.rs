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
mod batch;
mod coverage;
mod error;
mod forwarder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod housekeeper;
mod layout;
mod lines;
mod mail;
mod monitor;
mod place;
mod publishing;
mod reader;
mod relay;
mod secret;
mod sender;
mod sources;
mod template;
pub mod units;
mod uplink;
mod wants;

pub use backoff::Backoff;
pub use batch::{Batch, TimestampFormat, WindowLength, WindowLengthError};
pub use error::{ConfigError, Problem};
pub use forwarder::{DeliveryRetry, Destination, Forwarder, HostKeyPolicy, Login, WindowManifest};
pub use housekeeper::Housekeeper;
pub use layout::{BatchPaths, Layout};
pub use mail::{Smtp, SmtpTls};
pub use monitor::{Monitor, Summary};
pub use publishing::{Compress, Publishing, Verify};
pub use reader::{Config, load, parse};
pub use relay::{Group, Limits, Relay, ServerTls};
pub use secret::Secret;
pub use sender::{ChunkLimits, Log, Sender, SourceSetting, Start};
pub use sources::{SourceList, SourceListError};
pub use template::{Field, NameTemplate, NameTemplateError, Piece, Values, hour_stamp, window_label};
pub use uplink::{ClientIdentity, ClientTls, Compression, RelayAddress, RelayAddressError, Scheme};
pub use wants::{Addressee, Wants};
