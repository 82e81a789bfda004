//! A conversation with the mail server that sends no mail, for `logferry check --connect`.

use logferry_config::Smtp;

use super::session::{MailServer, ReplyLimits};
use super::smtp::address;
use crate::error::MonitorError;

/// The answer to each recipient: accepted, or the server's refusal.
pub type ProbedRecipients = Vec<(String, Result<(), String>)>;

/// What is wrong with the settings and files of the mail server, without a connection; `None` if they can be used.
pub fn smtp_finding(smtp: &Smtp) -> Option<String> {
    let error = MailServer::new(smtp, ReplyLimits::PROBE).err()?;
    Some(logferry_text::error_chain(&error))
}

/// Does everything but the mail: greeting, EHLO, TLS, login, sender, each recipient. An error concerns every mail.
///
/// Waits at most a minute for each reply.
pub async fn probe_mail(smtp: &Smtp) -> Result<ProbedRecipients, MonitorError> {
    let from = address(&smtp.from)?;
    let server = MailServer::new(smtp, ReplyLimits::PROBE)?;
    let mut session = server.connect().await?;
    session.mail_from(&from).await?;
    let mut answers = Vec::new();
    for to in &smtp.to {
        let answer = session.recipient(&address(to)?).await?;
        answers.push((to.clone(), answer.map_err(|refusal| refusal.reason)));
    }
    session.reset().await?;
    session.quit().await;
    Ok(answers)
}
