//! A conversation with the mail server that sends no mail, for `logferry check --connect`.

use logferry_config::Smtp;

use super::session::{MailServer, ReplyLimits};
use super::smtp::address;
use crate::error::MonitorError;

/// The answer to each recipient: accepted, or the server's refusal.
pub type ProbedRecipients = Vec<(String, Result<(), String>)>;

/// What is wrong with the settings and files of the mail server, without a connection; `None` if they can be used.
pub fn smtp_finding(smtp: &Smtp) -> Option<String> {
    let mut addresses = std::iter::once(&smtp.from).chain(&smtp.to);
    let error = addresses
        .find_map(|text| address(text).err())
        .or_else(|| MailServer::new(smtp, ReplyLimits::PROBE).err())?;
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

#[cfg(test)]
mod tests {
    use logferry_testkit::relay_host::RelayHost;

    use super::*;
    use crate::tests::settings::MonitoredHost as _;

    #[test]
    fn an_address_with_which_the_monitor_does_not_start_is_a_finding() {
        let good = RelayHost::new().config(25).smtp;
        assert_eq!(smtp_finding(&good), None);
        let wrong = "a..b@example.com".to_owned();
        let from = Smtp {
            from: wrong.clone(),
            ..good.clone()
        };
        let to = Smtp {
            to: vec!["ops@example.com".to_owned(), wrong],
            ..good
        };
        for smtp in [from, to] {
            let finding = smtp_finding(&smtp).expect("a finding");
            assert!(
                finding.contains("`a..b@example.com` in monitor.smtp"),
                "{finding}"
            );
        }
    }
}
