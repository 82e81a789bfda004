//! How the mail server departs from a well-behaved one. No I/O.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;

/// The behaviour of the mail server. The default is quick and takes everything.
#[derive(Debug, Clone, Default)]
pub struct MailScript {
    /// Time before the greeting.
    pub greeting_delay: Duration,
    /// Time between a mail's end and the reply to it.
    pub data_delay: Duration,
    /// EHLO wants a full host name or an address literal, and gets 504 otherwise.
    pub wants_full_name: bool,
    /// STARTTLS is offered with this certificate.
    pub tls: Option<Arc<ServerConfig>>,
    recipients: Vec<RecipientRule>,
    silent_mails: usize,
}

#[derive(Debug, Clone)]
struct RecipientRule {
    address: String,
    reply: &'static str,
    times: usize,
}

impl MailScript {
    /// Refuses a recipient so many times with this reply, such as `550 no such user`.
    pub fn refuse_recipient(&mut self, address: &str, reply: &'static str, times: usize) {
        self.recipients.push(RecipientRule {
            address: address.to_owned(),
            reply,
            times,
        });
    }

    /// Keeps the next `mails`, and hangs up instead of the reply.
    pub fn take_silently(&mut self, mails: usize) {
        self.silent_mails = mails;
    }

    pub(crate) fn recipient_refusal(&mut self, address: &str) -> Option<&'static str> {
        let mut rules = self.recipients.iter_mut();
        let rule = rules.find(|rule| rule.address == address && rule.times > 0)?;
        rule.times -= 1;
        Some(rule.reply)
    }

    pub(crate) fn takes_silently(&mut self) -> bool {
        let is_silent = self.silent_mails > 0;
        self.silent_mails = self.silent_mails.saturating_sub(1);
        is_silent
    }

    pub(crate) fn hello_reply(&self, name: &str, offers_tls: bool) -> String {
        if self.wants_full_name && !name.contains('.') && !name.starts_with('[') {
            return format!("504 5.5.2 <{name}>: need fully-qualified hostname");
        }
        let tls = if offers_tls { "250-STARTTLS\r\n" } else { "" };
        format!("250-mail-sink\r\n{tls}250-8BITMIME\r\n250 AUTH PLAIN LOGIN")
    }
}
