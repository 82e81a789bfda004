//! The mails about folders and keys that roles of this host cannot use.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use logferry_ledger::{LogAlert, NewMail};

use super::log_alert_rule::role_of;
use crate::time::local_time;

/// One mail for all that roles cannot use since now.
pub(crate) fn begun_mail(begun: &[LogAlert]) -> NewMail {
    let mut lines = vec![
        "A role of this relay host cannot use a folder or a file that its configuration names:".to_owned(),
        String::new(),
    ];
    lines.extend(
        begun
            .iter()
            .map(|alert| format!("{}: {}", name(alert), alert.path)),
    );
    lines.push(String::new());
    lines.push(
        "`sudo logferry check` looks as the service user and names what to change. `logferry status` shows these until they \
         are over, and then one more mail comes."
            .to_owned(),
    );
    mail("files not usable by", begun, &lines)
}

/// One mail for all that roles can use again.
pub(crate) fn over_mail(over: &[LogAlert], zone: &TimeZone) -> NewMail {
    let mut lines = vec![
        "These are over, or their settings have changed:".to_owned(),
        String::new(),
    ];
    lines.extend(over.iter().map(|alert| {
        let since = local_time(alert.since, zone);
        format!("{}: {} (since {since})", name(alert), alert.path)
    }));
    mail("files usable again by", over, &lines)
}

fn name(alert: &LogAlert) -> &str {
    role_of(alert).unwrap_or_default()
}

fn mail(event: &str, alerts: &[LogAlert], lines: &[String]) -> NewMail {
    let roles: BTreeSet<_> = alerts
        .iter()
        .map(|alert| format!("the {}", name(alert)))
        .collect();
    let roles: Vec<_> = roles.into_iter().collect();
    NewMail {
        subject: format!("{event} {}", roles.join(", ")),
        text: lines.join("\n") + "\n",
        html: None,
    }
}
