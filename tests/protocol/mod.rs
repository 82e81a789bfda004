//! The relay's port: bad requests, the old shippers' `POST /upload`, TLS, client certificates and tokens.

mod bad_requests;
mod legacy_upload;
mod tls_and_tokens;
