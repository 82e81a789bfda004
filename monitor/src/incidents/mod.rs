//! Incidents: what is observed as wrong at a look, and what becomes of it over time. Pure: the time is an argument, the caller
//! stores and sends.
//!
//! Rules may be added and their texts changed here alone. Rule names and subjects are in the JSON of `alerts` and `status`.

pub mod condition;
