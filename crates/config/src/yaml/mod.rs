//! Values of the YAML file: a field with its path and line, units, secrets, and the search for a field's line.
//!
//! New units and new checks of values belong here. This folder knows no section of the configuration.

pub(crate) mod field;
pub(crate) mod secret;
pub mod units;
pub(crate) mod yaml_locate;
