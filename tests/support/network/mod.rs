//! HTTP between the roles: a client that sends arbitrary bytes, and a proxy that intercepts requests.

pub(crate) mod http_client;
pub(crate) mod http_interceptor;
