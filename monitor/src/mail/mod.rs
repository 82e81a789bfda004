//! Mail: the outbox in the ledger, the SMTP client that empties it, and the HTML of a mail's body.
//!
//! How a mail looks and how it travels can be changed here alone. A mail leaves the outbox only after the server's 250, and
//! its `Message-ID` is the same over all attempts.

pub(crate) mod html;
pub(crate) mod outbox;
pub(crate) mod probe;
pub(crate) mod smtp;
