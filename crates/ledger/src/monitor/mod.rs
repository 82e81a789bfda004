//! What the monitor keeps between its looks: the trusted clock, the disk over time, and mails that follow from a decision.

mod clock;
pub(crate) mod disk_history;
pub(crate) mod state;

pub use clock::{ClockRecord, ClockStep, ForgottenRows};
pub use disk_history::{DISK_STEP, DiskRecord};
pub use state::{IncidentMail, NewMail};
