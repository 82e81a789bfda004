//! The relay host's disk becomes full under load. The data folder is on its own small disk.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use jiff::Timestamp;
use logferry_traffic::LogFile;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{LogWriter, append, traffic};
use crate::support::network::http_client::{HttpResponse, request, send};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::Process;
use crate::support::test_folder::free_port;
use crate::support::tmpfs::Tmpfs;
use crate::support::{WAIT_LIMIT, logferry, seed, wait_for};

const MIB: u64 = 1 << 20;

#[test]
fn full_disk_costs_time_but_no_line_and_needs_no_restart() {
    let (seed, disk) = (seed(), Tmpfs::mount(32));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pipeline = Pipeline::new("full-disk", "2s");
    pipeline.config.data_dir = disk.path("relay");
    // The relay has no free-space limit here, so any write or sync can hit the full disk.
    pipeline.config.min_free_disk = "0";
    let load = LogWriter::start(&pipeline.config.log, 2_000, seed);
    pipeline.start_all();
    for times in 1..=3 {
        pipeline.wait_for_received(times * 1_000);
        disk.fill(rng.random_range(0..200 << 10));
        let is_refused = pipeline.becomes_true(|pipeline| upload(pipeline.config.relay_port).status == 503);
        assert!(is_refused, "the disk is not full after {WAIT_LIMIT:?}");
        // The length of the outage does not matter.
        std::thread::sleep(Duration::from_millis(rng.random_range(0..2_000)));
        disk.make_room();
    }
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.wait_for_output(Role::Relay, "cannot commit", 1);
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn below_min_free_disk_lines_are_refused_reads_continue_and_ingest_resumes() {
    let disk = Tmpfs::mount(32);
    let (metrics, mut pipeline) = (free_port(), Pipeline::new("low-disk", "2s"));
    pipeline.config.data_dir = disk.path("relay");
    pipeline.config.min_free_disk = "8MiB";
    pipeline.config.relay_metrics = Some(metrics);
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut lines = traffic("low-disk", 1);
    pipeline.start_all();
    let healthz = |status: u16| {
        wait_for(&format!("healthz {status}"), WAIT_LIMIT, || {
            get(metrics, "/healthz").status == status
        });
    };
    wait_for("the relay's numbers", WAIT_LIMIT, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, metrics)).is_ok()
    });
    healthz(200);
    let file = pipeline.test_folder.path("logferry.yaml");
    let mut tail = Process::start(
        &pipeline.test_folder,
        "tail",
        logferry().arg("tail").arg("-c").arg(file),
    );
    append(&mut log, &mut lines, Timestamp::now(), 1_000);
    let before = WrittenLog::read(log.path()).kept_lines();
    pipeline.wait_for_received(before);

    disk.fill(6 * MIB);
    healthz(503);
    let why = get(metrics, "/healthz").body;
    assert!(why.contains("web-1") && why.contains("min_free_disk"), "{why}");
    let numbers = get(metrics, "/metrics").body;
    assert!(
        numbers.contains("logferry_relay_taking_lines{group=\"web-1\"} 0"),
        "{numbers}"
    );
    let (code, status) = pipeline.json("status");
    assert_eq!((code, &status["disk"]["state"]), (1, &"low".into()), "{status}");
    let is_reported =
        pipeline.becomes_true(|pipeline| pipeline.json("status").1["groups"][0]["state"] == "low");
    assert!(is_reported, "{status}");
    assert_eq!(status["groups"][0]["group"], "web-1", "{status}");
    assert_eq!(status["groups"][0]["sources"], 1, "{status}");
    let refused = upload(pipeline.config.relay_port);
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (503, "the relay's disk is nearly full\n")
    );
    append(&mut log, &mut lines, Timestamp::now(), 1_000);
    // Only the lines accepted before are sealed and delivered.
    let is_delivered = pipeline.becomes_true(|pipeline| pipeline.delivered_lines() >= before);
    assert!(is_delivered, "the forwarder waits for the disk");
    assert_eq!(pipeline.delivered_lines(), before);
    tail.assert_running();

    disk.make_room();
    healthz(200);
    append(&mut log, &mut lines, Timestamp::now(), 10);
    let written = WrittenLog::read(log.path());
    pipeline.wait_for_received(written.kept_lines());
    let last = fs::read_to_string(log.path()).unwrap();
    let last = last
        .lines()
        .rev()
        .find(|line| !line.contains("/health.php"))
        .unwrap();
    let shown = pipeline.test_folder.path("output/tail.log");
    wait_for("tail to show the last line", WAIT_LIMIT, || {
        fs::read_to_string(&shown).unwrap().contains(last)
    });
    drop(tail);
    pipeline.finish(&written, LineOrder::WholeLog);
}

/// Posts no lines, to see whether the relay accepts lines.
fn upload(port: u16) -> HttpResponse {
    send(port, &request("POST", "/upload", &[], br#"{"log": ""}"#))
}

fn get(port: u16, path: &str) -> HttpResponse {
    send(port, &request("GET", path, &[], b""))
}
