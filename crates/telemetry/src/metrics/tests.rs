//! The names of the contract, one by one.

use std::time::Duration;

use super::*;

/// Asserts that the page has each of these samples.
fn assert_shown(metrics: &Metrics, samples: &[&str]) {
    let text = metrics.text();
    for expected in samples {
        assert!(text.lines().any(|line| line == *expected), "{expected}\n{text}");
    }
}

#[test]
fn sender_names_are_those_of_the_contract() {
    let metrics = Metrics::new();
    let sender = metrics.sender("198.51.100.1");
    sender.shipped(1, 0, 0);
    sender.shipped(99, 9, 1);
    sender.long_line();
    sender.retried();
    sender.lost(30);
    sender.lost(40);
    sender.set_lag(u64::MAX);
    let expected = [
        r#"logferry_sender_read_bytes_total{source="198.51.100.1"} 100"#,
        r#"logferry_sender_sent_lines_total{source="198.51.100.1"} 9"#,
        r#"logferry_sender_excluded_lines_total{source="198.51.100.1"} 1"#,
        r#"logferry_sender_retries_total{source="198.51.100.1"} 1"#,
        r#"logferry_sender_gaps_total{source="198.51.100.1"} 2"#,
        r#"logferry_sender_gap_bytes_total{source="198.51.100.1"} 70"#,
        r#"logferry_sender_lag_bytes{source="198.51.100.1"} 9223372036854775807"#,
    ];
    assert_shown(&metrics, &expected);
}

#[test]
fn relay_names_are_those_of_the_contract() {
    let metrics = Metrics::new();
    let relay = metrics.relay("web-1");
    for (chunks, lines, bytes) in [(2, 30, 4000), (1, 3, 400)] {
        let stored = StoredChunks { chunks, lines, bytes };
        relay.stored("h1", stored);
    }
    relay.duplicate("h1");
    relay.rejected();
    relay.committed(Duration::from_millis(3));
    relay.open_batches(4);
    relay.taking_lines(true);
    relay.commit_failed();
    relay.free_disk(1 << 30);
    let expected = [
        r#"logferry_relay_lines_total{group="web-1",source="h1"} 33"#,
        r#"logferry_relay_bytes_total{group="web-1",source="h1"} 4400"#,
        r#"logferry_relay_chunks_total{group="web-1",source="h1"} 3"#,
        r#"logferry_relay_duplicate_chunks_total{group="web-1",source="h1"} 1"#,
        r#"logferry_relay_rejected_requests_total{group="web-1"} 1"#,
        r#"logferry_relay_commit_seconds_count{group="web-1"} 1"#,
        r#"logferry_relay_commit_seconds_bucket{le="0.005",group="web-1"} 1"#,
        r#"logferry_relay_open_batches{group="web-1"} 4"#,
        r#"logferry_relay_taking_lines{group="web-1"} 1"#,
        r#"logferry_relay_commit_failures_total{group="web-1"} 1"#,
        r#"logferry_relay_free_disk_bytes{group="web-1"} 1073741824"#,
    ];
    assert_shown(&metrics, &expected);
}

#[test]
fn forwarder_and_monitor_names_are_those_of_the_contract() {
    let metrics = Metrics::new();
    let forwarder = metrics.forwarder("edw");
    forwarder.delivered(500);
    forwarder.may_fail(["auth", "stalled"]);
    forwarder.failed("auth");
    forwarder.oldest_waiting(Duration::from_millis(2500));
    metrics.monitor().alerted();
    metrics.monitor().mailed();
    metrics.monitor().notified();
    let expected = [
        r#"logferry_forwarder_delivered_batches_total{destination="edw"} 1"#,
        r#"logferry_forwarder_delivered_bytes_total{destination="edw"} 500"#,
        r#"logferry_forwarder_failures_total{destination="edw",kind="auth"} 1"#,
        r#"logferry_forwarder_failures_total{destination="edw",kind="stalled"} 0"#,
        r#"logferry_forwarder_oldest_waiting_seconds{destination="edw"} 2.5"#,
        "logferry_monitor_alerts_total 1",
        "logferry_monitor_mails_total 1",
        "logferry_monitor_messages_total 1",
    ];
    assert_shown(&metrics, &expected);
}

#[test]
fn names_without_values_are_not_shown() {
    let metrics = Metrics::new();
    metrics.sender("h1").shipped(0, 0, 0);
    assert!(!metrics.text().contains("logferry_relay"), "{}", metrics.text());
}

#[test]
fn handles_of_one_destination_share_their_values() {
    let metrics = Metrics::new();
    metrics.forwarder("edw").failed("auth");
    metrics.forwarder("edw").clone().failed("auth");
    let twice = r#"logferry_forwarder_failures_total{destination="edw",kind="auth"} 2"#;
    assert_shown(&metrics, &[twice]);
}

#[test]
fn process_and_monitor_tell_what_others_alert_on() {
    let metrics = Metrics::new();
    let (process, monitor) = (metrics.of_process(), metrics.monitor());
    process.role_started("relay", 1_795_227_600.0);
    process.role_started("indexer", 1.5);
    process.role_ended("indexer");
    process.set_config_hash(0xffff_ffff_ffff);
    monitor.looked(1_795_227_600.0);
    monitor.set_pending("chat", 3);
    monitor.set_incidents("critical", 2);
    monitor.set_lost_bytes("deleted", 70);
    monitor.set_mismatches(1);
    monitor.set_certificate_expiry("relay.tls.cert_file", 1_795_227_600.0);
    let build = format!(
        r#"logferry_build_info{{version="{}"}} 1"#,
        env!("CARGO_PKG_VERSION")
    );
    let expected = [
        build.as_str(),
        r#"logferry_up{role="relay"} 1"#,
        r#"logferry_up{role="indexer"} 0"#,
        r#"logferry_start_time_seconds{role="indexer"} 1.5"#,
        "logferry_config_hash 281474976710655",
        "logferry_monitor_last_look_timestamp_seconds 1795227600.0",
        r#"logferry_monitor_outbox_pending{channel="chat"} 3"#,
        r#"logferry_monitor_open_incidents{severity="critical"} 2"#,
        r#"logferry_monitor_lost_bytes{reason="deleted"} 70"#,
        "logferry_monitor_count_mismatches 1",
        r#"logferry_certificate_expiry_timestamp_seconds{setting="relay.tls.cert_file"} 1795227600.0"#,
    ];
    assert_shown(&metrics, &expected);
}
