//! The alert that a channel does not take its messages. Pure. It goes by mail.

use std::time::Duration;

use jiff::Timestamp;
use logferry_config::ChannelSettings;
use logferry_ledger::{ChannelBacklog, ChannelRecord};
use logferry_text::{count_of, duration};

use crate::incidents::condition::{Condition, Severity};
use logferry_inspection::time::age;

/// The rule's name.
const CHANNEL: &str = "channel";

/// A channel that fails for less heals by itself mostly.
const FAILING_AFTER: Duration = Duration::from_mins(10);

/// The channels that have failed for long, and have something to tell.
pub(crate) fn failing(
    channels: &[ChannelSettings],
    backlogs: &[ChannelBacklog],
    records: &[ChannelRecord],
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for channel in channels {
        let name = &channel.name;
        let backlog = backlogs.iter().find(|backlog| backlog.channel == *name);
        let record = records.iter().find(|record| record.channel == *name);
        let (Some(backlog), Some(record)) = (backlog, record) else {
            continue;
        };
        let waited = age(backlog.oldest, now);
        if record.attempts == 0 || waited < FAILING_AFTER {
            continue;
        }
        let (waiting, waited) = (count_of(backlog.waiting, "alert"), duration(waited));
        let error = record.last_error.as_deref().unwrap_or("no reason is known");
        conditions.push(Condition {
            rule: CHANNEL.to_owned(),
            subject: name.clone(),
            severity: Severity::Warning,
            text: format!("channel {name} takes no messages: {waiting} wait for {waited}; {error}"),
            advice: format!(
                "`logferry test-mail --channel {name}` tries it; docs/monitor/rules.md has the answers"
            ),
            hold: None,
            channels: Vec::new(),
        });
    }
    conditions
}

#[cfg(test)]
mod tests {
    use logferry_config::ChannelKind;

    use super::*;

    #[test]
    fn a_channel_that_fails_for_long_is_told_by_mail() {
        let channel = ChannelSettings {
            name: "chat".to_owned(),
            kind: ChannelKind::Command(vec!["/bin/true".to_owned()]),
            all_alerts: false,
            time_limit: Duration::from_secs(30),
        };
        let at = |minute: i64| Timestamp::from_second(1_795_227_600 + minute * 60).expect("in range");
        let backlog = ChannelBacklog {
            channel: "chat".to_owned(),
            waiting: 2,
            oldest: at(0),
        };
        let record = |attempts| ChannelRecord {
            channel: "chat".to_owned(),
            attempts,
            unconfirmed: 0,
            next_attempt: at(0),
            last_error: Some("it answered 404".to_owned()),
        };
        let texts = |attempts, minute| -> Vec<String> {
            let found = failing(
                std::slice::from_ref(&channel),
                std::slice::from_ref(&backlog),
                &[record(attempts)],
                at(minute),
            );
            found.into_iter().map(|condition| condition.text).collect()
        };
        assert_eq!(texts(5, 9), [] as [&str; 0]);
        assert_eq!(texts(0, 60), [] as [&str; 0], "it was not tried in vain");
        assert_eq!(
            texts(5, 60),
            ["channel chat takes no messages: 2 alerts wait for 1 h; it answered 404"]
        );
    }
}
