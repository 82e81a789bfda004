//! Whether a group accepts lines, and how it tells: health endpoint, ledger report, log.
//!
//! May be changed here alone: when a group stops accepting lines and resumes, what it reports and how often, and how
//! often the same message may be logged. Everything here is pure, apart from the shared status.

mod availability;
mod group_status;
mod log_throttle;
mod sanitize;
mod status_reporter;

pub(crate) use self::availability::{AvailabilityTracker, FaultReason};
pub(crate) use self::group_status::SharedGroupStatus;
pub(crate) use self::log_throttle::{LogThrottle, ThrottledEvent};
pub(crate) use self::sanitize::without_control_characters;
pub(crate) use self::status_reporter::StatusReporter;
