//! Servers for tests of several crates and for the benchmark, on loopback ports: a real OpenSSH server, a real postfix, a real MariaDB, and
//! TCP proxies that cut, limit or delay connections or lose responses, and a web server that answers by a table. Each ends when its value is dropped. And how a test
//! gets root's rights.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and lay out files"
)]

mod mariadb;
mod postfix;
mod proxy;
mod scripted_http;
mod sshd;
mod user_namespace;

pub use mariadb::{MARIADB_PASSWORD, MARIADB_USER, MariaDb};
pub use postfix::Postfix;
pub use proxy::{
    CountingProxy, Direction, LoopbackAcceptor, cutting_proxy, delaying_proxy, limiting_proxy, lossy_proxy,
};
pub use scripted_http::{HttpRecord, HttpScript, ScriptedHttp};
pub use sshd::{ACCOUNT, ACCOUNT_ID, PASSWORD, PasswordAge, Sshd, keygen};
pub use user_namespace::ran_as_root;
