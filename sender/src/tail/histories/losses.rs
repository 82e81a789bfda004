//! What is said to be lost when something is, and that nothing is said when nothing is.

use std::time::Duration;

use logferry_config::StartPosition;

use super::world::{Fate, LIVE, World, config};
use super::{rotated, world};

/// Everything of the log is shipped and 20 more lines are seen, but the relay takes nothing more.
fn with_backlog() -> (World, u64, u64) {
    let mut world = world();
    world.write(20);
    world.settle();
    let acked = size(&world, LIVE);
    world.write(20);
    look_in_vain(&mut world);
    let seen = size(&world, LIVE);
    (world, acked, seen)
}

fn size(world: &World, name: &str) -> u64 {
    world.disk.get(name).expect("a file").borrow().bytes.len() as u64
}

/// Half a minute with a relay that does not answer.
fn look_in_vain(world: &mut World) {
    for _ in 0..15 {
        world.hear(true);
        world.turn();
        while !world.jobs.is_empty() {
            world.answer(0, Fate::Lost);
        }
        world.advance(Duration::from_secs(2));
    }
}

#[test]
fn a_rotated_file_deleted_while_down_is_a_gap_up_to_where_it_was_seen() {
    for crash in [false, true] {
        let (mut world, acked, seen) = with_backlog();
        world.rotate_by_rename();
        world.write(3);
        if crash {
            world.restart(0, true);
        } else {
            world.stop();
        }
        world.remove(&rotated(1));
        world.start_again();
        world.settle();
        assert_eq!(world.gaps(), [(acked, Some(seen))]);
        let counted = world.counters.snapshot();
        assert_eq!((counted.gaps, counted.gap_bytes), (1, seen - acked));
    }
}

#[test]
fn a_log_truncated_with_a_backlog_and_no_copy_is_a_gap() {
    for down in [false, true] {
        let (mut world, acked, seen) = with_backlog();
        if down {
            world.stop();
        }
        world.truncate();
        world.write(1);
        if down {
            world.start_again();
        }
        world.settle();
        assert_eq!(world.gaps(), [(acked, Some(seen))], "down: {down}");
    }
}

#[test]
fn a_log_truncated_with_a_copy_is_none() {
    for down in [false, true] {
        let (mut world, ..) = with_backlog();
        if down {
            world.stop();
        }
        world.rotate_by_copy(|_| {});
        world.write(1);
        if down {
            world.start_again();
        }
        world.settle();
        world.check();
    }
}

#[test]
fn a_log_rewritten_longer_than_it_was_is_no_gap_of_what_was_never_in_it() {
    let mut world = world();
    world.write(5);
    world.settle();
    world.truncate();
    world.write(500);
    world.settle();
    world.check();
    assert_eq!(world.gaps(), []);
}

#[test]
fn a_copy_that_lacks_the_end_is_a_gap_where_it_ends() {
    let (mut world, acked, seen) = with_backlog();
    let live = world.disk.get(LIVE).expect("the log");
    let bytes = live.borrow().bytes.clone();
    let copied = acked + (seen - acked) / 2;
    let copy = world.disk.create(&rotated(1));
    world
        .disk
        .append(&copy, &bytes[..usize::try_from(copied).expect("small")]);
    world.truncate();
    world.write(1);
    world.settle();
    assert_eq!(world.gaps(), [(copied, Some(seen))]);
}

#[test]
fn a_file_that_was_finished_or_is_read_on_while_it_is_deleted_is_no_gap() {
    let mut world = world();
    world.write(20);
    world.rotate_by_rename();
    world.write(20);
    world.settle();
    world.stop();
    world.remove(&rotated(1));
    world.start_again();
    world.rotate_by_rename();
    world.turn();
    world.remove(&rotated(1));
    world.settle();
    world.write(1);
    world.settle();
    assert_eq!(world.gaps(), []);
}

#[test]
fn a_file_that_is_gone_before_its_end_was_known_is_unfinished_and_not_lost() {
    let mut world = world();
    world.write(20);
    world.settle();
    let acked = size(&world, LIVE);
    world.stop();
    world.rotate_by_rename();
    world.remove(&rotated(1));
    world.write(1);
    world.start_again();
    world.settle();
    assert_eq!(world.gaps(), [(acked, None)]);
    assert_eq!(world.counters.snapshot().gaps, 0);
}

#[test]
fn a_file_the_relay_never_heard_of_is_missed_too() {
    for truncated in [false, true] {
        let mut world = world();
        world.write(20);
        look_in_vain(&mut world);
        let seen = size(&world, LIVE);
        world.stop();
        if truncated {
            world.truncate();
        } else {
            world.remove(LIVE);
        }
        world.write(1);
        world.start_again();
        world.settle();
        assert_eq!(world.gaps(), [(0, Some(seen))], "truncated: {truncated}");
    }
}

#[test]
fn a_file_the_relay_never_heard_of_is_not_missed_under_another_name_or_compressed() {
    for compressed in [false, true] {
        let mut world = world();
        world.write(20);
        look_in_vain(&mut world);
        world.stop();
        world.rotate_by_rename();
        if compressed {
            world.compress(|_| {});
        }
        world.write(1);
        world.start_again();
        world.settle();
        world.check();
        assert_eq!(world.gaps(), []);
    }
}

#[test]
fn a_file_cut_before_the_relay_was_ever_asked_is_missed() {
    let mut world = world();
    world.write(20);
    look_in_vain(&mut world);
    let seen = size(&world, LIVE);
    world.truncate();
    world.write(1);
    world.settle();
    assert_eq!(world.gaps(), [(0, Some(seen))]);
}

#[test]
fn what_start_end_leaves_out_is_not_missed() {
    let mut settings = config(4096, 100, 2048);
    settings.logs[0].start = StartPosition::End;
    let mut world = World::new(settings);
    world.write(20);
    look_in_vain(&mut world);
    world.truncate();
    world.settle();
    assert_eq!(world.gaps(), []);
}

#[test]
fn a_gap_is_told_until_the_relay_has_heard_it_restarts_included() {
    let (mut world, acked, seen) = with_backlog();
    world.hears = false;
    world.truncate();
    world.write(1);
    world.settle();
    for _ in 0..2 {
        world.stop_and_start();
        world.beats.clear();
        world.settle();
        assert_eq!(world.gaps(), [(acked, Some(seen))]);
    }
    world.hears = true;
    world.settle();
    world.stop_and_start();
    world.beats.clear();
    world.settle();
    assert_eq!(world.gaps(), []);
}

#[test]
fn a_heartbeat_tells_what_is_read_sent_and_at_risk_and_for_how_long() {
    let (mut world, acked, seen) = with_backlog();
    world.write_text("half a line");
    world.rotate_by_rename();
    look_in_vain(&mut world);
    let beat = world.beats.last().expect("heartbeats");
    assert!(beat.at > beat.started_at && beat.started_at.is_some());
    let stream = &beat.streams[0];
    assert!(stream.is_at_risk() && stream.rotated && !stream.deleted);
    assert_eq!((stream.acked.get(), stream.size.get()), (acked, seen + 11));
    assert_eq!((stream.lines.sent, stream.lines.excluded), (16, 4));
    // Half a minute before the rotation and half a minute since, heartbeats every ten seconds.
    assert!(
        (40_000..70_000).contains(&stream.oldest_unread_ms),
        "{}",
        stream.oldest_unread_ms
    );
    world.settle();
    assert_eq!(
        world.beats.last().expect("heartbeats").streams.len(),
        0,
        "finished"
    );
}

#[test]
fn half_a_line_at_rest_is_read_but_not_sent_and_makes_nothing_old() {
    let mut world = world();
    world.write(5);
    let whole = size(&world, LIVE);
    world.write_text("half");
    world.settle();
    let stream = &world.beats.last().expect("heartbeats").streams[0];
    let offsets = [stream.read, stream.sent, stream.acked, stream.size];
    assert_eq!(offsets.map(|offset| offset.get() - whole), [4, 0, 0, 4]);
    assert_eq!(stream.oldest_unread_ms, 0);
}

#[test]
fn files_that_begin_alike_are_not_taken_for_each_other() {
    let mut world = world();
    world.write_header();
    world.write(1);
    world.rotate_by_copy(super::look);
    world.write_header();
    world.settle();
    world.rotate_by_rename();
    world.settle();
    world.check();
}
