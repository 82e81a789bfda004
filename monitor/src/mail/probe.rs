//! Tries the mail server without a mail, for `logferry check --connect`.

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use logferry_config::{Smtp, SmtpTls};

use crate::error::{MonitorError, SendError};

/// Time limit for the connection and for each answer.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);

/// The answer to each recipient: accepted, or the server's refusal.
pub type ProbedRecipients = Vec<(String, Result<(), String>)>;

/// Does everything but the mail: greeting, EHLO, TLS, login, sender, each recipient. An error concerns every mail.
///
/// Waits at most a minute for each reply.
pub async fn probe_mail(smtp: &Smtp) -> Result<ProbedRecipients, MonitorError> {
    let server = format!("{}:{}", smtp.host, smtp.port);
    let address = |text: &str| -> Result<Address, MonitorError> {
        text.parse().map_err(|source| MonitorError::Address {
            address: text.to_owned(),
            source,
        })
    };
    let failed = |error: lettre::transport::smtp::Error| {
        let (server, reason) = (server.clone(), error.to_string());
        MonitorError::Send(match error.status() {
            Some(code) => SendError::Refused {
                server,
                code: code.into(),
                reason,
            },
            None => SendError::Unreachable { server, reason },
        })
    };
    let tls = || {
        TlsParameters::new(smtp.host.clone()).map_err(|source| MonitorError::Tls {
            server: server.clone(),
            source,
        })
    };
    let wrapper = (smtp.tls == SmtpTls::Tls).then(tls).transpose()?;
    let (name, target) = (ClientId::default(), (smtp.host.as_str(), smtp.port));
    let connected = AsyncSmtpConnection::connect_tokio1(target, Some(ANSWER_TIME_MAX), &name, wrapper, None);
    let mut connection = connected.await.map_err(failed)?;
    if smtp.tls == SmtpTls::StartTls {
        connection.starttls(tls()?, &name).await.map_err(failed)?;
    }
    if let (Some(user), Some(password)) = (&smtp.user, &smtp.password) {
        let credentials = Credentials::new(user.clone(), password.expose().to_owned());
        connection
            .auth(DEFAULT_MECHANISMS, &credentials)
            .await
            .map_err(failed)?;
    }
    let from = Mail::new(Some(address(&smtp.from)?), Vec::new());
    connection.command(from).await.map_err(failed)?;
    let mut answers = Vec::new();
    for to in &smtp.to {
        let answer = match connection.command(Rcpt::new(address(to)?, Vec::new())).await {
            Ok(_) => Ok(()),
            Err(error) if error.status().is_some() => Err(error.to_string()),
            Err(error) => return Err(failed(error)),
        };
        answers.push((to.clone(), answer));
    }
    connection.command(Rset).await.map_err(failed)?;
    let _ = connection.quit().await;
    Ok(answers)
}
