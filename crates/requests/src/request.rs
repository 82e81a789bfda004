//! A request. Its JSON is read by another process, perhaps of another version: fields may be added.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A request is carried out within this, or not at all.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleRequest {
    /// Its name: letters, digits, `-` and `_`, at most 64.
    pub id: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked.
    pub who: String,
    /// What is to be done.
    pub action: RequestedAction,
}

/// What is to be done. A field that is not known may be a limit of what is to be done, so such an action is refused: the one
/// exception to what is said above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RequestedAction {
    /// Failed batches back to ready, as `logferry retry` does it.
    Retry {
        /// Their names, 1 to 200.
        batches: Vec<String>,
    },
    /// Delivered batches once more, as `logferry resend` does it; no file there is overwritten.
    Resend {
        /// Their names, 1 to 200.
        batches: Vec<String>,
        /// Only to this destination; null: to each that wants them.
        destination: Option<String>,
    },
    /// Nobody is told of a subject for a while, as `logferry silence` does it.
    Silence {
        /// A source, destination, group or role, or the subject of an incident.
        subject: String,
        /// At most 7776000 (90 days); 0 ends a silence.
        seconds: u64,
        /// One line of at most 200 characters.
        why: String,
    },
}

impl ConsoleRequest {
    /// Whether a text can name a request, and its file.
    pub fn is_id(text: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(is_plain)
    }

    /// Whether it is too old to be carried out at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) > LIFETIME
    }
}
