//! Servers as child processes: nginx with logrotate, and a relay alone. OpenSSH is in the crate `tests/servers`.

pub(crate) mod nginx;
pub(crate) mod relay;
