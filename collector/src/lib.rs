//! Turns what is not a file into durable capture files, which the sender ships.

pub mod framing;
pub mod journal;
pub mod syslog;
