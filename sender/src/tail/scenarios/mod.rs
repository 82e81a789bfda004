//! Scenarios: a log is written, rotated, truncated and deleted while the sender runs, fails and restarts. A model knows
//! every line, and is compared with the bytes at the relay.
//!
//! A scenario drives a [`Simulation`]: a file system and a relay in memory (`sim_files`, `sim_relay`), the real tailer, and
//! a clock that moves only when the scenario says so. Nothing happens by itself. These are the steps:
//!
//! | step | call | remarks |
//! | --- | --- | --- |
//! | the writer writes | `write(lines)`, `write_text(text)`, `write_late(text)` | to the live file; late: to the newest rotated file |
//! | the log is rotated | `rotate_by_rename()`, `rotate_by_copy(during)`, `compress(format, during)` | `during` runs while a file is copied or compressed; then the original is truncated or removed |
//! | bytes disappear | `truncate()`, `cut()`, `remove(name)`, `delete(name)` | `cut` and `delete` tell the model that unsent lines are lost |
//! | inotify reports | `hear(moved)` | `moved`: a name changed, not only a size |
//! | time passes | `advance(duration)` | |
//! | the sender works | `turn()` | it does what is due; its requests wait in `sim.requests` |
//! | the relay answers | `answer(which, outcome)` | one waiting request ends: done, lost, or refused |
//! | the sender restarts | `restart(arrive, keep_checkpoint)`, `stop()`, `start_again()` | `arrive`: how many waiting requests still reach the relay |
//! | everything works | `settle()` | for two minutes |
//! | compare | `check()`, `settle_and_check()`, `check_order()`, `gaps()` | each line is at the relay once; the order; the reported losses |
//!
//! Example: an answer is lost, the log is rotated, and the sender is killed.
//!
//! ```text
//! let mut sim = sim();
//! sim.write(20);                             // 20 lines in /log/access.log
//! sim.turn();                                // the sender finds the file and asks the relay which stream it is
//! sim.answer(0, RequestOutcome::Done);       // the relay knows none
//! sim.advance(Duration::from_secs(1));       // longer than max_delay
//! sim.turn();                                // the sender sends the lines
//! sim.answer(0, RequestOutcome::AnswerLost); // the relay stores them, but the sender does not know it
//! sim.rotate_by_rename();                    // the file is now /log/access.log.1
//! sim.restart(0, true);                      // the sender is killed, and starts with its last checkpoint
//! sim.settle_and_check();                    // each line is at the relay once
//! ```
//!
//! The property tests generate such sequences from [`ScenarioStep`].

mod backlog;
mod edits;
mod hazards;
mod known_lines;
mod log_settings;
mod log_writer;
mod losses;
mod sim_files;
pub(crate) mod sim_relay;
pub(crate) mod simulation;
mod two_senders;

use std::time::Duration;

use logferry_config::StartPosition;
use proptest::prelude::*;

use self::log_writer::{LIVE, LOGS, RotationNaming};
use self::sim_relay::RequestOutcome;
use self::simulation::{Simulation, config};
use crate::files::compressed::CompressionFormat;

fn sim() -> Simulation {
    Simulation::new(config(4096, 100, 2048))
}

/// With small or large chunks and lines.
fn sized(small: bool, naming: RotationNaming) -> Simulation {
    let config = if small {
        config(256, 4, 64)
    } else {
        config(4096, 100, 2048)
    };
    let mut sim = Simulation::new(config);
    sim.naming = naming;
    sim
}

fn written(lines: u32) -> Simulation {
    let mut sim = sim();
    sim.write(lines);
    sim
}

fn settled(lines: u32) -> Simulation {
    let mut sim = written(lines);
    sim.settle();
    sim
}

fn size(sim: &Simulation, name: &str) -> u64 {
    sim.disk.get(name).expect("a file").borrow().bytes.len() as u64
}

fn rotated(number: u32) -> String {
    format!("{LIVE}.{number}")
}

fn naming() -> impl Strategy<Value = RotationNaming> {
    prop_oneof![Just(RotationNaming::Numbered), Just(RotationNaming::Dated)]
}

/// How many files the sender may have open: as many as it wants, or too few.
fn handle_limit() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(usize::MAX), 1 => Just(6)]
}

/// Its log is configured with `start: end`.
fn starting_at_end() -> Simulation {
    let mut settings = config(4096, 100, 2048);
    settings.logs[0].start = StartPosition::End;
    Simulation::new(settings)
}

#[derive(Debug, Clone)]
enum ScenarioStep {
    Log(usize),
    Touch,
    Header,
    Write(u32),
    Half,
    EndHalf,
    Late,
    Rename,
    CopyTruncate,
    /// With `true`, the sender works while the file is compressed.
    Compress(CompressionFormat, bool),
    /// Truncates the live file, sent or not.
    Cut,
    /// Deletes the oldest rotated file; with `true`, after everything was sent.
    Delete(bool),
    /// Milliseconds.
    Advance(u64),
    Hear(bool),
    Turn,
    Answer(usize, RequestOutcome),
    /// How many waiting requests still reach the relay, and whether the checkpoint is kept.
    Restart(usize, bool),
    /// The logs get other names in the configuration.
    Names([&'static str; 2]),
}

const LOG_NAMES: [[&str; 2]; 4] = [
    ["access", "site"],
    ["site", "access"],
    ["access", "sites"],
    ["other", "access"],
];

const COMPRESSION_FORMATS: [CompressionFormat; 4] = [
    CompressionFormat::Gzip,
    CompressionFormat::Zstd,
    CompressionFormat::Xz,
    CompressionFormat::Bzip2,
];

fn step() -> impl Strategy<Value = ScenarioStep> {
    let outcome = prop_oneof![6 => Just(RequestOutcome::Done), 1 => Just(RequestOutcome::AnswerLost), 1 => Just(RequestOutcome::Lost), 1 => Just(RequestOutcome::Busy)];
    prop_oneof![
        2 => (0..LOGS.len()).prop_map(ScenarioStep::Log),
        1 => Just(ScenarioStep::Touch),
        2 => Just(ScenarioStep::Header),
        6 => (1_u32..12).prop_map(ScenarioStep::Write),
        1 => Just(ScenarioStep::Half),
        1 => Just(ScenarioStep::EndHalf),
        1 => Just(ScenarioStep::Late),
        3 => Just(ScenarioStep::Rename),
        2 => Just(ScenarioStep::CopyTruncate),
        2 => (prop::sample::select(&COMPRESSION_FORMATS), any::<bool>())
            .prop_map(|(format, is_watched)| ScenarioStep::Compress(format, is_watched)),
        1 => Just(ScenarioStep::Cut),
        2 => any::<bool>().prop_map(ScenarioStep::Delete),
        6 => (0_u64..3000).prop_map(ScenarioStep::Advance),
        4 => any::<bool>().prop_map(ScenarioStep::Hear),
        12 => Just(ScenarioStep::Turn),
        12 => (prop_oneof![4 => Just(0_usize), 1 => 1_usize..3], outcome)
            .prop_map(|(which, outcome)| ScenarioStep::Answer(which, outcome)),
        2 => (0_usize..5, any::<bool>()).prop_map(|(arrive, keep)| ScenarioStep::Restart(arrive, keep)),
        1 => prop::sample::select(&LOG_NAMES).prop_map(ScenarioStep::Names),
    ]
}

fn look(sim: &mut Simulation) {
    sim.hear(true);
    sim.turn();
    sim.answer(0, RequestOutcome::Done);
    sim.turn();
}

fn play(sim: &mut Simulation, step: &ScenarioStep) {
    match *step {
        ScenarioStep::Log(log) => sim.log = LOGS[log],
        ScenarioStep::Touch => sim.write_text(""),
        ScenarioStep::Header => sim.write_header(),
        ScenarioStep::Write(lines) => sim.write(lines),
        ScenarioStep::Half => sim.write_unique("half", " "),
        ScenarioStep::EndHalf => sim.write_unique("end", "\n"),
        ScenarioStep::Late => {
            let late = sim.unique("late", "\n");
            sim.write_late(&late);
        }
        ScenarioStep::Rename => sim.rotate_by_rename(),
        ScenarioStep::CopyTruncate => sim.rotate_by_copy(look),
        ScenarioStep::Compress(format, true) => sim.compress(format, look),
        ScenarioStep::Compress(format, false) => sim.compress(format, |_| {}),
        ScenarioStep::Cut => sim.cut(),
        ScenarioStep::Delete(is_sent) => {
            if let Some(oldest) = sim.oldest() {
                if is_sent {
                    sim.settle();
                    sim.remove(&oldest);
                } else {
                    sim.delete(&oldest);
                }
            }
        }
        ScenarioStep::Advance(ms) => sim.advance(Duration::from_millis(ms)),
        ScenarioStep::Hear(moved) => sim.hear(moved),
        ScenarioStep::Turn => sim.turn(),
        ScenarioStep::Answer(which, outcome) => sim.answer(which, outcome),
        ScenarioStep::Restart(arrive, keep_checkpoint) => sim.restart(arrive, keep_checkpoint),
        ScenarioStep::Names(names) => sim.rename_logs(names),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_line_arrives_once_whatever_happens(
        steps in prop::collection::vec(step(), 1..60),
        small in any::<bool>(),
        naming in naming(),
        handle_limit in handle_limit(),
    ) {
        let mut sim = sized(small, naming);
        sim.disk.set_handle_limit(handle_limit);
        for step in &steps {
            play(&mut sim, step);
        }
        sim.settle_and_check();
    }

    #[test]
    fn lines_stay_in_order_across_rotations(
        steps in prop::collection::vec(step(), 1..60),
        naming in naming(),
        handle_limit in handle_limit(),
    ) {
        let mut sim = Simulation::new(config(256, 4, 64));
        sim.disk.set_handle_limit(handle_limit);
        sim.naming = naming;
        for step in &steps {
            // Late lines are not in order, and part of a line waits for its end.
            if !matches!(step, ScenarioStep::Late | ScenarioStep::Half | ScenarioStep::EndHalf | ScenarioStep::Header) {
                play(&mut sim, step);
            }
        }
        sim.settle_and_check();
        sim.check_order();
    }
}

#[test]
fn a_rotation_while_down_loses_nothing() {
    let mut sim = settled(20);
    for _ in 0..3 {
        sim.write(20);
        sim.rotate_by_rename();
        sim.advance(Duration::from_secs(1));
    }
    sim.write(20);
    sim.restart(0, true);
    sim.settle_and_check();
    sim.check_order();
}

#[test]
fn the_state_lost_during_rotations_doubles_nothing() {
    let mut sim = sim();
    for _ in 0..3 {
        sim.write(20);
        sim.settle();
        sim.write(5);
        sim.rotate_by_rename();
        sim.restart(1, false);
    }
    sim.settle_and_check();
}

#[test]
fn a_copy_of_the_live_file_is_not_shipped_again() {
    let mut sim = settled(20);
    sim.write(20);
    sim.rotate_by_copy(Simulation::settle);
    sim.write(20);
    sim.settle_and_check();
}

#[test]
fn a_copy_made_by_hand_is_not_shipped_when_the_log_is_rotated_away_from_it() {
    let mut sim = settled(20);
    let bytes = sim.disk.get(LIVE).expect("the log").borrow().bytes.clone();
    let copy = sim.disk.create(&format!("{LIVE}.bak"));
    sim.disk.append(&copy, &bytes);
    sim.settle();
    sim.write(20);
    sim.rotate_by_rename();
    sim.settle();
    sim.write(20);
    sim.settle_and_check();
}

#[test]
fn a_log_deleted_while_open_is_read_to_its_end() {
    let mut sim = written(500);
    sim.turn();
    sim.remove(LIVE);
    sim.settle();
    sim.check_order();
    assert_eq!(sim.arrived().lines().count(), 400, "a fifth is excluded");
}

#[test]
fn part_of_a_line_waits_for_its_end_and_is_never_joined_to_the_next_file() {
    let mut sim = written(3);
    sim.write_text("half ");
    sim.settle();
    sim.write_text("whole\nlast half");
    sim.settle();
    sim.rotate_by_rename();
    sim.write(3);
    sim.settle_and_check();
    let arrived = sim.arrived();
    assert!(
        arrived.contains("\nhalf whole\n") && arrived.contains("last half\n"),
        "{arrived}"
    );
}

#[test]
fn a_quiet_rotated_file_is_finished_and_a_late_line_still_shipped() {
    let mut sim = written(4);
    sim.rotate_by_rename();
    sim.write(4);
    sim.settle();
    assert_eq!(sim.finished(), 1);
    sim.write_late("late\n");
    sim.settle_and_check();
    assert_eq!(sim.finished(), 1);
}

#[test]
fn bytes_after_a_closed_last_line_are_a_line_of_their_own() {
    for only_half in [true, false] {
        let mut sim = sim();
        if !only_half {
            sim.write(1);
        }
        sim.write_text("half");
        sim.rotate_by_rename();
        sim.write(1);
        sim.settle();
        let file = sim.disk.get(&rotated(1)).expect("the rotated file");
        sim.disk.append(&file, b"more\n");
        sim.settle();
        let arrived = sim.arrived();
        assert!(arrived.ends_with("GET /\nhalf\nmore\n"), "{arrived}");
    }
}

#[test]
fn start_end_applies_to_an_old_log_but_not_to_a_later_one() {
    let mut sim = starting_at_end();
    sim.write_text("old\nold half ");
    sim.settle();
    sim.write_text("end\n");
    sim.settle();
    sim.rotate_by_rename();
    sim.write_text("new\n");
    sim.settle();
    sim.restart(0, true);
    sim.settle();
    assert_eq!(sim.arrived(), "old half end\nnew\n");
}

#[test]
fn a_crash_before_the_first_acknowledgement_keeps_start_end() {
    let mut sim = starting_at_end();
    sim.write_text("old\n");
    let is_chunk = |request: &_| matches!(request, super::RelayRequest::Chunk { .. });
    while !sim.requests.iter().any(is_chunk) {
        sim.answer(0, RequestOutcome::Done);
        sim.advance(Duration::from_millis(100));
        sim.turn();
    }
    // The chunk that leaves out the old lines is in flight.
    sim.restart(0, true);
    sim.settle();
    sim.write_text("new\n");
    sim.settle();
    assert_eq!(sim.arrived(), "new\n");
}

#[test]
fn a_line_over_the_limit_is_sent_in_pieces() {
    let mut sim = sim();
    let long = "x".repeat(100_000);
    sim.write_text(&format!("before\n{long}"));
    sim.settle();
    sim.write_text("end\nafter\n");
    sim.settle_and_check();
    assert_eq!(sim.metrics.totals().long_lines, 1);
    assert_eq!(sim.relay.streams[0].lines.sent, 3);
}

#[test]
fn a_file_that_only_looks_compressed_is_not_shipped_as_text() {
    let mut sim = sim();
    let file = sim.disk.create(&rotated(1));
    sim.disk.append(&file, b"\x1f\x8b\x08\0 not text\n");
    sim.write(3);
    sim.settle_and_check();
}

#[test]
fn lines_written_after_gzip_read_the_file_are_shipped_and_the_archive_is_not() {
    let mut sim = settled(20);
    sim.rotate_by_rename();
    sim.write(5);
    let mut looks = 0;
    sim.compress(CompressionFormat::Gzip, |sim| {
        looks += 1;
        if looks == 3 {
            sim.write_late("late\n");
        }
        look(sim);
    });
    sim.settle_and_check();
    sim.restart(0, true);
    sim.settle_and_check();
}

#[test]
fn compressed_again_and_again_nothing_is_doubled() {
    let mut sim = sim();
    for keep_checkpoint in [true, false, true, false] {
        sim.write(20);
        sim.turn();
        sim.rotate_by_rename();
        sim.compress(CompressionFormat::Gzip, |_| {});
        sim.restart(1, keep_checkpoint);
        sim.write(3);
        sim.settle_and_check();
    }
    sim.check_order();
}

#[test]
fn counters_add_up() {
    let sim = settled(100);
    let counted = sim.metrics.totals();
    let lines = (counted.sent_lines, counted.excluded_lines);
    assert_eq!((lines, counted.lag_bytes), ((80, 20), 0));
    assert_eq!(counted.read_bytes, size(&sim, LIVE));
}
