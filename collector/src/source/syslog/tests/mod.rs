//! What messages say, and how they come.

mod messages;
mod sockets;
