//! HTTP and TCP between the roles: a client for arbitrary bytes, an intercepting server, a lossy proxy.

pub(crate) mod http_client;
pub(crate) mod http_interceptor;
pub(crate) mod lossy_proxy;
