//! Passwords, secrets, cookies and waits: what is a good password, how often one may try and ask. Pure, but for random numbers; the
//! rows are in `database`, the requests in `login`.

pub(crate) mod login_throttle;
pub(crate) mod password;
pub(crate) mod rate_limit;
pub(crate) mod scope;
pub(crate) mod secret_text;
pub(crate) mod session_cookie;
