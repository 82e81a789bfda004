//! Functions that only commands of the CLI call: `logferry check --connect`, `logferry resend` and
//! `logferry audit --verify`.
//! Nothing here runs in the forwarder itself, so it may be changed without looking elsewhere.

pub(crate) mod check;
pub(crate) mod resend;
pub(crate) mod sidecars;
pub(crate) mod verify;
