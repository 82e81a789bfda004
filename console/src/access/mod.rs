//! Who asks, and what they may: users with sessions, programs with tokens, everybody where the console is open.
//!
//! What is a good password, how long a session lasts and how often one may try are decided here alone; the rows are in
//! `database`.

pub(crate) mod login;
pub(crate) mod login_throttle;
pub(crate) mod password;
pub(crate) mod principal;
pub(crate) mod scope;
pub(crate) mod secret_text;
pub(crate) mod session_cookie;
