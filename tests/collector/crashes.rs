//! Kills of collector, sender and relay at random times, while clients post.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::posting::{PostingClients, assert_delivered_once, pipeline, start_all};
use crate::support::pipeline::Role;
use crate::support::seed;

const DURATION: Duration = Duration::from_secs(10);

/// Milliseconds between two kills.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 50..=600;

const VICTIMS: [Role; 4] = [Role::Collector, Role::Sender, Role::Relay, Role::Forwarder];

#[test]
fn killing_collector_sender_and_relay_loses_and_doubles_no_posted_record() {
    let mut rng = StdRng::seed_from_u64(seed());
    // Small captures, so that they are rotated and removed under load.
    let (mut pipeline, port) = pipeline("collector-crashes", "  rotate: {max_bytes: 128KiB}\n");
    start_all(&mut pipeline);
    let clients = PostingClients::start(port, 16, 5);
    let end = Instant::now() + DURATION;
    let mut kills = [0; VICTIMS.len()];
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(rng.random_range(PAUSE_MS)));
        // The collector is what is tested: it dies in every other round.
        let victim = if rng.random() {
            0
        } else {
            rng.random_range(0..VICTIMS.len())
        };
        pipeline.kill(VICTIMS[victim]);
        pipeline.start(VICTIMS[victim]);
        kills[victim] += 1;
    }
    let ids = clients.stop();
    println!(
        "kills of {VICTIMS:?}: {kills:?}; {} records were acknowledged",
        ids.len()
    );
    assert!(ids.len() > 100, "clients were hardly served: {}", ids.len());
    assert_delivered_once(&mut pipeline, &ids);
}
