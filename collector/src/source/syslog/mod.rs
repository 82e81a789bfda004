//! Syslog messages. What a message says is decided here without I/O; the sockets are in `source`.

mod message;
mod priority;
mod stamp;
mod structured_data;
#[cfg(test)]
mod tests;

pub use message::{Arrival, SyslogMessage, parse};
pub use priority::{Priority, level_of, severity_name};
pub use structured_data::Element;
