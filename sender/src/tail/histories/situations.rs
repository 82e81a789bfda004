//! The situations in which shippers lose or double lines, each for itself.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::disk::{Disk, File};
use super::world::{Fate, World, config, with_sites};
use super::writer::{LIVE, LOGS, Names, Packer};
use super::{look, rotated, world};
use crate::writers::Writers;

fn arrived(world: &World) -> String {
    String::from_utf8_lossy(&world.relay.arrived).into_owned()
}

fn finished(world: &World) -> usize {
    let streams = world.relay.streams.iter();
    streams.filter(|stored| stored.finished).count()
}

/// The youngest rotated file, which a writer keeps open.
fn kept_open(world: &World) -> File {
    let file = world.disk.get(&rotated(1)).expect("the rotated file");
    file.borrow_mut().writers = Writers::Some;
    file
}

/// Brings the sender and the relay together without a word from inotify.
fn poll(world: &mut World, seconds: u32) {
    for _ in 0..seconds {
        world.turn();
        while !world.jobs.is_empty() {
            world.answer(0, Fate::Done);
            world.turn();
        }
        world.advance(Duration::from_secs(1));
    }
}

#[test]
fn twenty_rotations_between_two_looks_come_in_order() {
    for names_by in [Names::Numbered, Names::Dated] {
        let mut world = world();
        world.names_by = names_by;
        for _ in 0..20 {
            world.write(30);
            world.rotate_by_rename();
        }
        world.write(30);
        world.settle();
        world.check();
        world.check_order();
    }
}

#[test]
fn names_that_move_on_during_a_look_change_no_order() {
    let mut world = world();
    for _ in 0..3 {
        world.write(30);
        world.rotate_by_rename();
    }
    world.write(30);
    // The first two looks each meet a rotation: names were listed before it and are looked up after it. A look lists
    // twice, once for each pattern.
    let listed = Cell::new(0_u32);
    world.disk.disturb(move |disk| {
        if [0, 2].contains(&listed.replace(listed.get() + 1)) {
            shift(disk);
        }
    });
    world.settle();
    world.check_order();
    assert_eq!(arrived(&world).lines().count(), 96, "a fifth is excluded");
}

fn shift(disk: &Disk) {
    for number in (1..20).rev() {
        disk.rename(&rotated(number), &rotated(number + 1));
    }
    disk.rename(LIVE, &rotated(1));
}

#[test]
fn a_renamed_file_is_followed_as_long_as_its_writer_keeps_it() {
    let mut world = world();
    world.write(10);
    world.settle();
    world.rotate_by_rename();
    let file = kept_open(&world);
    for minute in 0..30 {
        world.write_late(&format!("{minute:02} late\n"));
        world.write(1);
        for _ in 0..30 {
            world.hear(false);
            look(&mut world);
            world.advance(Duration::from_secs(2));
        }
        assert_eq!(finished(&world), 0);
    }
    world.write_late("the last of its buffer\n");
    file.borrow_mut().writers = Writers::None;
    drop(file);
    world.settle();
    world.check();
    assert_eq!(finished(&world), 1);
}

#[test]
fn a_file_that_was_left_and_grows_again_is_read_on() {
    for writers in [Writers::None, Writers::Some, Writers::Unknown] {
        let mut world = world();
        world.write(10);
        world.settle();
        world.rotate_by_rename();
        kept_open(&world).borrow_mut().writers = writers;
        world.write(10);
        poll(&mut world, 20 * 60);
        assert_eq!(finished(&world), 1);
        world.write_late("twenty minutes late\n");
        poll(&mut world, 10);
        assert!(arrived(&world).ends_with("twenty minutes late\n"));
        world.settle();
        world.check();
    }
}

#[test]
fn a_deleted_file_is_held_as_long_as_something_may_come() {
    for writers in [Writers::Some, Writers::Unknown] {
        let mut world = world();
        world.write(10);
        world.settle();
        world.rotate_by_rename();
        let file = kept_open(&world);
        file.borrow_mut().writers = writers;
        world.settle();
        world.disk.remove(&rotated(1));
        for _ in 0..3 {
            poll(&mut world, 5 * 60);
            world.disk.append(&file, b"flushed\n");
        }
        poll(&mut world, 10);
        assert!(arrived(&world).ends_with("flushed\nflushed\nflushed\n"));
        poll(&mut world, 11 * 60);
        assert_eq!(Rc::strong_count(&file), 2, "here and on the disk");
    }
}

#[test]
fn half_a_line_in_a_renamed_file_waits_for_the_one_who_writes_it() {
    let mut world = world();
    world.write(3);
    world.write_text("half ");
    world.rotate_by_rename();
    let file = kept_open(&world);
    world.write(3);
    poll(&mut world, 5 * 60);
    assert!(!arrived(&world).contains("half"));
    world.disk.append(&file, b"whole\n");
    poll(&mut world, 10);
    assert!(arrived(&world).ends_with("half whole\n"));
}

#[test]
fn half_a_line_that_is_never_completed_gets_its_newline() {
    for (writers, seconds) in [(Writers::None, 40), (Writers::Some, 640), (Writers::Unknown, 640)] {
        let mut world = world();
        world.write(3);
        world.write_text("half");
        world.rotate_by_rename();
        kept_open(&world).borrow_mut().writers = writers;
        world.write(3);
        poll(&mut world, seconds);
        assert!(arrived(&world).ends_with("GET /\nhalf\n"), "{writers:?}");
    }
}

#[test]
fn a_torn_line_of_a_full_disk_arrives_as_it_stands_on_disk() {
    let mut world = world();
    world.write(3);
    world.write_text("torn li");
    poll(&mut world, 20 * 60);
    world.restart(0, true);
    poll(&mut world, 60);
    world.write_text("the next line\n");
    world.settle();
    world.check();
    assert!(arrived(&world).ends_with("torn lithe next line\n"));
}

#[test]
fn an_inode_that_is_used_again_is_another_file_whether_shorter_or_longer() {
    for lines in [5, 20, 50] {
        for down in [false, true] {
            let mut world = world();
            world.write(20);
            world.settle();
            world.remove(LIVE);
            if down {
                world.restart(0, true);
            } else {
                // Only what nobody holds any more is used again.
                world.settle();
            }
            world.write(lines);
            world.settle();
            world.check();
        }
    }
}

#[test]
fn a_log_cut_and_written_anew_is_read_from_its_start_however_long_it_is() {
    for length in [50_usize, 99, 100, 101, 5000] {
        for down in [false, true] {
            let mut world = world();
            world.write_text(&format!("{}\n", "o".repeat(99)));
            world.settle();
            world.truncate();
            world.write_text(&format!("{}\n", "n".repeat(length - 1)));
            if down {
                world.restart(0, true);
            }
            world.settle();
            world.check();
        }
    }
}

#[test]
fn the_backlog_of_a_log_that_was_copied_and_cut_is_shipped_from_the_copy() {
    for down in [false, true] {
        let mut world = world();
        world.write(100);
        world.settle();
        world.write(1000);
        if !down {
            world.hear(false);
            world.turn();
            world.answer(0, Fate::Busy);
        }
        world.rotate_by_copy(|world| {
            if !down {
                world.hear(true);
            }
        });
        world.write(100);
        if down {
            world.restart(1, true);
        }
        world.settle();
        world.check();
    }
}

#[test]
fn a_file_keeps_its_identity_while_its_beginning_grows() {
    for keep_checkpoint in [true, false] {
        let mut world = world();
        let line = format!("{}\n", "x".repeat(200));
        let beginning = [
            "",
            "b",
            "eginning ",
            "of a line\n",
            &line,
            &line,
            &line,
            &line,
            &line,
            &line,
        ];
        for part in beginning {
            world.write_text(part);
            world.settle();
            world.check();
            world.restart(0, keep_checkpoint);
        }
        world.rotate_by_rename();
        world.write_text("b");
        world.settle();
        world.check();
    }
}

#[test]
fn files_of_any_size_are_shipped_when_they_are_rotated() {
    for down in [false, true] {
        let mut world = world();
        for (nth, size) in [0_usize, 1, 30, 300, 1024, 1025, 3000].into_iter().enumerate() {
            // Two files that hold the same byte and nothing else are told apart by nobody.
            let text = format!("{nth}{}", "x".repeat(size));
            world.write_text(text.get(..size).unwrap_or_default());
            world.rotate_by_rename();
            if !down {
                look(&mut world);
            }
        }
        world.settle();
        world.check();
    }
}

#[test]
fn files_that_begin_alike_stay_apart() {
    for keep_checkpoint in [true, false] {
        let mut world = World::new(with_sites(config(4096, 100, 2048)));
        let header = format!("{}\n", "#".repeat(99)).repeat(20);
        for _ in 0..3 {
            for log in LOGS {
                world.log = log;
                world.write_text(&header);
                look(&mut world);
                world.write(5);
                look(&mut world);
            }
            world.restart(1, keep_checkpoint);
            for log in LOGS {
                world.log = log;
                world.write(5);
                world.rotate_by_rename();
            }
        }
        world.settle();
        world.check();
    }
}

#[test]
fn a_link_that_is_switched_has_its_old_target_drained_first() {
    let mut world = world();
    let first = world.disk.create("/log/v1");
    world.disk.link(&first, LIVE);
    for number in 0..500 {
        world
            .disk
            .append(&first, format!("{number:04} first\n").as_bytes());
    }
    look(&mut world);
    let second = world.disk.create("/log/v2");
    world.disk.link(&second, LIVE);
    world.disk.append(&second, b"1000 second\n");
    look(&mut world);
    world.disk.append(&first, b"0500 first\n");
    world.settle();
    let arrived = arrived(&world);
    assert_eq!(arrived.lines().count(), 502);
    assert!(arrived.lines().is_sorted(), "{arrived}");
}

#[test]
fn a_log_that_cannot_be_opened_for_a_while_is_read_from_its_start_later() {
    for rotated_meanwhile in [false, true] {
        let mut world = world();
        world.write(10);
        let file = world.disk.get(LIVE).expect("the log");
        file.borrow_mut().is_locked = true;
        poll(&mut world, 60);
        if rotated_meanwhile {
            world.rotate_by_rename();
        }
        world.write(10);
        poll(&mut world, 60);
        file.borrow_mut().is_locked = false;
        drop(file);
        poll(&mut world, 10);
        world.settle();
        world.check();
    }
}

#[test]
fn a_log_that_cannot_be_read_for_a_while_goes_on_where_it_was_and_is_not_tried_all_the_time() {
    let mut world = world();
    world.write(10);
    world.settle();
    let file = world.disk.get(LIVE).expect("the log");
    file.borrow_mut().is_locked = true;
    world.write(10);
    let before = world.disk.opened();
    poll(&mut world, 60);
    assert!(world.disk.opened() - before < 30, "about every five seconds");
    file.borrow_mut().is_locked = false;
    drop(file);
    poll(&mut world, 10);
    world.check();
}

#[test]
fn without_inotify_polling_finds_everything() {
    let mut world = world();
    for round in 0..4 {
        world.write(10);
        poll(&mut world, 3);
        assert_eq!(
            arrived(&world).lines().count(),
            24 * round + 8,
            "growth, each second"
        );
        world.write(10);
        world.rotate_by_rename();
        world.write(10);
        poll(&mut world, 8);
        assert_eq!(
            arrived(&world).lines().count(),
            24 * (round + 1),
            "a new file, each five"
        );
    }
    world.rotate_by_copy(|_| {});
    world.write(10);
    world.pack(Packer::Zstd, |_| {});
    poll(&mut world, 60);
    world.check();
    world.check_order();
}

#[test]
fn nul_bytes_and_lines_without_end_are_shipped_in_pieces_of_a_chunk() {
    let mut world = World::new(config(4096, 100, 4096));
    world.write(3);
    world.write_text(&"\0".repeat(300_000));
    world.write_text(" after the hole\n");
    world.write(3);
    world.settle();
    world.check();
    assert_eq!(world.counters.snapshot().long_lines, 1);
}

#[test]
fn minutes_do_not_change_half_a_line_of_the_live_file() {
    let mut world = world();
    world.write(1);
    world.write_text("half ");
    for _ in 0..30 {
        poll(&mut world, 60);
        assert!(!arrived(&world).contains("half"));
    }
    world.restart(0, false);
    world.write_text("whole\n");
    poll(&mut world, 10);
    assert!(arrived(&world).ends_with("half whole\n"));
}
