//! Servers that misbehave, and forwarders that are killed.

mod crashes;
mod misbehaving;
mod odd_servers;
mod rights;
