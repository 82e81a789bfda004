//! A source of type `mysql`: a table of a MySQL or MariaDB server. Which rows are new is decided in `progress`, and how values are
//! written in `values`, without I/O.

mod connection;
mod follow;
mod progress;
#[cfg(test)]
mod tests;
mod values;

pub use follow::run;
