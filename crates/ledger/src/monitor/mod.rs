//! What the monitor keeps between its looks: the trusted clock, and mails that follow from a decision.

mod clock;
pub(crate) mod state;

pub use clock::{ClockRecord, ClockStep, ForgottenRows};
pub use state::{IncidentMail, NewMail};
