//! A source of type `mysql`: a table of a MySQL or MariaDB server. Which rows are new is decided in `progress`, and how values are
//! written in `values`, without I/O.

mod connection;
mod error;
mod follow;
mod progress;
mod rows;
#[cfg(test)]
mod tests;
mod tls;
mod values;

pub use connection::TableFound;
pub use follow::{probe, run};
