//! Real servers as child processes: OpenSSH, nginx with logrotate, and a relay alone.

pub(crate) mod nginx;
pub(crate) mod relay;
pub(crate) mod sshd;
