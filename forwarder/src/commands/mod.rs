//! Functions that commands of the CLI call: `logferry check --connect`, `logferry resend` and `logferry audit --verify`.
//! Only `resend::resend_in` runs in the forwarder too, for requests of the console (`crate::requests`); the rest may be changed
//! without looking elsewhere.

pub(crate) mod check;
pub(crate) mod resend;
pub(crate) mod sidecars;
pub(crate) mod verify;
