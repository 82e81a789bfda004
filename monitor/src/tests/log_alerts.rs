//! The mails about logs that senders cannot ship, over real SMTP connections.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_config::{AlertHold, MonitorSettings};
use logferry_embedded_servers::MailSink;
use logferry_protocol::heartbeat::{Heartbeat, LogProblem, LogProblemKind};
use logferry_telemetry::{PresenceState, give_sign};

use super::mails::without_summaries;
use super::relay_host::{RelayHost, source};
use crate::once;

/// A sender reports that it cannot ship these paths.
fn report(host: &mut RelayHost, paths: &[&str], at: Timestamp) {
    let problem = |path: &&str| LogProblem {
        log: "access".parse().expect("a name"),
        path: (*path).to_owned(),
        kind: LogProblemKind::NoMatch,
        reason: "there is no such file yet; it is shipped once it is there".to_owned(),
        since: None,
    };
    let heartbeat = Heartbeat {
        log_problems: paths.iter().map(problem).collect(),
        ..Heartbeat::default()
    };
    let group = "web-1".parse().expect("a group");
    host.ledger
        .note_heartbeat(&source("198.51.100.1"), &group, &heartbeat, at)
        .expect("noted");
}

#[tokio::test]
async fn a_misspelt_log_is_mailed_once_and_its_correction_once() {
    let mut host = RelayHost::new();
    let sink = MailSink::start().await.expect("a server");
    let config = MonitorSettings {
        hold: AlertHold {
            firing: Duration::ZERO,
            clear: Duration::from_mins(2),
        },
        ..without_summaries(host.config(sink.port()))
    };
    let texts = || {
        let messages = sink.messages().into_iter();
        let text = |data: Vec<u8>| String::from_utf8_lossy(&data).replace("=\r\n", "");
        messages.map(|mail| text(mail.data)).collect::<Vec<_>>()
    };
    report(&mut host, &["/log/acces.log"], Timestamp::now());
    for _ in 0..3 {
        once(&config).await.expect("looked");
    }
    let [mail] = &texts()[..] else {
        panic!("one mail: {:?}", texts())
    };
    assert!(
        mail.contains("Subject: [logferry] logs not shipped: 198.51.100.1"),
        "{mail}"
    );
    assert!(
        mail.contains("198.51.100.1: /log/acces.log: there is no such file yet"),
        "{mail}"
    );

    report(&mut host, &[], Timestamp::now());
    once(&config).await.expect("looked");
    assert_eq!(texts().len(), 1, "whether it lasts is not known yet");
    // The hold has passed since the monitor saw that the problem was gone.
    let mut alerts = host.ledger.log_alerts().expect("alerts");
    let before = Timestamp::now() - SignedDuration::from_mins(3);
    alerts[0].gone_since = Some(before);
    host.ledger
        .replace_log_alerts(&alerts, &[], before)
        .expect("recorded");
    for _ in 0..3 {
        once(&config).await.expect("looked");
    }
    let mails = texts();
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(
        mails[1].contains("Subject: [logferry] logs shipped again: 198.51.100.1"),
        "{mails:?}"
    );
}

#[tokio::test]
async fn a_key_that_a_role_cannot_read_is_mailed_once_with_what_to_do() {
    let host = RelayHost::new();
    let sink = MailSink::start().await.expect("a server");
    let config = without_summaries(host.config(sink.port()));
    let key = "destination edw: key_file /k belongs to root:root (mode 0600), and user logferry may not read it; run `chown \
               logferry /k`";
    let now = Timestamp::now();
    give_sign(
        host.data_dir(),
        "forwarder",
        PresenceState::Running,
        now,
        &[key.to_owned()],
    )
    .expect("written");
    for _ in 0..3 {
        once(&config).await.expect("looked");
    }
    let mails = sink.messages();
    assert_eq!(mails.len(), 1, "one mail");
    let text = String::from_utf8_lossy(&mails[0].data).replace("=\r\n", "");
    assert!(
        text.contains("Subject: [logferry] files not usable by the forwarder"),
        "{text}"
    );
    assert!(text.contains(&format!("forwarder: {key}\r\n")), "{text}");
}
