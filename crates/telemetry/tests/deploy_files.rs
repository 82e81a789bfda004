//! The files for Prometheus and Grafana in `deploy/` ask for metrics and labels that there are, and Debian's promtool understands
//! them. docs/monitor/metrics.md names every metric.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use logferry_telemetry::{CollectorTotals, Metrics, SenderTotals, StoredChunks};
use serde_json::Value;

/// Labels that Prometheus itself adds, or that a histogram has.
const ADDED_LABELS: [&str; 4] = ["instance", "job", "le", "severity"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).expect(path)
}

/// The numbers of a process with all roles, in which each one has a value.
fn filled_metrics() -> Metrics {
    let metrics = Metrics::new();
    let sender = metrics.sender("h1");
    sender.shipped(1, 1, 1);
    sender.long_line();
    sender.retried();
    sender.lost(1);
    sender.set_lag(1);
    let _ = SenderTotals::default();
    let relay = metrics.relay("web-1");
    relay.stored(
        "h1",
        StoredChunks {
            chunks: 1,
            lines: 1,
            bytes: 1,
        },
    );
    relay.duplicate("h1");
    relay.rejected();
    relay.committed(Duration::from_millis(1));
    relay.open_batches(1);
    relay.taking_lines(true);
    relay.commit_failed();
    relay.free_disk(1);
    let forwarder = metrics.forwarder("edw");
    forwarder.delivered(1);
    forwarder.failed("auth");
    forwarder.oldest_waiting(Duration::from_secs(1));
    let collected = CollectorTotals {
        behind: Some(1),
        ..CollectorTotals::default()
    };
    metrics.collector().show("api", collected);
    let console = metrics.console();
    console.login(true);
    console.login(false);
    console.limited();
    console.stream_opened();
    console.skipped(1);
    let (process, monitor) = (metrics.of_process(), metrics.monitor());
    process.role_started("relay", 1.0);
    monitor.set_pending("mail", 1);
    monitor.set_incidents("critical", 1);
    monitor.set_lost_bytes("deleted", 1);
    monitor.set_certificate_expiry("relay.tls.cert_file", 1.0);
    metrics
}

/// The names of all samples, and their labels.
fn real_metrics() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in filled_metrics()
        .text()
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let sample = line.rsplit_once(' ').expect("a value").0;
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let labels = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|label| label.split_once('='));
        let labels = labels.map(|(label, _)| label.to_owned());
        found.entry(name.to_owned()).or_default().extend(labels);
    }
    found
}

/// The words of a query that begin like our metrics, and the labels that it groups by.
fn parts(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = query.split(|c| !is_of_word(c));
    let metrics = words
        .filter(|word| word.starts_with("logferry_"))
        .map(str::to_owned);
    let groups = query
        .split("by (")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    let labels = groups
        .flat_map(|(labels, _)| labels.split(','))
        .map(|label| label.trim().to_owned());
    (metrics.collect(), labels.collect())
}

/// Checks that there are such metrics, with such labels.
fn check(query: &str, real: &BTreeMap<String, BTreeSet<String>>) {
    let (metrics, labels) = parts(query);
    assert!(
        !metrics.is_empty() || query.contains("up{job=\"logferry\"}"),
        "{query}"
    );
    for metric in &metrics {
        assert!(real.contains_key(metric), "there is no metric {metric}: {query}");
    }
    for label in labels
        .iter()
        .filter(|label| !ADDED_LABELS.contains(&label.as_str()))
    {
        let mut known = metrics.iter().filter_map(|metric| real.get(metric));
        assert!(
            known.any(|labels| labels.contains(label)),
            "no metric has the label {label}: {query}"
        );
    }
}

/// The queries of the dashboard, with their panels' titles.
fn dashboard_queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/logferry.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let queries = panels.flat_map(|panel| {
        let title = panel["title"].as_str().expect("a title");
        let targets = panel["targets"].as_array().expect("targets").iter();
        targets.map(move |target| {
            (
                title.to_owned(),
                target["expr"].as_str().expect("a query").to_owned(),
            )
        })
    });
    queries.collect()
}

#[test]
fn promtool_reads_the_plain_page_and_finds_the_same_samples() {
    let metrics = filled_metrics();
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let page = metrics.plain_text();
    assert_eq!(samples(&page), samples(&metrics.text()));
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("page"), page).expect("written");
    let page = std::fs::File::open(dir.path().join("page")).expect("it is there");
    let (code, said) = run_promtool(&["check", "metrics"], dir.path(), page.into());
    // 3: it understands all, and would choose other names.
    assert!(matches!(code, Some(0 | 3)), "{said}");
}

fn promtool(arguments: &[&str], folder: &Path) {
    let (code, said) = run_promtool(arguments, folder, Stdio::null());
    assert_eq!(code, Some(0), "{said}");
}

/// Its exit code, and what it said.
fn run_promtool(arguments: &[&str], folder: &Path, input: Stdio) -> (Option<i32>, String) {
    let ran = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(input)
        .output();
    let ran = ran.expect("promtool is in Debian's package prometheus, which ./test installs");
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    (ran.status.code(), format!("promtool {arguments:?}: {said}"))
}

#[test]
fn alert_rules_ask_for_real_metrics_and_fire_when_they_should() {
    let real = real_metrics();
    let rules = read("deploy/prometheus/logferry.rules.yml");
    let queries: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert_eq!(queries.len(), rules.matches("- alert: ").count());
    for query in queries {
        check(query, &real);
    }
    let folder = repository().join("deploy/prometheus");
    promtool(&["check", "rules", "logferry.rules.yml"], &folder);
    promtool(&["test", "rules", "logferry.rules.test.yml"], &folder);
    let tests = read("deploy/prometheus/logferry.rules.test.yml");
    for alert in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let named = tests.matches(&format!("alertname: {alert}")).count();
        assert!(
            named >= 2,
            "{alert}: a test that it fires, and one that it does not"
        );
    }
}

#[test]
fn dashboard_asks_for_real_metrics_in_queries_that_prometheus_understands() {
    let real = real_metrics();
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, (title, query)) in dashboard_queries().iter().enumerate() {
        check(query, &real);
        // Grafana puts a time in.
        let query = query.replace("$__rate_interval", "5m");
        assert!(!query.contains('$'), "{title}: {query}");
        let _ = write!(
            rules,
            "      - record: dashboard:{number}\n        expr: {query:?}\n"
        );
    }
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("queries.yml"), rules).expect("written");
    promtool(&["check", "rules", "queries.yml"], dir.path());
}

#[test]
fn every_metric_is_documented_and_none_that_is_not_there() {
    let real = real_metrics();
    let page = read("docs/monitor/metrics.md");
    // A histogram is three names on the page.
    let name = |metric: &str| {
        let parts = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| metric.strip_suffix(part));
        parts.unwrap_or(metric).to_owned()
    };
    let names: BTreeSet<_> = real.keys().map(|metric| name(metric)).collect();
    for metric in &names {
        let is_named = ["`", "{"]
            .iter()
            .any(|end| page.contains(&format!("`{metric}{end}")));
        assert!(is_named, "docs/monitor/metrics.md has no {metric}");
    }
    for word in page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("logferry_"))
    {
        let word = word.split('{').next().unwrap_or_default();
        assert!(
            names.contains(word),
            "docs/monitor/metrics.md has {word}, and there is no such metric"
        );
    }
}
