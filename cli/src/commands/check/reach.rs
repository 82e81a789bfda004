//! Tries every host in the configuration in its own protocol, and every port that a role listens on. One line each.
//!
//! A relay is asked what this host would be there; at a destination a small file is written, renamed and deleted; a mail
//! server hears sender and recipients, and no mail; a channel is asked what it takes, and gets no message; OpenSearch is asked for
//! what no server does. Nothing is left behind.

use std::path::Path;

use logferry_config::{Config, OpenSearchLogin, OpenSearchSettings, SenderSettings, Smtp, SourceSetting};
use logferry_sender::RelayFound;

use super::ports;
use crate::output::console;
use crate::roles::oneshot;

/// Prints the result of each. False if one of them is not as it should be.
pub(super) fn all(config: &Config, file: &Path) -> anyhow::Result<bool> {
    let mut is_fine = true;
    if let Some(sender) = &config.sender {
        is_fine &= relays(sender)?;
    }
    let forwarder = config.forwarder.iter();
    for destination in forwarder.flat_map(|forwarder| &forwarder.destinations) {
        let result = logferry_forwarder::check_destination(destination);
        let name = format!("destination {}", destination.name);
        is_fine &= print(
            &name,
            result
                .map(|()| {
                    format!(
                        "files can be written, renamed and deleted in {}",
                        destination.directory
                    )
                })
                .map_err(|error| error.explanation()),
        )?;
    }
    if let Some(monitor) = &config.monitor {
        is_fine &= mail_server(&monitor.smtp)?;
        for (name, result) in oneshot::probe_channels(monitor)? {
            is_fine &= print(&name, result)?;
        }
    }
    if let Some(settings) = config
        .indexer
        .as_ref()
        .and_then(|indexer| indexer.opensearch.as_ref())
    {
        is_fine &= opensearch(settings)?;
    }
    for (name, result) in ports::all(config, file) {
        is_fine &= print(&name, result)?;
    }
    Ok(is_fine)
}

/// Prints a result, good or bad, and returns whether it is good.
fn print(name: &str, result: Result<String, String>) -> anyhow::Result<bool> {
    let is_good = result.is_ok();
    let text = result.unwrap_or_else(|problem| problem);
    console::print(&format!("{name}: {text}\n"))?;
    Ok(is_good)
}

fn relays(sender: &SenderSettings) -> anyhow::Result<bool> {
    let mut is_fine = true;
    for (address, result) in oneshot::probe_relay(sender)? {
        let result = result
            .map(|found| found_relay(sender, &found))
            .map_err(|error| logferry_text::error_chain(&error));
        is_fine &= print(&format!("relay {address}"), result)?;
    }
    Ok(is_fine)
}

fn found_relay(sender: &SenderSettings, found: &RelayFound) -> String {
    let group = found.group.as_ref();
    let group = group.map_or_else(String::new, |group| format!(" of group {group}"));
    let ledger = found.ledger.map_or_else(
        || "an older relay, which does not name its ledger".to_owned(),
        |ledger| format!("ledger {ledger}"),
    );
    let tls = if found.is_encrypted {
        "with TLS"
    } else {
        "without TLS"
    };
    let token = found.token_file.as_ref().map_or_else(
        || "without a token".to_owned(),
        |file| format!("with the token in {}", file.display()),
    );
    let not_trusted = match &sender.source {
        SourceSetting::Named(named) if *named != found.source => {
            format!("; sender.source says {named}, which counts only in a group with trust_source: true")
        }
        _ => String::new(),
    };
    format!(
        "takes this host's lines as source {}{group}; {ledger}; {tls}, {token}{not_trusted}",
        found.source
    )
}

fn opensearch(settings: &OpenSearchSettings) -> anyhow::Result<bool> {
    let login = match &settings.login {
        OpenSearchLogin::None => "without a login".to_owned(),
        OpenSearchLogin::Basic { user, .. } => format!("as user {user}"),
        OpenSearchLogin::ApiKey(_) => "with the API key".to_owned(),
    };
    let result = oneshot::probe_opensearch(settings)?;
    let result = result
        .map(|found| {
            format!(
                "{} takes bulk requests {login}; nothing was written; lines go to {}",
                found.name,
                settings.index.pattern()
            )
        })
        .map_err(|error| logferry_text::error_chain(&error));
    print(&format!("opensearch {}", settings.url), result)
}

fn mail_server(smtp: &Smtp) -> anyhow::Result<bool> {
    let name = format!("mail server {}:{}", smtp.host, smtp.port);
    let recipients = match oneshot::probe_mail_server(smtp)? {
        Ok(recipients) => recipients,
        Err(error) => {
            let error = logferry_text::error_chain(&error);
            // Most of these errors name the server.
            let problem = error.strip_prefix(&format!("{name} ")).unwrap_or(&error);
            return print(&name, Err(problem.to_owned()));
        }
    };
    let accepted = recipients.iter().filter(|(_, answer)| answer.is_ok()).count();
    if accepted == recipients.len() {
        let accepted = logferry_text::count_of(accepted as u64, "recipient");
        return print(
            &name,
            Ok(format!(
                "accepts mail from {} to {accepted}; none was sent",
                smtp.from
            )),
        );
    }
    for (recipient, answer) in recipients {
        if let Err(reason) = answer {
            let problem = format!(
                "refuses the recipient {recipient}: {reason}; correct or remove it in monitor.smtp.to"
            );
            print(&name, Err(problem))?;
        }
    }
    Ok(false)
}
