//! Sources of several types at once, with clients of `logferry simulate`, and kills of the collector where clients repeat.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use serde_json::Value;

use super::posting::{delivered_records, start_all};
use crate::support::logferry;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::test_folder::free_port;

struct Ports {
    http: u16,
    tcp: u16,
    syslog: u16,
}

fn pipeline(test: &str) -> (Pipeline, Ports) {
    let mut pipeline = Pipeline::new(test, "2s");
    let ports = Ports {
        http: free_port(),
        tcp: free_port(),
        syslog: free_port(),
    };
    let folder = pipeline.test_folder.path("collector");
    let Ports { http, tcp, syslog } = ports;
    let settings = format!(
        "  min_free_disk: 0\n  max_record: 4KiB\n  sources:\n    \
         - {{type: http, name: api, listen: \"127.0.0.1:{http}\"}}\n    \
         - {{type: tcp, name: app, listen: \"127.0.0.1:{tcp}\"}}\n    \
         - {{type: syslog, name: syslog, listen: \"127.0.0.1:{syslog}\"}}\n"
    );
    pipeline.config.collector = Some((folder, settings));
    (pipeline, ports)
}

/// Runs `simulate`, and returns how many records were sent and acknowledged.
fn simulate(to: &str, ids: &str, more: &[&str]) -> std::thread::JoinHandle<(u64, u64)> {
    let mut command = logferry();
    command.args([
        "simulate",
        "--to",
        to,
        "--seconds",
        "3",
        "--json",
        "--clients",
        "20",
    ]);
    command.arg(format!("--ids={ids}")).args(more);
    std::thread::spawn(move || {
        let output = command.output().expect("simulate runs");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let count = |name: &str| report[name].as_u64().expect("a count");
        (count("sent"), count("acknowledged"))
    })
}

#[test]
fn every_acknowledged_record_of_many_clients_is_delivered_once() {
    let (mut pipeline, ports) = pipeline("collector-sources");
    start_all(&mut pipeline);
    let http = format!("http://127.0.0.1:{}", ports.http);
    wait_until_listening(ports.tcp);
    let tcp = simulate(&format!("127.0.0.1:{}", ports.tcp), "tcp", &["--rate", "2000"]);
    let (tcp_sent, tcp_acknowledged) = tcp.join().expect("no panic");
    assert_eq!(
        tcp_sent, tcp_acknowledged,
        "a connection did not end as it should"
    );

    let messages = 200;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, ports.syslog)).expect("connected");
    for number in 0..messages {
        let text = format!("<13>1 - web-1 shop - - [n@1 value=\"{number}\"] by tcp");
        write!(stream, "{} {text}", text.len()).expect("sent");
    }
    let long = format!("<13>app: {}\n", "x".repeat(10_000));
    stream.write_all(long.as_bytes()).expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("closed");
    // The end of the stream says that all of it is durable.
    stream.read_to_end(&mut Vec::new()).expect("the source closes");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for number in 0..messages {
        let text = format!("<13>udp: {number}");
        datagrams
            .send_to(text.as_bytes(), ("127.0.0.1", ports.syslog))
            .expect("sent");
    }

    // These repeat what was not answered.
    let rows = simulate(
        &format!("{http}/api/logs"),
        "row",
        &["--rate", "1000", "--batch", "5"],
    );
    let lines = simulate(
        &format!("{http}/lines"),
        "line",
        &["--rate", "2000", "--batch", "10"],
    );
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        pipeline.kill(Role::Collector);
        pipeline.start(Role::Collector);
    }
    let ((rows_sent, rows_acknowledged), (lines_sent, lines_acknowledged)) =
        (rows.join().expect("no panic"), lines.join().expect("no panic"));
    assert_eq!((rows_sent, lines_sent), (rows_acknowledged, lines_acknowledged));

    let expected = tcp_sent + rows_sent + lines_sent + 2 * messages + 1;
    let is_delivered = pipeline.becomes_true(|pipeline| pipeline.delivered_lines() as u64 >= expected);
    let records = delivered_records(&pipeline);
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for record in &records {
        *ids.entry(record["id"].to_string()).or_default() += 1;
    }
    let doubled: Vec<_> = ids.iter().filter(|(_, times)| **times > 1).take(3).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    assert!(is_delivered, "{} of {expected} are at the drop", records.len());
    assert_eq!(records.len() as u64, expected);
    let with = |field: &str| records.iter().filter(|record| !record[field].is_null()).count() as u64;
    assert_eq!(with("n@1"), messages, "messages with structured data");
    assert_eq!(with("cut_bytes"), 1, "one message was over the limit");
    let is_complete = pipeline.becomes_true(|pipeline| pipeline.json("audit").1["complete"] == true);
    assert!(is_complete, "{}", pipeline.json("audit").1);
}

fn wait_until_listening(port: u16) {
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
