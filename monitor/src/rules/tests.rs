//! Rules on a real `index.db` beside a real ledger.

mod on_an_index;

use std::path::Path;

use logferry_config::{MonitorSettings, parse};
use logferry_fields::Level;
use logferry_numbers::{CountedLine, SeriesKey};

/// 2026-11-21T02:20:00Z.
const NOW: i64 = 1_795_227_600;

/// The monitor's settings with these rules, as the file has them.
fn settings(rules: &str) -> MonitorSettings {
    let text = format!(
        "monitor:\n  hold: {{firing: 0s, clear: 0s}}\n  smtp: {{host: h, from: a@example.com, to: [a@example.com]}}\n  rules:\n{rules}\n\
         indexer:\n  counters: [{{name: orders, where: {{path: /order}}}}]\n"
    );
    let config = parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
    config.monitor.expect("a section")
}

fn key(source: &str) -> SeriesKey {
    SeriesKey {
        source: source.to_owned(),
        group: format!("group-{}", source.len()),
        log: (source != "b").then(|| "access".to_owned()),
    }
}

fn line(status: u16) -> CountedLine {
    CountedLine {
        bytes: 100,
        status: Some(status),
        level: Some(if status >= 500 { Level::Error } else { Level::Info }),
        is_parsed: true,
        request_micros: None,
    }
}
