//! A source of type `windows_events`: .evtx files. Which records are new is decided in `progress`, what one says in `record`, without
//! I/O.

mod follow;
mod progress;
mod record;
#[cfg(test)]
mod tests;

pub use follow::run;
