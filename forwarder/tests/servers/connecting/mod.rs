//! Connecting: host keys, logins, and the embedded server beside OpenSSH's.

pub(crate) mod embedded;
mod logins;
mod trust;
