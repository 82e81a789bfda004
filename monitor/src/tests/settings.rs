//! The monitor's configuration on a relay host of a test.

use std::time::Duration;

use logferry_config::{AlertHold, AlertLimits, MonitorSettings, Smtp, SmtpTls, SummarySettings, WatchedHost};
use logferry_inspection::status::{StatusProblem, StatusScope};
use logferry_testkit::relay_host::RelayHost;

/// A status of whoever is in the ledger: nothing is expected.
pub(crate) fn bare_scope() -> StatusScope<'static> {
    StatusScope {
        expected_sources: &[],
        stale_after: Duration::from_mins(5),
        groups: &[],
        destinations: &[],
        min_free_disk: 0,
        roles: &[],
    }
}

/// The sentences of problems.
pub(crate) fn texts(problems: &[StatusProblem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.text.as_str()).collect()
}

pub(crate) trait MonitoredHost {
    /// A configuration with its mail server on this local port.
    fn config(&self, mail_port: u16) -> MonitorSettings;
}

impl MonitoredHost for RelayHost {
    fn config(&self, mail_port: u16) -> MonitorSettings {
        MonitorSettings {
            data_dir: self.data_dir().to_owned(),
            store_dir: self.data_dir().join("index"),
            interval: Duration::from_millis(20),
            stale_after: Duration::from_mins(5),
            hold: AlertHold::default(),
            limits: AlertLimits {
                // The disk of a test's host is its own business.
                disk_percent: 100,
                ..AlertLimits::default()
            },
            expected_sources: Vec::new(),
            host: WatchedHost {
                min_free_disk: 0,
                ..WatchedHost::default()
            },
            smtp: Smtp {
                host: "127.0.0.1".to_owned(),
                port: mail_port,
                from: "ferry@example.com".to_owned(),
                to: vec!["ops@example.com".to_owned()],
                user: None,
                password: None,
                tls: SmtpTls::None,
                ca_file: None,
                hello_name: None,
                subject_prefix: "[logferry]".to_owned(),
            },
            summary: SummarySettings {
                after: Duration::from_mins(15),
                daily: false,
                templates_dir: None,
                destinations: Vec::new(),
            },
            metrics: None,
            rules: Vec::new(),
            channels: Vec::new(),
            heartbeat: None,
        }
    }
}
