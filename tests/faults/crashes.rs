//! Kills of the roles at random times.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::LogWriter;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::seed;

const LINES_PER_SECOND: u32 = 8_000;
const DURATION: Duration = Duration::from_secs(10);

/// Milliseconds between two kills.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 50..=600;

#[test]
fn killing_any_role_at_random_loses_nothing_and_doubles_nothing() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pipeline = Pipeline::new("crashes", "2s");
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed);
    pipeline.start_all();

    let end = Instant::now() + DURATION;
    let mut kills = [0; Role::ALL.len()];
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(rng.random_range(PAUSE_MS)));
        let victim = rng.random_range(0..Role::ALL.len());
        pipeline.kill(Role::ALL[victim]);
        pipeline.start(Role::ALL[victim]);
        kills[victim] += 1;
    }
    load.stop();
    println!("kills of {:?}: {kills:?}", Role::ALL);

    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}
