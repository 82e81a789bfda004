//! Mail: the outbox in the ledger, the SMTP client that empties it, and the HTML of a mail's body. A probe talks to the
//! mail server without a mail.
//!
//! How a mail looks and how it travels can be changed here alone. A mail leaves the outbox only after the server's 250,
//! or after three attempts without an answer to it; its `Message-ID` is the same over all attempts.

mod hello_name;
pub(crate) mod html;
pub(crate) mod ledger_fault;
pub(crate) mod outbox;
pub(crate) mod picture;
pub(crate) mod probe;
mod session;
pub(crate) mod smtp;

use jiff::Timestamp;
use logferry_config::Smtp;
use logferry_ledger::{MailPart, NewMail};

use self::smtp::{OutgoingMail, RecipientAnswers, SmtpMailer};
use crate::error::MonitorError;

/// Sends one mail to the recipients now: the one way past the outbox. An error quotes the mail server. `kind`: for its
/// `Message-ID`.
pub(crate) async fn send_now(
    smtp: &Smtp,
    kind: &str,
    content: &NewMail,
    parts: &[MailPart],
) -> Result<RecipientAnswers, MonitorError> {
    let now = Timestamp::now();
    let mail = OutgoingMail {
        id: message_id(kind, now),
        written_at: now,
        content,
        parts,
        waiting_for: None,
    };
    Ok(SmtpMailer::new(smtp)?.send(&mail, now).await?)
}

/// The left part of the `Message-ID` of a mail that goes past the outbox.
fn message_id(kind: &str, written_at: Timestamp) -> String {
    format!("logferry-{kind}-{}", written_at.as_millisecond())
}
