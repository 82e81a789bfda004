//! HTTP requests to servers of the configuration: [`send()`] has a connection for each request, [`HttpConnection`] keeps one.
//!
//! Invariants:
//! - **Path and query of an address never appear in an error**: they are often the secret. Where the server repeats them in
//!   its answer, they are cut out.
//! - An error says whether the server may have got the request ([`HttpError::may_be_taken`]): before that, a repeat is safe.
//! - Everything ends within the time limit of the request. Redirects are not followed: they would send the secret elsewhere.

mod connection;
mod error;
mod send;
mod tls;

pub use connection::{HttpConnection, HttpMessage, HttpReply, HttpServer};
pub use error::HttpError;
pub use send::{HttpAnswer, HttpMethod, HttpRequest, send};
pub use tls::connect as connect_tls;

#[cfg(test)]
mod tests;
