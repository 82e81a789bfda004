//! The mails about logs that senders cannot ship.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use logferry_ledger::{LogAlert, NewMail};
use logferry_text::count_of;

use crate::time::local_time;

/// Sources named in a subject. The text names all.
const SUBJECT_SOURCES_MAX: usize = 3;
/// Paths named in a text.
const PATHS_MAX: usize = 100;

/// One mail for all paths that were found wrong.
pub(crate) fn begun_mail(begun: &[LogAlert]) -> NewMail {
    let mut lines = vec![
        format!(
            "{} cannot be used as configured: no file is found there, or the sender may not use it. Other logs are shipped.",
            count_of(begun.len() as u64, "path")
        ),
        String::new(),
    ];
    let line = |alert: &LogAlert| format!("{}: {}: {}", alert.source, alert.path, alert.reason);
    lines.extend(shown(begun, line));
    lines.push(String::new());
    lines.push(
        "On the source's host, `logferry check` looks as the service user and names what to change. `logferry status` shows \
         these until they are over, and then one more mail comes."
            .to_owned(),
    );
    mail("logs not shipped", begun, &lines)
}

/// One mail for all paths that are right again.
pub(crate) fn over_mail(over: &[LogAlert], zone: &TimeZone) -> NewMail {
    let mut lines = vec![
        "These are found and can be read again, or are not configured any more:".to_owned(),
        String::new(),
    ];
    let line = |alert: &LogAlert| {
        let since = local_time(alert.since, zone);
        format!("{}: {}: since {since}", alert.source, alert.path)
    };
    lines.extend(shown(over, line));
    mail("logs shipped again", over, &lines)
}

fn shown<'a>(
    alerts: &'a [LogAlert],
    line: impl Fn(&LogAlert) -> String + 'a,
) -> impl Iterator<Item = String> + 'a {
    let more = alerts.len().saturating_sub(PATHS_MAX);
    let rest = (more > 0).then(|| format!("and {more} more"));
    alerts.iter().take(PATHS_MAX).map(line).chain(rest)
}

fn mail(event: &str, alerts: &[LogAlert], lines: &[String]) -> NewMail {
    let sources: BTreeSet<&str> = alerts.iter().map(|alert| alert.source.as_str()).collect();
    let first: Vec<_> = sources.iter().take(SUBJECT_SOURCES_MAX).copied().collect();
    let more = match sources.len().saturating_sub(SUBJECT_SOURCES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    NewMail {
        subject: format!("{event}: {}{more}", first.join(", ")),
        text: lines.join("\n") + "\n",
        html: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(number: u8, path: &str) -> LogAlert {
        LogAlert {
            source: format!("198.51.100.{number}").parse().expect("valid"),
            path: path.to_owned(),
            reason: "there is no such file yet; it is shipped once it is there; is /log/access.log meant?"
                .to_owned(),
            since: "2026-11-29T06:00:00Z".parse().expect("a time"),
            raised_at: None,
            gone_since: None,
        }
    }

    #[test]
    fn the_mail_about_a_log_names_source_path_reason_and_what_to_do() {
        let mail = begun_mail(&[alert(1, "/log/acces.log")]);
        assert_eq!(mail.subject, "logs not shipped: 198.51.100.1");
        assert_eq!(
            mail.text,
            "1 path cannot be used as configured: no file is found there, or the sender may not use it. Other logs are \
             shipped.\n\
             \n\
             198.51.100.1: /log/acces.log: there is no such file yet; it is shipped once it is there; is /log/access.log \
             meant?\n\
             \n\
             On the source's host, `logferry check` looks as the service user and names what to change. `logferry status` \
             shows these until they are over, and then one more mail comes.\n"
        );
    }

    #[test]
    fn the_mail_about_many_logs_stays_short() {
        let alerts: Vec<_> = (0..250).map(|number| alert(number, "/log/a")).collect();
        let mail = begun_mail(&alerts);
        assert!(mail.subject.ends_with("and 247 more"), "{}", mail.subject);
        assert!(mail.text.contains("and 150 more\n"));
    }

    #[test]
    fn the_mail_that_it_is_over_says_how_long_it_was() {
        let mail = over_mail(&[alert(1, "/log/a")], &TimeZone::UTC);
        assert_eq!(mail.subject, "logs shipped again: 198.51.100.1");
        assert!(
            mail.text
                .contains("198.51.100.1: /log/a: since 2026-11-29 06:00:00 +00:00")
        );
    }
}
