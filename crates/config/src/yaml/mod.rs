//! Values of the YAML file: a field with its path and line, units, secrets, and the search for a field's line.
//!
//! A new unit or a new way to check a value is added here. No section of the configuration is known here.

pub(crate) mod field;
pub(crate) mod secret;
pub mod units;
pub(crate) mod yaml_locate;
