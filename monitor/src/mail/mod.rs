//! Mail: the outbox in the ledger, the SMTP client that empties it, and the HTML of a mail's body. A probe talks to the
//! mail server without a mail.
//!
//! How a mail looks and how it travels can be changed here alone. A mail leaves the outbox only after the server's 250,
//! or after three attempts without an answer to it; its `Message-ID` is the same over all attempts.

mod hello_name;
pub(crate) mod html;
pub(crate) mod ledger_fault;
pub(crate) mod outbox;
pub(crate) mod probe;
mod session;
pub(crate) mod smtp;
