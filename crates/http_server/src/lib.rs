//! What the HTTP ports of relay and collector share: a connection that closes so that its last response can be read, and that
//! learns whether it was; and the lowest speed of a body.

mod body_timeout;
mod connection;

pub use body_timeout::BodyTimeout;
pub use connection::{ClientConnection, ClientTransport, LastResponse};
