//! A source of type `syslog`. What a message says is decided in `message` and the files that it uses, without I/O; the sockets
//! are in `listen` and `datagrams`.

mod datagrams;
mod kernel_drops;
mod listen;
mod message;
mod priority;
mod record;
mod stamp;
mod structured_data;
#[cfg(test)]
mod tests;

pub use listen::run;
pub(crate) use priority::level_of;
#[cfg(any(test, fuzzing))]
pub(crate) use record::message_record;
