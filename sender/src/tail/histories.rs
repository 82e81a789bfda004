//! Histories of a log: written, rotated, cut and deleted while the sender runs, fails and starts again, against a
//! model that knows every line.

mod disk;
mod losses;
pub(crate) mod relay;
mod situations;
pub(crate) mod world;
mod writer;

use std::time::Duration;

use logferry_config::StartPosition;
use proptest::prelude::*;

use self::world::{Fate, World, config, with_sites};
use self::writer::{LIVE, LOGS, Names, Packer};

fn world() -> World {
    World::new(config(4096, 100, 2048))
}

fn rotated(number: u32) -> String {
    format!("{LIVE}.{number}")
}

fn names(dated: bool) -> Names {
    if dated { Names::Dated } else { Names::Numbered }
}

#[derive(Debug, Clone)]
enum Step {
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
    Compress(Packer, bool),
    /// The live file is cut, read or not.
    Cut,
    /// The oldest rotated file is deleted, read or not.
    Delete,
    /// It is deleted after all was read.
    DropOldest,
    Advance(u64),
    Hear(bool),
    Turn,
    Answer(usize, Fate),
    Restart {
        arrive: usize,
        keep_checkpoint: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![6 => Just(Fate::Done), 1 => Just(Fate::AnswerLost), 1 => Just(Fate::Lost), 1 => Just(Fate::Busy)];
    prop_oneof![
        2 => (0..LOGS.len()).prop_map(Step::Log),
        1 => Just(Step::Touch),
        2 => Just(Step::Header),
        6 => (1_u32..12).prop_map(Step::Write),
        1 => Just(Step::Half),
        1 => Just(Step::EndHalf),
        1 => Just(Step::Late),
        3 => Just(Step::Rename),
        2 => Just(Step::CopyTruncate),
        2 => (prop_oneof![Just(Packer::Gzip), Just(Packer::Zstd)], any::<bool>())
            .prop_map(|(packer, is_watched)| Step::Compress(packer, is_watched)),
        1 => Just(Step::Cut),
        1 => Just(Step::Delete),
        1 => Just(Step::DropOldest),
        6 => (0_u64..3000).prop_map(Step::Advance),
        4 => any::<bool>().prop_map(Step::Hear),
        12 => Just(Step::Turn),
        12 => (prop_oneof![4 => Just(0_usize), 1 => 1_usize..3], fate)
            .prop_map(|(which, fate)| Step::Answer(which, fate)),
        2 => (0_usize..5, any::<bool>())
            .prop_map(|(arrive, keep_checkpoint)| Step::Restart { arrive, keep_checkpoint }),
    ]
}

fn look(world: &mut World) {
    world.hear(true);
    world.turn();
    world.answer(0, Fate::Done);
    world.turn();
}

fn play(world: &mut World, step: &Step) {
    match *step {
        Step::Log(log) => world.log = LOGS[log],
        Step::Touch => world.write_text(""),
        Step::Header => world.write_header(),
        Step::Write(lines) => world.write(lines),
        Step::Half => {
            let half = world.unique("half", " ");
            world.write_text(&half);
        }
        Step::EndHalf => {
            let end = world.unique("end", "\n");
            world.write_text(&end);
        }
        Step::Late => {
            let late = world.unique("late", "\n");
            world.write_late(&late);
        }
        Step::Rename => world.rotate_by_rename(),
        Step::CopyTruncate => world.rotate_by_copy(look),
        Step::Compress(packer, true) => world.pack(packer, look),
        Step::Compress(packer, false) => world.pack(packer, |_| {}),
        Step::Cut => world.cut(),
        Step::Delete => {
            if let Some(oldest) = world.oldest() {
                world.delete(&oldest);
            }
        }
        Step::DropOldest => {
            if let Some(oldest) = world.oldest() {
                world.settle();
                world.remove(&oldest);
            }
        }
        Step::Advance(ms) => world.advance(Duration::from_millis(ms)),
        Step::Hear(moved) => world.hear(moved),
        Step::Turn => world.turn(),
        Step::Answer(which, fate) => world.answer(which, fate),
        Step::Restart {
            arrive,
            keep_checkpoint,
        } => world.restart(arrive, keep_checkpoint),
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
        let mut world = World::new(with_sites(config));
        world.names_by = names(dated);
        for step in &steps {
            play(&mut world, step);
        }
        world.settle();
        world.check();
    }

    #[test]
    fn lines_stay_in_order_across_rotations(
        steps in prop::collection::vec(step(), 1..60),
        dated in any::<bool>(),
    ) {
        let mut world = World::new(with_sites(config(256, 4, 64)));
        world.names_by = names(dated);
        for step in &steps {
            // What comes late is late, and halves wait for their end.
            if !matches!(step, Step::Late | Step::Half | Step::EndHalf | Step::Header) {
                play(&mut world, step);
            }
        }
        world.settle();
        world.check();
        world.check_order();
    }
}

#[test]
fn a_rotation_while_down_loses_nothing() {
    let mut world = world();
    world.write(20);
    world.settle();
    for _ in 0..3 {
        world.write(20);
        world.rotate_by_rename();
        world.advance(Duration::from_secs(1));
    }
    world.write(20);
    world.restart(0, true);
    world.settle();
    world.check();
    world.check_order();
}

#[test]
fn the_state_lost_during_rotations_doubles_nothing() {
    let mut world = world();
    for _ in 0..3 {
        world.write(20);
        world.settle();
        world.write(5);
        world.rotate_by_rename();
        world.restart(1, false);
    }
    world.settle();
    world.check();
}

#[test]
fn a_copy_of_the_live_file_is_shipped_neither_before_nor_after_the_truncation() {
    let mut world = world();
    world.write(20);
    world.settle();
    world.write(20);
    world.rotate_by_copy(World::settle);
    world.write(20);
    world.settle();
    world.check();
}

#[test]
fn a_copy_made_by_hand_is_not_shipped_when_the_log_is_rotated_away_from_it() {
    let mut world = world();
    world.write(20);
    world.settle();
    let bytes = world.disk.get(LIVE).expect("the log").borrow().bytes.clone();
    let copy = world.disk.create(&format!("{LIVE}.bak"));
    world.disk.append(&copy, &bytes);
    world.settle();
    world.write(20);
    world.rotate_by_rename();
    world.settle();
    world.write(20);
    world.settle();
    world.check();
}

#[test]
fn a_log_deleted_while_open_is_read_to_its_end() {
    let mut world = world();
    world.write(500);
    world.turn();
    world.remove(LIVE);
    world.settle();
    world.check_order();
    let arrived = String::from_utf8_lossy(&world.relay.arrived).lines().count();
    assert_eq!(arrived, 400, "a fifth is excluded");
}

#[test]
fn a_log_rewritten_past_the_old_offset_is_a_new_stream() {
    for down in [false, true] {
        let mut world = world();
        world.write(5);
        world.settle();
        world.truncate();
        world.write(50);
        if down {
            world.restart(0, true);
        }
        world.settle();
        world.check();
    }
}

#[test]
fn half_a_line_waits_for_its_end_and_is_never_glued_to_the_next_file() {
    let mut world = world();
    world.write(3);
    world.write_text("half ");
    world.settle();
    world.write_text("whole\nlast half");
    world.settle();
    world.rotate_by_rename();
    world.write(3);
    world.settle();
    world.check();
    let arrived = String::from_utf8_lossy(&world.relay.arrived).into_owned();
    assert!(
        arrived.contains("\nhalf whole\n") && arrived.contains("last half\n"),
        "{arrived}"
    );
}

#[test]
fn a_quiet_rotated_file_is_finished_and_a_late_line_still_shipped() {
    let mut world = world();
    world.write(4);
    world.rotate_by_rename();
    world.write(4);
    world.settle();
    let finished = |world: &World| {
        world
            .relay
            .streams
            .iter()
            .filter(|stored| stored.finished)
            .count()
    };
    assert_eq!(finished(&world), 1);
    world.write_late("late\n");
    world.settle();
    world.check();
    assert_eq!(finished(&world), 1);
}

#[test]
fn what_comes_after_an_unterminated_last_line_was_closed_is_a_line_of_its_own() {
    for only_half in [true, false] {
        let mut world = world();
        if !only_half {
            world.write(1);
        }
        world.write_text("half");
        world.rotate_by_rename();
        world.write(1);
        world.settle();
        let file = world.disk.get(&rotated(1)).expect("the rotated file");
        world.disk.append(&file, b"more\n");
        world.settle();
        let arrived = String::from_utf8_lossy(&world.relay.arrived).into_owned();
        assert!(arrived.ends_with("GET /\nhalf\nmore\n"), "{arrived}");
    }
}

#[test]
fn the_end_is_where_an_old_log_starts_if_so_configured_but_not_one_born_later() {
    let mut settings = config(4096, 100, 2048);
    settings.logs[0].start = StartPosition::End;
    let mut world = World::new(settings);
    world.write_text("old\nold half ");
    world.settle();
    world.write_text("end\n");
    world.settle();
    world.rotate_by_rename();
    world.write_text("new\n");
    world.settle();
    world.restart(0, true);
    world.settle();
    assert_eq!(
        String::from_utf8_lossy(&world.relay.arrived),
        "old half end\nnew\n"
    );
}

#[test]
fn a_crash_before_the_first_acknowledgement_does_not_bring_back_what_the_first_start_left_out() {
    let mut settings = config(4096, 100, 2048);
    settings.logs[0].start = StartPosition::End;
    let mut world = World::new(settings);
    world.write_text("old\n");
    while !world
        .jobs
        .iter()
        .any(|job| matches!(job, super::Job::Chunk { .. }))
    {
        world.answer(0, Fate::Done);
        world.advance(Duration::from_millis(100));
        world.turn();
    }
    // The chunk that leaves out the old lines is under way.
    world.restart(0, true);
    world.settle();
    world.write_text("new\n");
    world.settle();
    assert_eq!(String::from_utf8_lossy(&world.relay.arrived), "new\n");
}

#[test]
fn a_line_over_the_limit_goes_in_pieces_and_leaves_its_neighbours_alone() {
    let mut world = world();
    let long = "x".repeat(100_000);
    world.write_text(&format!("before\n{long}"));
    world.settle();
    world.write_text("end\nafter\n");
    world.settle();
    world.check();
    assert_eq!(world.counters.snapshot().long_lines, 1);
    assert_eq!(world.relay.streams[0].lines.sent, 3);
}

#[test]
fn what_only_looks_compressed_is_not_shipped_as_text() {
    let mut world = world();
    let file = world.disk.create(&rotated(1));
    world.disk.append(&file, b"\x1f\x8b\x08\0 not text\n");
    world.write(3);
    world.settle();
    world.check();
}

#[test]
fn what_came_after_the_last_byte_that_gzip_saw_is_shipped_and_the_archive_is_not() {
    let mut world = world();
    world.write(20);
    world.settle();
    world.rotate_by_rename();
    world.write(5);
    let mut looks = 0;
    world.compress(|world| {
        looks += 1;
        if looks == 3 {
            world.write_late("late\n");
        }
        look(world);
    });
    world.settle();
    world.check();
    world.restart(0, true);
    world.settle();
    world.check();
}

#[test]
fn compressed_again_and_again_nothing_is_doubled() {
    let mut world = world();
    for keep_checkpoint in [true, false, true, false] {
        world.write(20);
        world.turn();
        world.rotate_by_rename();
        world.compress(|_| {});
        world.restart(1, keep_checkpoint);
        world.write(3);
        world.settle();
        world.check();
    }
    world.check_order();
}

#[test]
fn a_relay_that_forgot_everything_is_told_again() {
    let mut world = world();
    world.write(20);
    world.settle();
    world.relay = relay::Relay::default();
    world.write(5);
    world.settle();
    world.check();
}

#[test]
fn counters_add_up() {
    let mut world = world();
    world.write(100);
    world.settle();
    let counted = world.counters.snapshot();
    assert_eq!(
        (counted.sent_lines, counted.excluded_lines, counted.lag_bytes),
        (80, 20, 0)
    );
    let size = world.disk.get(LIVE).expect("the log").borrow().bytes.len();
    assert_eq!(counted.read_bytes, size as u64);
}
