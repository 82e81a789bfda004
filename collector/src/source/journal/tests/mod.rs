//! Tests of what is decided about the journal.

mod export;
mod filter;
mod follow;
mod resume;
