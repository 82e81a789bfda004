//! What only a command of the CLI calls: `logferry resend` and `logferry audit --verify`.
//! Nothing here runs in the forwarder itself, so it may be changed without looking elsewhere.

pub(crate) mod resend;
pub(crate) mod sidecars;
pub(crate) mod verify;
