//! The collector's disk becomes full under load.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::posting::{PostingClients, assert_delivered_once, pipeline, post, start_all};
use crate::support::seed;
use crate::support::tmpfs::Tmpfs;

#[test]
fn full_disk_of_the_collector_costs_time_but_no_record() {
    let mut rng = StdRng::seed_from_u64(seed());
    let disk = Tmpfs::mount(16);
    let (mut pipeline, port) = pipeline("collector-full-disk", "");
    let settings = pipeline.config.collector.take().expect("set").1;
    pipeline.config.collector = Some((disk.path("collector"), settings));
    start_all(&mut pipeline);
    let clients = PostingClients::start(port, 8, 20);
    for times in 1..=3 {
        let is_taking = pipeline.becomes_true(|_| clients.acknowledged() >= times * 400);
        assert!(is_taking, "only {} records were taken", clients.acknowledged());
        disk.fill(rng.random_range(0..20 << 10));
        let is_refused = pipeline.becomes_true(|_| {
            post(port, "/lines", "", b"").is_some()
                && post(port, "/api/logs", "", &probe(&mut rng)).is_some_and(|answer| answer.status == 503)
        });
        assert!(is_refused, "the disk is not full");
        disk.make_room();
    }
    let mut ids = clients.stop();
    ids.extend(taken_probes(&pipeline));
    assert_delivered_once(&mut pipeline, &ids);
}

/// A record that fills what is left of the disk.
fn probe(rng: &mut StdRng) -> Vec<u8> {
    let id = format!("probe-{}", rng.random::<u64>());
    serde_json::json!({"id": id, "message": "x".repeat(30_000)})
        .to_string()
        .into_bytes()
}

/// Probes that were taken before the disk was full: those in the capture.
fn taken_probes(pipeline: &crate::support::pipeline::Pipeline) -> Vec<String> {
    let (folder, _) = pipeline.config.collector.as_ref().expect("set");
    let capture = std::fs::read_to_string(folder.join("api/api.log")).unwrap();
    let ids = capture.lines().filter_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        let id = record["id"].as_str().expect("an id").to_owned();
        id.starts_with("probe-").then_some(id)
    });
    ids.collect()
}
