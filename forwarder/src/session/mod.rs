//! One SFTP session of a destination: its thread, the transfers in flight over it, and the connection's bytes.
//! How many transfers run at once, the bandwidth limit, remote folders and the check for free space may be changed here
//! without looking elsewhere; the order of the steps for one file is in `publish/`.

pub(crate) mod bandwidth;
mod connect_limiter;
pub(crate) mod in_flight;
pub(crate) mod progress;
mod remote_dirs;
mod remote_sha256;
pub(crate) mod session_thread;
pub(crate) mod sftp_driver;
mod space_check;
