//! One HTTP request to an address of the configuration, and its answer. Each request has a connection of its own.
//!
//! Invariants:
//! - **Path and query of an address never appear in an error**: they are often the secret. Where the server repeats them in
//!   its answer, they are cut out.
//! - An error says whether the server may have got the request ([`HttpError::may_be_taken`]): before that, a repeat is safe.
//! - Everything ends within the time limit of the request. Redirects are not followed: they would send the secret elsewhere.

mod exchange;
mod tls;

pub use exchange::{HttpAnswer, HttpError, HttpMethod, HttpRequest, send};
pub use tls::connect as connect_tls;

#[cfg(test)]
mod tests;
