//! Values of the YAML file: its structure, a field with its path and line, units, secrets, and the search for a field's line.
//!
//! New units and new checks of values belong here. This folder knows no section of the configuration; `structure` has examples
//! for some keys.

pub(crate) mod extent;
pub(crate) mod field;
pub(crate) mod secret;
pub(crate) mod structure;
mod syntax;
pub mod units;
pub(crate) mod yaml_locate;
