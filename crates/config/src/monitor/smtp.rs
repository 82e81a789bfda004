//! The `monitor.smtp` section.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::yaml::field::{ConfigField, RawText, is_host};
use crate::yaml::secret::Secret;

/// The mail server, the sender and the recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    /// Host name or IP address of the mail server.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
    /// Sender's address.
    pub from: String,
    /// Recipients' addresses, at least one.
    pub to: Vec<String>,
    /// User of the login; present only together with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Protection of the connection.
    pub tls: SmtpTls,
    /// The authorities that may have signed the server's certificate; those of the system when absent.
    pub ca_file: Option<PathBuf>,
    /// This host's name in EHLO: a full host name, or an address literal such as `[192.0.2.1]`. Found out when absent.
    pub hello_name: Option<String>,
    /// Start of every subject; may be empty.
    pub subject_prefix: String,
}

/// Protection of the connection to the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// None.
    None,
    /// STARTTLS, which the server must offer.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawSmtp {
    host: Option<String>,
    port: RawText,
    from: Option<String>,
    to: Vec<String>,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<String>,
    tls: RawText,
    ca_file: Option<String>,
    hello_name: Option<String>,
    subject_prefix: RawText,
}

impl RawSmtp {
    pub(crate) fn resolve(self, at: &ConfigField<'_>) -> Option<Smtp> {
        let to_at = at.key("to");
        let host = at.required("host", self.host, "mail.example.com", ConfigField::host);
        let port = at.key("port").port(self.port.or("25"));
        let from = at.required("from", self.from, "ops@example.com", |at, raw| {
            at.check(raw, mail_address)
        });
        if self.to.is_empty() {
            to_at.report("has no entry; write at least one address, such as [ops@example.com]");
        }
        let to = to_at.each(self.to, |raw: String, at| at.check(&raw, mail_address));
        let user = at.optional("user", self.user, ConfigField::filled);
        let password = at.secret(
            ("password", self.password.as_deref()),
            ("password_file", self.password_file.as_deref()),
        );
        if let (Some(user), Some(password)) = (&user, &password)
            && user.is_some() != password.is_some()
        {
            at.report("has only one of user and password; write both or neither");
        }
        let tls = at.key("tls").choice(
            self.tls.or("none"),
            &[
                ("none", SmtpTls::None),
                ("starttls", SmtpTls::StartTls),
                ("tls", SmtpTls::Tls),
            ],
        );
        let ca_file = at.optional("ca_file", self.ca_file, ConfigField::readable);
        let hello_name = at.optional("hello_name", self.hello_name, |at, raw| at.check(raw, hello_name));
        let prefix_at = at.key("subject_prefix");
        let subject_prefix = prefix_at.check(self.subject_prefix.or("[logferry]"), one_line);
        Some(Smtp {
            host: host?,
            port: port?,
            from: from?,
            to: to?,
            user: user?,
            password: password?,
            tls: tls?,
            ca_file: ca_file?,
            hello_name: hello_name?,
            subject_prefix: subject_prefix?,
        })
    }
}

/// Checks only characters that could break a mail's headers. The mail server checks whether the address exists.
pub(super) fn mail_address(text: &str) -> Result<String, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    match text.split_once('@') {
        Some((user, host))
            if !user.is_empty() && !host.is_empty() && !host.contains('@') && !text.contains(odd) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "`{}` is not a mail address; write it like ops@example.com",
            text.escape_debug()
        )),
    }
}

/// Checks the form of RFC 5321, 4.1.2: a full host name, or an address in brackets.
fn hello_name(text: &str) -> Result<String, String> {
    let literal = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_valid = match literal {
        Some(address) => address
            .strip_prefix("IPv6:")
            .unwrap_or(address)
            .parse::<IpAddr>()
            .is_ok(),
        None => is_host(text) && text.contains('.') && text.parse::<IpAddr>().is_err(),
    };
    if is_valid {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{}` is not a full host name; write one like relay.example.com, or an address like [192.0.2.1]",
        text.escape_debug()
    ))
}

fn one_line(text: &str) -> Result<String, &'static str> {
    if text.contains(char::is_control) {
        return Err("has a line break or another control character; write one line");
    }
    Ok(text.to_owned())
}
