//! How files get their final names at a destination: the steps for one file (pure), an attempt for one delivery, names.
//! The order of the steps decides what a crash leaves behind: change it only together with the crash notes in
//! `publish_steps.rs`. Names and the text of a batch's manifest may be changed here without looking elsewhere.

pub(crate) mod attempt;
pub(crate) mod batch_manifest;
mod earlier_note;
pub(crate) mod publish_steps;
pub(crate) mod remote_paths;
mod step;
mod step_results;
pub(crate) mod task;
