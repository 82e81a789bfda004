//! Histories of a log: written, rotated, cut and deleted while the sender runs, fails and starts again, against a
//! model that knows every line.

mod hazards;
mod log_writer;
mod losses;
mod sim_files;
pub(crate) mod sim_relay;
pub(crate) mod simulation;

use std::time::Duration;

use logferry_config::Start;
use proptest::prelude::*;

use self::simulation::{RequestFate, config};
use crate::tail::scenarios::log_writer::{Compressor, LIVE, LOGS, RotationNaming};
use crate::tail::scenarios::simulation::{Simulation, with_sites};

fn sim() -> Simulation {
    Simulation::new(config(4096, 100, 2048))
}

fn rotated(number: u32) -> String {
    format!("{LIVE}.{number}")
}

fn names(dated: bool) -> RotationNaming {
    if dated {
        RotationNaming::Dated
    } else {
        RotationNaming::Numbered
    }
}

#[derive(Debug, Clone)]
enum ScenarioStep {
    /// From now on, this log is written to.
    Log(usize),
    /// An empty log.
    Touch,
    Header,
    Write(u32),
    Half,
    EndHalf,
    Late,
    Rename,
    CopyTruncate,
    /// With `true`, the sender sees the archive grow.
    Compress(Compressor, bool),
    /// The live file is cut, read or not.
    Cut,
    /// The oldest rotated file is deleted, read or not.
    Delete,
    /// It is deleted after all was read.
    DropOldest,
    Advance(u64),
    Hear(bool),
    Turn,
    Answer(usize, RequestFate),
    Restart {
        arrive: usize,
        keep_checkpoint: bool,
    },
}

fn step() -> impl Strategy<Value = ScenarioStep> {
    let fate = prop_oneof![6 => Just(RequestFate::Done), 1 => Just(RequestFate::AnswerLost), 1 => Just(RequestFate::Lost), 1 => Just(RequestFate::Busy)];
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
        2 => (prop_oneof![Just(Compressor::Gzip), Just(Compressor::Zstd)], any::<bool>())
            .prop_map(|(packer, is_watched)| ScenarioStep::Compress(packer, is_watched)),
        1 => Just(ScenarioStep::Cut),
        1 => Just(ScenarioStep::Delete),
        1 => Just(ScenarioStep::DropOldest),
        6 => (0_u64..3000).prop_map(ScenarioStep::Advance),
        4 => any::<bool>().prop_map(ScenarioStep::Hear),
        12 => Just(ScenarioStep::Turn),
        12 => (prop_oneof![4 => Just(0_usize), 1 => 1_usize..3], fate)
            .prop_map(|(which, fate)| ScenarioStep::Answer(which, fate)),
        2 => (0_usize..5, any::<bool>())
            .prop_map(|(arrive, keep_checkpoint)| ScenarioStep::Restart { arrive, keep_checkpoint }),
    ]
}

fn look(sim: &mut Simulation) {
    sim.hear(true);
    sim.turn();
    sim.answer(0, RequestFate::Done);
    sim.turn();
}

fn play(sim: &mut Simulation, step: &ScenarioStep) {
    match *step {
        ScenarioStep::Log(log) => sim.log = LOGS[log],
        ScenarioStep::Touch => sim.write_text(""),
        ScenarioStep::Header => sim.write_header(),
        ScenarioStep::Write(lines) => sim.write(lines),
        ScenarioStep::Half => {
            let half = sim.unique("half", " ");
            sim.write_text(&half);
        }
        ScenarioStep::EndHalf => {
            let end = sim.unique("end", "\n");
            sim.write_text(&end);
        }
        ScenarioStep::Late => {
            let late = sim.unique("late", "\n");
            sim.write_late(&late);
        }
        ScenarioStep::Rename => sim.rotate_by_rename(),
        ScenarioStep::CopyTruncate => sim.rotate_by_copy(look),
        ScenarioStep::Compress(packer, true) => sim.pack(packer, look),
        ScenarioStep::Compress(packer, false) => sim.pack(packer, |_| {}),
        ScenarioStep::Cut => sim.cut(),
        ScenarioStep::Delete => {
            if let Some(oldest) = sim.oldest() {
                sim.delete(&oldest);
            }
        }
        ScenarioStep::DropOldest => {
            if let Some(oldest) = sim.oldest() {
                sim.settle();
                sim.remove(&oldest);
            }
        }
        ScenarioStep::Advance(ms) => sim.advance(Duration::from_millis(ms)),
        ScenarioStep::Hear(moved) => sim.hear(moved),
        ScenarioStep::Turn => sim.turn(),
        ScenarioStep::Answer(which, fate) => sim.answer(which, fate),
        ScenarioStep::Restart {
            arrive,
            keep_checkpoint,
        } => sim.restart(arrive, keep_checkpoint),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_line_arrives_once_whatever_happens(
        steps in prop::collection::vec(step(), 1..60),
        small in any::<bool>(),
        dated in any::<bool>(),
    ) {
        let config = if small { config(256, 4, 64) } else { config(4096, 100, 2048) };
        let mut sim = Simulation::new(with_sites(config));
        sim.naming = names(dated);
        for step in &steps {
            play(&mut sim, step);
        }
        sim.settle();
        sim.check();
    }

    #[test]
    fn lines_stay_in_order_across_rotations(
        steps in prop::collection::vec(step(), 1..60),
        dated in any::<bool>(),
    ) {
        let mut sim = Simulation::new(with_sites(config(256, 4, 64)));
        sim.naming = names(dated);
        for step in &steps {
            // What comes late is late, and halves wait for their end.
            if !matches!(step, ScenarioStep::Late | ScenarioStep::Half | ScenarioStep::EndHalf | ScenarioStep::Header) {
                play(&mut sim, step);
            }
        }
        sim.settle();
        sim.check();
        sim.check_order();
    }
}

#[test]
fn a_rotation_while_down_loses_nothing() {
    let mut sim = sim();
    sim.write(20);
    sim.settle();
    for _ in 0..3 {
        sim.write(20);
        sim.rotate_by_rename();
        sim.advance(Duration::from_secs(1));
    }
    sim.write(20);
    sim.restart(0, true);
    sim.settle();
    sim.check();
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
    sim.settle();
    sim.check();
}

#[test]
fn a_copy_of_the_live_file_is_shipped_neither_before_nor_after_the_truncation() {
    let mut sim = sim();
    sim.write(20);
    sim.settle();
    sim.write(20);
    sim.rotate_by_copy(Simulation::settle);
    sim.write(20);
    sim.settle();
    sim.check();
}

#[test]
fn a_copy_made_by_hand_is_not_shipped_when_the_log_is_rotated_away_from_it() {
    let mut sim = sim();
    sim.write(20);
    sim.settle();
    let bytes = sim.disk.get(LIVE).expect("the log").borrow().bytes.clone();
    let copy = sim.disk.create(&format!("{LIVE}.bak"));
    sim.disk.append(&copy, &bytes);
    sim.settle();
    sim.write(20);
    sim.rotate_by_rename();
    sim.settle();
    sim.write(20);
    sim.settle();
    sim.check();
}

#[test]
fn a_log_deleted_while_open_is_read_to_its_end() {
    let mut sim = sim();
    sim.write(500);
    sim.turn();
    sim.remove(LIVE);
    sim.settle();
    sim.check_order();
    let arrived = String::from_utf8_lossy(&sim.relay.arrived).lines().count();
    assert_eq!(arrived, 400, "a fifth is excluded");
}

#[test]
fn a_log_rewritten_past_the_old_offset_is_a_new_stream() {
    for down in [false, true] {
        let mut sim = sim();
        sim.write(5);
        sim.settle();
        sim.truncate();
        sim.write(50);
        if down {
            sim.restart(0, true);
        }
        sim.settle();
        sim.check();
    }
}

#[test]
fn half_a_line_waits_for_its_end_and_is_never_glued_to_the_next_file() {
    let mut sim = sim();
    sim.write(3);
    sim.write_text("half ");
    sim.settle();
    sim.write_text("whole\nlast half");
    sim.settle();
    sim.rotate_by_rename();
    sim.write(3);
    sim.settle();
    sim.check();
    let arrived = String::from_utf8_lossy(&sim.relay.arrived).into_owned();
    assert!(
        arrived.contains("\nhalf whole\n") && arrived.contains("last half\n"),
        "{arrived}"
    );
}

#[test]
fn a_quiet_rotated_file_is_finished_and_a_late_line_still_shipped() {
    let mut sim = sim();
    sim.write(4);
    sim.rotate_by_rename();
    sim.write(4);
    sim.settle();
    let finished = |sim: &Simulation| sim.relay.streams.iter().filter(|stored| stored.finished).count();
    assert_eq!(finished(&sim), 1);
    sim.write_late("late\n");
    sim.settle();
    sim.check();
    assert_eq!(finished(&sim), 1);
}

#[test]
fn what_comes_after_an_unterminated_last_line_was_closed_is_a_line_of_its_own() {
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
        let arrived = String::from_utf8_lossy(&sim.relay.arrived).into_owned();
        assert!(arrived.ends_with("GET /\nhalf\nmore\n"), "{arrived}");
    }
}

#[test]
fn the_end_is_where_an_old_log_starts_if_so_configured_but_not_one_born_later() {
    let mut settings = config(4096, 100, 2048);
    settings.logs[0].start = Start::End;
    let mut sim = Simulation::new(settings);
    sim.write_text("old\nold half ");
    sim.settle();
    sim.write_text("end\n");
    sim.settle();
    sim.rotate_by_rename();
    sim.write_text("new\n");
    sim.settle();
    sim.restart(0, true);
    sim.settle();
    assert_eq!(String::from_utf8_lossy(&sim.relay.arrived), "old half end\nnew\n");
}

#[test]
fn a_crash_before_the_first_acknowledgement_does_not_bring_back_what_the_first_start_left_out() {
    let mut settings = config(4096, 100, 2048);
    settings.logs[0].start = Start::End;
    let mut sim = Simulation::new(settings);
    sim.write_text("old\n");
    while !sim
        .jobs
        .iter()
        .any(|job| matches!(job, super::RelayRequest::Chunk { .. }))
    {
        sim.answer(0, RequestFate::Done);
        sim.advance(Duration::from_millis(100));
        sim.turn();
    }
    // The chunk that leaves out the old lines is under way.
    sim.restart(0, true);
    sim.settle();
    sim.write_text("new\n");
    sim.settle();
    assert_eq!(String::from_utf8_lossy(&sim.relay.arrived), "new\n");
}

#[test]
fn a_line_over_the_limit_goes_in_pieces_and_leaves_its_neighbours_alone() {
    let mut sim = sim();
    let long = "x".repeat(100_000);
    sim.write_text(&format!("before\n{long}"));
    sim.settle();
    sim.write_text("end\nafter\n");
    sim.settle();
    sim.check();
    assert_eq!(sim.counters.snapshot().long_lines, 1);
    assert_eq!(sim.relay.streams[0].lines.sent, 3);
}

#[test]
fn what_only_looks_compressed_is_not_shipped_as_text() {
    let mut sim = sim();
    let file = sim.disk.create(&rotated(1));
    sim.disk.append(&file, b"\x1f\x8b\x08\0 not text\n");
    sim.write(3);
    sim.settle();
    sim.check();
}

#[test]
fn what_came_after_the_last_byte_that_gzip_saw_is_shipped_and_the_archive_is_not() {
    let mut sim = sim();
    sim.write(20);
    sim.settle();
    sim.rotate_by_rename();
    sim.write(5);
    let mut looks = 0;
    sim.compress(|sim| {
        looks += 1;
        if looks == 3 {
            sim.write_late("late\n");
        }
        look(sim);
    });
    sim.settle();
    sim.check();
    sim.restart(0, true);
    sim.settle();
    sim.check();
}

#[test]
fn compressed_again_and_again_nothing_is_doubled() {
    let mut sim = sim();
    for keep_checkpoint in [true, false, true, false] {
        sim.write(20);
        sim.turn();
        sim.rotate_by_rename();
        sim.compress(|_| {});
        sim.restart(1, keep_checkpoint);
        sim.write(3);
        sim.settle();
        sim.check();
    }
    sim.check_order();
}

#[test]
fn a_relay_that_forgot_everything_is_told_again() {
    let mut sim = sim();
    sim.write(20);
    sim.settle();
    sim.relay = sim_relay::SimRelay {
        lost_ledger: true,
        ..Default::default()
    };
    sim.write(5);
    sim.settle();
    sim.check();
}

#[test]
fn counters_add_up() {
    let mut sim = sim();
    sim.write(100);
    sim.settle();
    let counted = sim.counters.snapshot();
    assert_eq!(
        (counted.sent_lines, counted.excluded_lines, counted.lag_bytes),
        (80, 20, 0)
    );
    let size = sim.disk.get(LIVE).expect("the log").borrow().bytes.len();
    assert_eq!(counted.read_bytes, size as u64);
}
