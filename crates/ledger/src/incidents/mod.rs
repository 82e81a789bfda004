//! The monitor's incidents: what was wrong since when, how it went on, who was told, and what people have silenced.
//!
//! A decision about incidents and its mails are one transaction, so a crash neither loses a mail nor queues it twice. The
//! monitor decides; this room only stores. Queries can be changed here alone, the tables only by a further step of the schema.

mod incident;
mod schema_step;
mod silence;
mod store;

pub use incident::{Incident, IncidentId, IncidentUpdate, Severity, TimelineEntry, covers};
pub(crate) use schema_step::INCIDENTS_STEP;
pub use silence::{SILENCES_MAX, Silence, SilenceOutcome};
pub use store::TIMELINE_MAX;

#[cfg(test)]
mod tests;
