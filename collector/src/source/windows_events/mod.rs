//! A source of type `windows_events`: .evtx files. Which records are new is decided in `progress`, what one says in `record`, what is told
//! of a damaged file in `problems`, without I/O.

mod follow;
mod problems;
mod progress;
mod read;
mod record;
#[cfg(test)]
mod tests;

pub use follow::run;
