//! A mail: its text as the server gets it, and the way from the outbox to the server's 250. Each mail gets its own
//! connection: the server would have closed an idle one before the next mail.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use logferry_config::Smtp;
use logferry_ledger::{MailPart, NewMail};

use super::html;
use super::session::{MailServer, RecipientRefusal, ReplyLimits, SmtpSession, one_line};
use crate::error::{MonitorError, SendError};
use crate::time::local_time;
use logferry_inspection::time::age;

/// A mail sent so long after it was written begins with a delay notice.
const DELAY_NOTICE_AFTER: Duration = Duration::from_mins(10);

/// The longest subject, in characters. A long word is not folded, and a line may have 998 characters (RFC 5322, 2.1.1).
const SUBJECT_MAX: usize = 900;

/// A mail to send.
#[derive(Debug)]
pub(crate) struct OutgoingMail<'a> {
    /// The left part of its `Message-ID`, the same over all attempts.
    pub(crate) id: String,
    pub(crate) written_at: Timestamp,
    pub(crate) content: &'a NewMail,
    /// Its pictures and the files attached to it.
    pub(crate) parts: &'a [MailPart],
    /// The recipients that have not got it yet; `None`: all.
    pub(crate) waiting_for: Option<&'a [String]>,
}

/// The mail server, the sender and the recipients.
#[derive(Debug)]
pub(crate) struct SmtpMailer {
    server: MailServer,
    from: Mailbox,
    to: Vec<Mailbox>,
    subject_prefix: String,
}

/// A mail that the server is about to take. It has none of it yet.
pub(crate) struct AnnouncedMail<'a> {
    session: SmtpSession<'a>,
    message: Vec<u8>,
    recipients: RecipientAnswers,
}

/// What the server answered to each recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecipientAnswers {
    pub(crate) accepted: Vec<String>,
    pub(crate) refused: Vec<(String, RecipientRefusal)>,
}

impl RecipientAnswers {
    /// `b@example.com: permanent error (550): no such user; …`
    pub(crate) fn refusals(&self) -> String {
        let refusals = self.refused.iter();
        let refusals: Vec<_> = refusals
            .map(|(to, refusal)| format!("{to}: {}", refusal.reason))
            .collect();
        refusals.join("; ")
    }

    /// An error if the mail did not go to all.
    pub(crate) fn require_all(&self) -> Result<(), MonitorError> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let refused = self.refusals();
        Err(MonitorError::RecipientsRefused { refused })
    }
}

impl SmtpMailer {
    pub(crate) fn new(smtp: &Smtp) -> Result<Self, MonitorError> {
        let mailbox = |text: &String| Ok::<_, MonitorError>(Mailbox::new(None, address(text)?));
        Ok(Self {
            server: MailServer::new(smtp, ReplyLimits::STANDARD)?,
            from: mailbox(&smtp.from)?,
            to: smtp.to.iter().map(mailbox).collect::<Result<_, _>>()?,
            subject_prefix: smtp.subject_prefix.clone(),
        })
    }

    /// Connects, and names sender and recipients. The mail goes to those that the server accepts; without any it is an
    /// error.
    pub(crate) async fn announce(
        &self,
        mail: &OutgoingMail<'_>,
        now: Timestamp,
    ) -> Result<AnnouncedMail<'_>, SendError> {
        let announced = self.announce_or_answers(mail, now).await?;
        announced.map_err(|answers| self.all_refused(&answers))
    }

    /// The same; if the server accepts no recipient, its answers.
    pub(crate) async fn announce_or_answers(
        &self,
        mail: &OutgoingMail<'_>,
        now: Timestamp,
    ) -> Result<Result<AnnouncedMail<'_>, RecipientAnswers>, SendError> {
        let message = self.compose(mail, now).map_err(SendError::Compose)?.formatted();
        let mut session = self.server.connect().await?;
        session.mail_from(&self.from.email).await?;
        let mut recipients = RecipientAnswers::default();
        for to in &self.to {
            let name = to.email.to_string();
            if mail.waiting_for.is_some_and(|waiting| !waiting.contains(&name)) {
                continue;
            }
            match session.recipient(&to.email).await? {
                Ok(()) => recipients.accepted.push(name),
                Err(refusal) => recipients.refused.push((name, refusal)),
            }
        }
        if recipients.accepted.is_empty() {
            session.quit().await;
            return Ok(Err(recipients));
        }
        session.begin_data().await?;
        Ok(Ok(AnnouncedMail {
            session,
            message,
            recipients,
        }))
    }

    /// Whether one of these addresses is still a recipient.
    pub(crate) fn has_any(&self, addresses: &[String]) -> bool {
        let mut recipients = self.to.iter().map(|to| to.email.to_string());
        recipients.any(|recipient| addresses.contains(&recipient))
    }

    /// Sends a mail that nobody keeps if it fails.
    pub(crate) async fn send(
        &self,
        mail: &OutgoingMail<'_>,
        now: Timestamp,
    ) -> Result<RecipientAnswers, SendError> {
        self.announce(mail, now).await?.send().await
    }

    /// The error about a mail that no recipient may have.
    pub(crate) fn all_refused(&self, recipients: &RecipientAnswers) -> SendError {
        SendError::Refused {
            server: self.server.name(),
            refused: "every recipient".to_owned(),
            code: recipients.refused.first().map_or(0, |(_, refusal)| refusal.code),
            reason: recipients.refusals(),
        }
    }

    fn compose(&self, mail: &OutgoingMail<'_>, now: Timestamp) -> Result<Message, lettre::error::Error> {
        let NewMail { subject, text, html } = mail.content;
        let notice = delay_notice(mail.written_at, now);
        let text = match &notice {
            Some(notice) => format!("{notice}\n\n{text}"),
            None => text.clone(),
        };
        let subject = one_line(format!("{} {subject}", self.subject_prefix).trim());
        let subject: String = subject.chars().take(SUBJECT_MAX).collect();
        let domain = self.from.email.domain();
        let mut message = Message::builder()
            .message_id(Some(format!("<{}@{domain}>", mail.id)))
            .date(SystemTime::from(mail.written_at))
            .from(self.from.clone())
            .subject(subject);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let Some(html) = html else {
            return message.singlepart(SinglePart::plain(text));
        };
        let html = with_notice(html, notice.as_deref());
        if mail.parts.is_empty() {
            return message.multipart(MultiPart::alternative_plain_html(text, html));
        }
        message.multipart(with_parts(text, html, mail.parts))
    }
}

/// The HTML document, with a notice at its top.
fn with_notice(text: &str, notice: Option<&str>) -> String {
    let head = notice.map(html::notice).unwrap_or_default();
    // Version 0.1 queued only the body.
    if !text.starts_with("<!DOCTYPE") {
        return html::document(&(head + text));
    }
    let after_tag = |start: usize| Some(start + text.get(start..)?.find('>')? + 1);
    let body = text.find("<body").and_then(after_tag).unwrap_or(0);
    let (before, after) = text.split_at(body);
    format!("{before}\n{head}{after}")
}

/// A mail with parts: the pictures belong to the HTML (RFC 2387), the rest is attached.
fn with_parts(text: String, html: String, parts: &[MailPart]) -> MultiPart {
    let kind = |part: &MailPart| {
        let kind = ContentType::parse(&part.content_type);
        kind.unwrap_or_else(|_| ContentType::parse("application/octet-stream").expect("a type"))
    };
    let mut related = MultiPart::related().singlepart(SinglePart::html(html));
    for (part, id) in parts
        .iter()
        .filter_map(|part| Some((part, part.content_id.clone()?)))
    {
        let inline = Attachment::new_inline(id);
        related = related.singlepart(inline.body(part.content.clone(), kind(part)));
    }
    let shown = MultiPart::alternative().singlepart(SinglePart::plain(text));
    let mut mixed = MultiPart::mixed().multipart(shown.multipart(related));
    for part in parts.iter().filter(|part| part.content_id.is_none()) {
        let attached = Attachment::new(part.name.clone());
        mixed = mixed.singlepart(attached.body(part.content.clone(), kind(part)));
    }
    mixed
}

impl AnnouncedMail<'_> {
    /// Ends the conversation without the mail. The server waits for the data, so a QUIT would be a part of it: only a closed
    /// connection says that there is none (RFC 5321, section 4.1.1.10: the transaction is cancelled).
    pub(crate) fn withdraw(self) {
        drop(self);
    }

    /// Returns after the server took the mail (its 250) or refused it.
    ///
    /// Not cancel safe: if it is dropped before it returns, the server may have taken the mail or not.
    pub(crate) async fn send(mut self) -> Result<RecipientAnswers, SendError> {
        self.session.data(&self.message).await?;
        self.session.quit().await;
        Ok(self.recipients)
    }
}

/// Says when a mail was written, if that was long ago.
fn delay_notice(written_at: Timestamp, now: Timestamp) -> Option<String> {
    (age(written_at, now) > DELAY_NOTICE_AFTER).then(|| {
        let written_at = local_time(written_at, &TimeZone::system());
        format!("(delayed: written at {written_at})")
    })
}

/// A mail address of the configuration.
pub(super) fn address(text: &str) -> Result<Address, MonitorError> {
    text.parse().map_err(|source| MonitorError::Address {
        address: text.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use logferry_config::SmtpTls;
    use logferry_protocol::names::SourceId;
    use proptest::prelude::*;

    use super::*;

    fn smtp() -> Smtp {
        Smtp {
            host: "127.0.0.1".to_owned(),
            port: 25,
            from: "ops@example.com".to_owned(),
            to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
            user: None,
            password: None,
            tls: SmtpTls::None,
            ca_file: None,
            hello_name: None,
            subject_prefix: "[logferry]".to_owned(),
        }
    }

    fn formatted(content: &NewMail, written_at: Timestamp, now: Timestamp) -> String {
        let mail = OutgoingMail {
            id: "logferry-7-1".to_owned(),
            written_at,
            content,
            parts: &[],
            waiting_for: None,
        };
        let mailer = SmtpMailer::new(&smtp()).expect("valid");
        let message = mailer.compose(&mail, now).expect("complete");
        String::from_utf8(message.formatted()).expect("ASCII")
    }

    fn composed(subject: &str, written_at: Timestamp, now: Timestamp) -> String {
        let content = NewMail {
            subject: subject.to_owned(),
            text: "text".to_owned(),
            html: Some("<p>html</p>\n".to_owned()),
        };
        let text = formatted(&content, written_at, now);
        // Lines broken by the quoted-printable encoding (RFC 2045, 6.7).
        text.replace("=\r\n", "")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_delayed_mail_keeps_its_date_and_begins_with_a_notice() {
        let (written, now) = (at("2026-11-21T02:20:03Z"), at("2026-11-21T02:30:04Z"));
        let mail = composed("news", written, now);
        let date = "Date: Sat, 21 Nov 2026 02:20:03 +0000\r\n";
        assert!(mail.contains(date), "{mail}");
        assert!(mail.contains("Message-ID: <logferry-7-1@example.com>\r\n"));
        assert_eq!(mail.matches("(delayed: written at 2026-11-21").count(), 2);
        assert!(!composed("news", written, written).contains("delayed"));
    }

    #[test]
    fn a_mail_names_all_recipients_and_has_a_text_and_an_html_part() {
        let now = Timestamp::UNIX_EPOCH;
        let mail = composed("news", now, now);
        assert!(mail.contains("To: a@example.com, b@example.com\r\n"), "{mail}");
        assert!(mail.contains("Subject: [logferry] news\r\n"));
        assert!(mail.contains("Content-Type: multipart/alternative"));
        assert!(mail.contains("text/plain") && mail.contains("<p>html</p>"));
    }

    #[test]
    fn a_subject_cannot_add_a_header() {
        let now = Timestamp::UNIX_EPOCH;
        let mail = composed("news\r\nBcc: thief@example.com\r\n\r\nbody", now, now);
        let is_bcc = |line: &str| line.to_ascii_lowercase().starts_with("bcc");
        assert!(!mail.lines().any(is_bcc), "{mail}");
        assert!(mail.contains("Subject: [logferry] news  Bcc: thief@example.com    body\r\n"));
    }

    /// Names of hosts, sources and files that try to add headers.
    const HOSTILE: [&str; 12] = [
        "a\r\nBcc: thief@example.com",
        "a\nBcc: thief@example.com",
        "a\rBcc: thief@example.com",
        "a\r\n\r\nthe body, says the thief",
        "a\r\n Bcc: folded",
        "a\0b\u{b}c\u{c}d\u{1b}[31m",
        "a\u{85}Bcc: x\u{2028}Bcc: y\u{2029}Bcc: z",
        "журнал доступа с длинным именем, которое не помещается в одну строку заголовка",
        "=?utf-8?q?=0D=0ABcc:_thief?=",
        "\"a\" <thief@example.com>",
        ".\r\nQUIT\r\n",
        "\u{202e}moc.elpmaxe@feiht",
    ];

    /// Asserts that a mail with this text has only the usual headers, and no line in its head that is not a header.
    fn assert_headers_are_ours(hostile: &str) {
        let content = NewMail {
            subject: format!("silent: {hostile} (1 of 2 sources)"),
            text: hostile.to_owned(),
            html: Some(hostile.to_owned()),
        };
        let mail = formatted(&content, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let (head, _) = mail.split_once("\r\n\r\n").expect("a head and a body");
        let lines: Vec<_> = head.split("\r\n").collect();
        for line in &lines {
            assert!(line.len() <= 998, "{} bytes in one line", line.len());
            assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{line:?}");
        }
        let mut names: Vec<_> = lines
            .iter()
            .filter(|line| !line.starts_with(' '))
            .map(|line| line.split_once(':').expect("a header has a name").0)
            .collect();
        names.sort_unstable();
        names.dedup();
        let ours = [
            "Content-Type",
            "Date",
            "From",
            "MIME-Version",
            "Message-ID",
            "Subject",
            "To",
        ];
        assert_eq!(names, ours, "{head}");
        assert!(head.contains("To: a@example.com, b@example.com"), "{head}");
        assert!(head.contains("From: ops@example.com"), "{head}");
    }

    #[test]
    fn no_hostile_name_reaches_a_header() {
        for name in HOSTILE {
            assert_headers_are_ours(name);
            assert!(name.parse::<SourceId>().is_err(), "{name:?}");
        }
        for word in ["a", "é", "=", "\r\n", "a "] {
            assert_headers_are_ours(&word.repeat(100_000));
        }
    }

    proptest! {
        #[test]
        fn no_text_reaches_a_header(any in any::<String>(), lines in "([ -~]|\r|\n|\r\n|:|é){0,400}") {
            assert_headers_are_ours(&any);
            assert_headers_are_ours(&lines);
        }
    }

    #[test]
    fn an_address_cannot_add_a_header() {
        for bad in [
            "a@example.com\r\nBcc: thief@example.com",
            "a@example.com\nx",
            "a@b@c",
            "no address",
        ] {
            let (to, from) = (vec![bad.to_owned()], bad.to_owned());
            for smtp in [Smtp { to, ..smtp() }, Smtp { from, ..smtp() }] {
                let refused = matches!(SmtpMailer::new(&smtp), Err(MonitorError::Address { .. }));
                assert!(refused, "{bad:?}");
            }
        }
    }

    #[test]
    fn tls_is_set_up_when_it_is_wanted() {
        for tls in [SmtpTls::StartTls, SmtpTls::Tls] {
            let smtp = Smtp { tls, ..smtp() };
            assert!(SmtpMailer::new(&smtp).is_ok());
        }
    }
}
