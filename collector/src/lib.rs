//! Turns what is not a file into durable capture files, which the sender ships.
//!
//! Every source makes [`record::Record`]s and appends them to its [`capture`]; when that has succeeded, they are on stable
//! storage, once, together with the source's new position.

pub mod capture;
mod line_record;
pub mod record;
pub mod source;
