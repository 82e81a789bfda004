//! Who sends a request, and the way in and out. What decides about passwords, sessions and waits is in `access`.

pub(crate) mod principal;
pub(crate) mod routes;
