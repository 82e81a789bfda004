//! One connection to the mail server, step by step: greeting, EHLO, TLS, login, sender, recipients, data.
//!
//! Invariants:
//! - Each step waits for its reply as long as RFC 5321, 4.5.3.2, asks. A client that gives up earlier sends a mail again
//!   that the server is about to take.
//! - Where no reply came after the data, the error says so ([`SendError::Unconfirmed`]): the server may have the mail.
//!
//! A session is dropped after an error. No step is cancel safe: after a dropped step the connection is of no use.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Quit, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use logferry_config::{Smtp, SmtpTls};
use tokio::task::JoinSet;

use super::hello_name;
use crate::error::{MonitorError, SendError};

/// Time limit for a TCP connection to one address.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);

/// Time limit for the reply to QUIT: nothing depends on it.
const QUIT_TIME_MAX: Duration = Duration::from_secs(5);

/// Time limits for the server's replies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyLimits {
    /// The next address of the server is tried beside the earlier ones after this time. A server that greets within it
    /// gets one connection only.
    next_address: Duration,
    /// Connection, TLS, greeting and EHLO; also each of STARTTLS, login, MAIL and RCPT.
    command: Duration,
    /// The reply to DATA.
    data: Duration,
    /// The reply after the mail's last line.
    data_end: Duration,
}

impl ReplyLimits {
    /// RFC 5321, 4.5.3.2.
    pub(crate) const STANDARD: Self = Self {
        next_address: Duration::from_secs(3),
        command: Duration::from_mins(5),
        data: Duration::from_mins(2),
        data_end: Duration::from_mins(10),
    };

    /// For a person who waits for the answer. No mail is sent under them.
    pub(crate) const PROBE: Self = Self {
        command: Duration::from_mins(1),
        ..Self::STANDARD
    };
}

/// A mail server and the way to talk to it.
pub(crate) struct MailServer {
    host: String,
    port: u16,
    tls: MailTls,
    credentials: Option<Credentials>,
    hello_name: Option<String>,
    ca_file: Option<PathBuf>,
    limits: ReplyLimits,
}

enum MailTls {
    None,
    StartTls(TlsParameters),
    /// From the first byte.
    Wrapper(TlsParameters),
}

/// A connection with the name of its EHLO; or the error, `None` after too long a time.
type ConnectResult = Result<(AsyncSmtpConnection, ClientId), (SocketAddr, Option<SmtpError>)>;

/// A refusal of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecipientRefusal {
    /// The reply code: 4xx may pass by itself, 5xx does not.
    pub(crate) code: u16,
    /// The reply.
    pub(crate) reason: String,
}

impl RecipientRefusal {
    pub(crate) const fn is_temporary(&self) -> bool {
        self.code < 500
    }
}

impl fmt::Debug for MailServer {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl MailServer {
    pub(crate) fn new(smtp: &Smtp, limits: ReplyLimits) -> Result<Self, MonitorError> {
        // The parameters read the system's certificates, so they are made only where TLS is configured.
        let tls = match smtp.tls {
            SmtpTls::None => MailTls::None,
            SmtpTls::StartTls => MailTls::StartTls(tls_parameters(smtp)?),
            SmtpTls::Tls => MailTls::Wrapper(tls_parameters(smtp)?),
        };
        let credentials = match (&smtp.user, &smtp.password) {
            (Some(user), Some(password)) => {
                Some(Credentials::new(user.clone(), password.expose().to_owned()))
            }
            _ => None,
        };
        Ok(Self {
            host: smtp.host.clone(),
            port: smtp.port,
            tls,
            credentials,
            hello_name: smtp.hello_name.clone(),
            ca_file: smtp.ca_file.clone(),
            limits,
        })
    }

    /// Connects, greets, begins TLS and logs in.
    pub(crate) async fn connect(&self) -> Result<SmtpSession<'_>, SendError> {
        let host_name = match self.hello_name {
            Some(_) => None,
            None => hello_name::full_host_name().await,
        };
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| self.unreachable(&error))?;
        let (connection, hello) = self
            .first_connection(addresses.collect(), host_name.as_deref())
            .await?;
        let mut session = SmtpSession {
            server: self,
            connection,
        };
        session.start_tls(&hello).await?;
        session.log_in().await?;
        Ok(session)
    }

    /// The connection to that address which greets first. The addresses are tried in their order; the next one when the
    /// earlier ones failed, or have not greeted yet (compare RFC 8305).
    async fn first_connection(
        &self,
        addresses: Vec<SocketAddr>,
        host_name: Option<&str>,
    ) -> Result<(AsyncSmtpConnection, ClientId), SendError> {
        let mut waiting = addresses.into_iter();
        let mut attempts = JoinSet::new();
        let mut failure = None;
        loop {
            match waiting.next() {
                Some(address) => self.attempt(&mut attempts, address, host_name),
                None if attempts.is_empty() => {
                    return Err(failure.unwrap_or_else(|| self.unreachable(&"it has no address")));
                }
                None => {}
            }
            let patience = if waiting.len() > 0 {
                self.limits.next_address
            } else {
                Duration::MAX
            };
            match tokio::time::timeout(patience, attempts.join_next()).await {
                Ok(Some(Ok(Ok(connection)))) => return Ok(connection),
                Ok(Some(Ok(Err((address, error))))) => {
                    let error = self.connect_error(address, error);
                    // A server that said no explains more than an address without an answer.
                    if !matches!(failure, Some(SendError::Refused { .. })) {
                        failure = Some(error);
                    }
                }
                Ok(Some(Err(crash))) => failure = Some(self.unreachable(&crash)),
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn attempt(&self, attempts: &mut JoinSet<ConnectResult>, address: SocketAddr, host_name: Option<&str>) {
        let hello = match &self.hello_name {
            Some(name) => hello_name::configured(name),
            None => hello_name::for_connection(host_name, address),
        };
        let tls = match &self.tls {
            MailTls::Wrapper(tls) => Some(tls.clone()),
            MailTls::None | MailTls::StartTls(_) => None,
        };
        let limit = self.limits.command;
        attempts.spawn(async move {
            let connect =
                AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_TIME_MAX), &hello, tls, None);
            match tokio::time::timeout(limit, connect).await {
                Ok(Ok(connection)) => Ok((connection, hello)),
                Ok(Err(error)) => Err((address, Some(error))),
                Err(_) => Err((address, None)),
            }
        });
    }

    fn connect_error(&self, address: SocketAddr, error: Option<SmtpError>) -> SendError {
        match error {
            None => self.timed_out("its greeting", self.limits.command),
            Some(error) if error.status().is_some() => self.error("the connection or its EHLO", &error),
            Some(error) if is_untrusted(&error) => self.untrusted(&error),
            Some(error) => self.unreachable(&format!("{address}: {}", one_line(&error.to_string()))),
        }
    }

    /// Its host and port.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// `refused`: what the server refused, if it replied.
    fn error(&self, refused: &str, error: &SmtpError) -> SendError {
        match error.status() {
            Some(code) => SendError::Refused {
                server: self.name(),
                refused: refused.to_owned(),
                code: code.into(),
                reason: one_line(&error.to_string()),
            },
            None if is_untrusted(error) => self.untrusted(error),
            None if error.is_client() => self.unusable(error),
            None => self.unreachable(error),
        }
    }

    async fn within<T>(
        &self,
        step: &'static str,
        limit: Duration,
        reply: impl Future<Output = Result<T, SmtpError>>,
    ) -> Result<T, SendError> {
        match tokio::time::timeout(limit, reply).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.error(step, &error)),
            Err(_) => Err(self.timed_out(step, limit)),
        }
    }

    fn untrusted(&self, error: &SmtpError) -> SendError {
        SendError::Untrusted {
            server: self.name(),
            reason: untrusted_reason(&one_line(&error.to_string()), self.ca_file.as_deref()),
        }
    }

    fn unreachable(&self, reason: &impl Display) -> SendError {
        SendError::Unreachable {
            server: self.name(),
            reason: one_line(&reason.to_string()),
        }
    }

    fn unusable(&self, reason: &impl Display) -> SendError {
        SendError::Unusable {
            server: self.name(),
            reason: one_line(&reason.to_string()),
        }
    }

    fn timed_out(&self, awaited: &'static str, limit: Duration) -> SendError {
        SendError::TimedOut {
            server: self.name(),
            awaited,
            seconds: limit.as_secs(),
        }
    }
}

/// A connection that is ready for a mail.
pub(crate) struct SmtpSession<'a> {
    server: &'a MailServer,
    connection: AsyncSmtpConnection,
}

impl SmtpSession<'_> {
    async fn start_tls(&mut self, hello: &ClientId) -> Result<(), SendError> {
        let server = self.server;
        let MailTls::StartTls(tls) = &server.tls else {
            return Ok(());
        };
        if !self.connection.can_starttls() {
            return Err(server.unusable(&"it does not offer STARTTLS"));
        }
        let started = self.connection.starttls(tls.clone(), hello);
        server.within("STARTTLS", server.limits.command, started).await
    }

    async fn log_in(&mut self) -> Result<(), SendError> {
        let server = self.server;
        let Some(credentials) = &server.credentials else {
            return Ok(());
        };
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        let login = self.connection.auth(&mechanisms, credentials);
        let login = server.within("the login", server.limits.command, login);
        login.await.map(drop)
    }

    /// Names the sender of the next mail.
    pub(crate) async fn mail_from(&mut self, from: &Address) -> Result<(), SendError> {
        let server = self.server;
        let sent = self.connection.command(Mail::new(Some(from.clone()), Vec::new()));
        let sent = server.within("the sender", server.limits.command, sent);
        sent.await.map(drop)
    }

    /// Names a recipient. An error concerns the whole session.
    pub(crate) async fn recipient(
        &mut self,
        to: &Address,
    ) -> Result<Result<(), RecipientRefusal>, SendError> {
        /// The server closes the connection (RFC 5321, 3.8).
        const CLOSING: u16 = 421;

        let server = self.server;
        let sent = self.connection.command(Rcpt::new(to.clone(), Vec::new()));
        match server.within("the recipient", server.limits.command, sent).await {
            Ok(_) => Ok(Ok(())),
            Err(SendError::Refused { code, reason, .. }) if code != CLOSING => {
                Ok(Err(RecipientRefusal { code, reason }))
            }
            Err(error) => Err(error),
        }
    }

    /// Announces the data. The server has no mail before [`Self::data`].
    pub(crate) async fn begin_data(&mut self) -> Result<(), SendError> {
        let server = self.server;
        let sent = self.connection.command(Data);
        let sent = server.within("the mail", server.limits.data, sent);
        sent.await.map(drop)
    }

    /// Sends the mail, and returns after the server's 250 or refusal. With any other error the server may have the mail.
    pub(crate) async fn data(&mut self, mail: &[u8]) -> Result<(), SendError> {
        let server = self.server;
        let sent = self.connection.message(mail);
        match server.within("the mail", server.limits.data_end, sent).await {
            Ok(_) => Ok(()),
            Err(refused @ SendError::Refused { .. }) => Err(refused),
            Err(error) => Err(SendError::Unconfirmed {
                cause: Box::new(error),
            }),
        }
    }

    /// Forgets sender and recipients.
    pub(crate) async fn reset(&mut self) -> Result<(), SendError> {
        let server = self.server;
        let sent = self.connection.command(Rset);
        let sent = server.within("the end of the probe (RSET)", server.limits.command, sent);
        sent.await.map(drop)
    }

    /// Says goodbye. All that matters is done, so an error is none.
    pub(crate) async fn quit(mut self) {
        let _ = tokio::time::timeout(QUIT_TIME_MAX, self.connection.command(Quit)).await;
    }
}

fn tls_parameters(smtp: &Smtp) -> Result<TlsParameters, MonitorError> {
    let server = format!("{}:{}", smtp.host, smtp.port);
    let mut builder = TlsParameters::builder(smtp.host.clone());
    if let Some(path) = &smtp.ca_file {
        let unusable = |reason: String| MonitorError::CaFile {
            path: path.clone(),
            reason,
        };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        if !pem.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE) {
            return Err(unusable("it holds no certificate in PEM form".to_owned()));
        }
        let authorities = Certificate::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        // As with sender.tls: these authorities, and no others.
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(authorities);
    }
    builder
        .build()
        .map_err(|source| MonitorError::Tls { server, source })
}

/// The first line of a certificate in PEM form.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Whether the server's certificate was not accepted. The library gives the reason as text only.
fn is_untrusted(error: &SmtpError) -> bool {
    error.to_string().contains("invalid peer certificate")
}

/// Why it was not, and what to do. Pure.
fn untrusted_reason(error: &str, ca_file: Option<&Path>) -> String {
    let is = |kind: &str| error.contains(kind);
    // A bad signature: the authority only has the same name.
    if is("UnknownIssuer") || is("BadSignature") {
        let authorities = ca_file.map_or_else(
            || "no authority that this system knows".to_owned(),
            |file| format!("no authority in {}", file.display()),
        );
        return format!("{authorities} has signed it; set monitor.smtp.ca_file to the one that has");
    }
    if is("not valid for name") || is("NotValidForName") {
        return format!("it is for another name ({error}); write the name it is for in monitor.smtp.host");
    }
    if is("expired") || is("Expired") {
        return format!(
            "it has expired ({error}); its operator has to renew it, or the clock of this host is wrong"
        );
    }
    format!("{error}; ask the operator of the server")
}

/// Text for one line of a header or a log: control characters become spaces.
pub(super) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests;
