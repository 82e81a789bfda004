//! Tries every host in the configuration in its own protocol, and every port that a role listens on. One line each.
//!
//! A relay is asked what this host would be there; at a destination a small file is written, renamed and deleted; a mail
//! server hears sender and recipients, and no mail; a channel is asked what it takes, and gets no message; OpenSearch is asked for
//! what no server does; of a table the rows that wait are counted, and none is marked. Nothing is left behind.

use std::path::Path;

use jiff::Timestamp;
use logferry_config::{
    CollectorSourceKind, Config, MysqlSettings, OpenSearchLogin, OpenSearchSettings, SenderSettings, Smtp,
    SourceSetting,
};
use logferry_sender::RelayFound;

use super::report::HostCheckReport;
use super::{host, ports};
use crate::output::check_item::CheckItem;
use crate::roles::oneshot;
use crate::sender_host;

/// Reports the result of each as soon as it is known.
pub(super) fn all(config: &Config, file: &Path, report: &mut HostCheckReport) -> anyhow::Result<()> {
    match &config.sender {
        Some(sender) => relays(sender, report)?,
        None => report.add_all(host::time_service())?,
    }
    let forwarder = config.forwarder.iter();
    for destination in forwarder.flat_map(|forwarder| &forwarder.destinations) {
        let result = logferry_forwarder::check_destination(destination);
        let name = format!("destination {}", destination.name);
        let works = format!(
            "files can be written, renamed and deleted in {}",
            destination.directory
        );
        let result = result.map(|()| works).map_err(|error| error.explanation());
        report.add(result_item(name, result))?;
    }
    if let Some(monitor) = &config.monitor {
        mail_server(&monitor.smtp, report)?;
        for (name, result) in oneshot::probe_channels(monitor)? {
            report.add(result_item(name, result))?;
        }
    }
    let indexer = config.indexer.as_ref();
    if let Some(settings) = indexer.and_then(|indexer| indexer.opensearch.as_ref()) {
        report.add(opensearch(settings)?)?;
    }
    let sources = config.collector.iter().flat_map(|collector| &collector.sources);
    for source in sources {
        if let CollectorSourceKind::Mysql(settings) = &source.kind {
            report.add(table(source.name.as_str(), settings)?)?;
        }
    }
    for (name, result) in ports::all(config, file) {
        report.add(result_item(name, result))?;
    }
    Ok(())
}

fn result_item(name: String, result: Result<String, String>) -> CheckItem {
    match result {
        Ok(fine) => CheckItem::ok(name, fine),
        Err(problem) => CheckItem::problem(name, &problem),
    }
}

fn relays(sender: &SenderSettings, report: &mut HostCheckReport) -> anyhow::Result<()> {
    for (address, result) in oneshot::probe_relay(sender)? {
        let clocks = result.as_ref().ok().and_then(|found| found.clocks.clone());
        let result = result
            .map(|found| found_relay(sender, &found))
            .map_err(|error| logferry_text::error_chain(&error));
        report.add(result_item(format!("relay {address}"), result))?;
        if let Some((date, arrived)) = clocks {
            let arrived = Timestamp::try_from(arrived)?;
            if let Some(item) = host::clock(&date, arrived) {
                report.add(item)?;
            }
        }
    }
    // A relay that takes the question may refuse the lines.
    if let Some(problem) = sender_host::shipping_problem(&sender.state_dir) {
        report.add(CheckItem::problem("the sender that runs here", &problem))?;
    }
    Ok(())
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

fn opensearch(settings: &OpenSearchSettings) -> anyhow::Result<CheckItem> {
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
        .map_err(|error| {
            let error = logferry_text::error_chain(&error);
            // An address that does not answer is told without what to do.
            if error.contains("; ") {
                return error;
            }
            format!("{error}; check indexer.opensearch.url, and the firewalls between")
        });
    Ok(result_item(format!("opensearch {}", settings.url), result))
}

fn table(source: &str, settings: &MysqlSettings) -> anyhow::Result<CheckItem> {
    let MysqlSettings {
        user,
        database,
        table,
        sent,
        ..
    } = settings;
    let tls = match &settings.tls {
        Some(tls) if tls.verify => "with TLS",
        Some(_) => "with TLS, without a look at the certificate",
        None => "without TLS",
    };
    let result = oneshot::block_on(logferry_collector::probe_table(settings))?;
    let result = result.map(|found| {
        let may = match (found.may_mark, found.waiting) {
            (true, Some(waiting)) => format!(
                "user {user} may read and mark {database}.{table}; {} not marked",
                logferry_text::count_of(waiting, "row")
            ),
            (true, None) => format!(
                "user {user} may read and mark {database}.{table}; counting the rows that are not marked takes the server too \
                 long: give `{sent}` an index",
                sent = sent.as_deref().unwrap_or_default()
            ),
            (false, _) => format!("user {user} may read {database}.{table}; rows are followed by their id"),
        };
        let reader = found.reader.map_or_else(String::new, |connection| {
            format!("; connection {connection} of the server reads it now")
        });
        format!("{may}; {tls}{reader}")
    });
    let result = result.map_err(|error| logferry_text::error_chain(error.as_ref()));
    let name = format!("source {source} {}:{}", settings.host, settings.port);
    Ok(result_item(name, result))
}

fn mail_server(smtp: &Smtp, report: &mut HostCheckReport) -> anyhow::Result<()> {
    let name = format!("mail server {}:{}", smtp.host, smtp.port);
    let recipients = match oneshot::probe_mail_server(smtp)? {
        Ok(recipients) => recipients,
        Err(error) => {
            let error = logferry_text::error_chain(&error);
            // Most of these errors name the server.
            let problem = error.strip_prefix(&format!("{name} ")).unwrap_or(&error);
            return report.add(CheckItem::problem(name.clone(), problem));
        }
    };
    let accepted = recipients.iter().filter(|(_, answer)| answer.is_ok()).count();
    if accepted == recipients.len() {
        let accepted = logferry_text::count_of(accepted as u64, "recipient");
        let works = format!("accepts mail from {} to {accepted}; none was sent", smtp.from);
        return report.add(CheckItem::ok(name, works));
    }
    for (recipient, answer) in recipients {
        if let Err(reason) = answer {
            let problem = format!(
                "refuses the recipient {recipient}: {reason}; correct or remove it in monitor.smtp.to"
            );
            report.add(CheckItem::problem(name.clone(), &problem))?;
        }
    }
    Ok(())
}
