//! The situations in which log shippers commonly lose or double lines.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::sim_files::File;
use super::sim_relay::RequestOutcome;
use super::simulation::{Simulation, config};
use super::{look, rotated, settled, sim, written};
use crate::files::compressed::CompressionFormat;
use crate::files::open_writers::OpenWriters;
use crate::tail::scenarios::log_writer::{LIVE, LOGS, RotationNaming};
use crate::tail::scenarios::sim_files::SimFileSystem;

#[test]
fn the_writers_of_all_rotated_files_are_looked_for_at_once() {
    let mut settings = config(4096, 100, 2048);
    settings.logs[1].path = "/log/site-*.log".to_owned();
    let mut sim = Simulation::new(settings);
    let log = |number: u32| format!("/log/site-{number}.log");
    for number in 0..20 {
        let file = sim.disk.create(&log(number));
        sim.disk.append(&file, format!("{number} line\n").as_bytes());
        file.borrow_mut().writers = OpenWriters::Some;
    }
    sim.settle();
    for number in 0..20 {
        sim.disk.rename(&log(number), &format!("{}.1", log(number)));
    }
    let before = sim.disk.writer_searches();
    // For two minutes, and each file every 30 seconds.
    sim.settle();
    let searches = sim.disk.writer_searches() - before;
    assert!((1..=5).contains(&searches), "{searches}");
}

/// The newest rotated file, which a writer keeps open.
fn kept_open_by(writers: OpenWriters, sim: &Simulation) -> File {
    let file = sim.disk.get(&rotated(1)).expect("the rotated file");
    file.borrow_mut().writers = writers;
    file
}

/// The sender works by polling only, and the relay answers.
fn poll(sim: &mut Simulation, seconds: u32) {
    for _ in 0..seconds {
        sim.turn();
        while !sim.requests.is_empty() {
            sim.answer(0, RequestOutcome::Done);
            sim.turn();
        }
        sim.advance(Duration::from_secs(1));
    }
}

#[test]
fn twenty_rotations_between_two_scans_come_in_order() {
    for naming in [RotationNaming::Numbered, RotationNaming::Dated] {
        let mut sim = sim();
        sim.naming = naming;
        for _ in 0..20 {
            sim.write(30);
            sim.rotate_by_rename();
        }
        sim.write(30);
        sim.settle_and_check();
        sim.check_order();
    }
}

#[test]
fn names_that_change_during_a_search_change_no_order() {
    let mut sim = sim();
    for _ in 0..3 {
        sim.write(30);
        sim.rotate_by_rename();
    }
    sim.write(30);
    // The first two searches each meet a rotation: names are listed before it, and looked up after it. A search lists twice,
    // once for each pattern.
    let listed = Cell::new(0_u32);
    sim.disk.disturb(move |disk| {
        if [0, 2].contains(&listed.replace(listed.get() + 1)) {
            shift(disk);
        }
    });
    sim.settle();
    sim.check_order();
    assert_eq!(sim.arrived().lines().count(), 96, "a fifth is excluded");
}

fn shift(disk: &SimFileSystem) {
    for number in (1..20).rev() {
        disk.rename(&rotated(number), &rotated(number + 1));
    }
    disk.rename(LIVE, &rotated(1));
}

#[test]
fn a_renamed_file_is_followed_as_long_as_its_writer_keeps_it() {
    let mut sim = settled(10);
    sim.rotate_by_rename();
    let file = kept_open_by(OpenWriters::Some, &sim);
    for minute in 0..30 {
        sim.write_late(&format!("{minute:02} late\n"));
        sim.write(1);
        for _ in 0..30 {
            sim.hear(false);
            look(&mut sim);
            sim.advance(Duration::from_secs(2));
        }
        assert_eq!(sim.finished(), 0);
    }
    sim.write_late("the last of its buffer\n");
    file.borrow_mut().writers = OpenWriters::None;
    drop(file);
    sim.settle_and_check();
    assert_eq!(sim.finished(), 1);
}

#[test]
fn a_closed_file_that_grows_again_is_read_further() {
    for writers in [OpenWriters::None, OpenWriters::Some, OpenWriters::Unknown] {
        let mut sim = settled(10);
        sim.rotate_by_rename();
        kept_open_by(writers, &sim);
        sim.write(10);
        poll(&mut sim, 20 * 60);
        assert_eq!(sim.finished(), 1);
        sim.write_late("twenty minutes late\n");
        poll(&mut sim, 10);
        assert!(sim.arrived().ends_with("twenty minutes late\n"));
        sim.settle_and_check();
        assert_eq!(sim.finished(), usize::from(writers == OpenWriters::None));
    }
}

#[test]
fn a_deleted_file_is_kept_open_while_lines_may_come() {
    for writers in [OpenWriters::Some, OpenWriters::Unknown] {
        let mut sim = settled(10);
        sim.rotate_by_rename();
        let file = kept_open_by(writers, &sim);
        sim.settle();
        sim.disk.remove(&rotated(1));
        for _ in 0..3 {
            poll(&mut sim, 5 * 60);
            sim.disk.append(&file, b"flushed\n");
        }
        poll(&mut sim, 10);
        assert!(sim.arrived().ends_with("flushed\nflushed\nflushed\n"));
        poll(&mut sim, 11 * 60);
        assert_eq!(Rc::strong_count(&file), 2, "here and on the disk");
    }
}

#[test]
fn part_of_a_line_in_a_renamed_file_waits_for_its_writer() {
    let mut sim = written(3);
    sim.write_text("half ");
    sim.rotate_by_rename();
    let file = kept_open_by(OpenWriters::Some, &sim);
    sim.write(3);
    poll(&mut sim, 5 * 60);
    assert!(!sim.arrived().contains("half"));
    sim.disk.append(&file, b"whole\n");
    poll(&mut sim, 10);
    assert!(sim.arrived().ends_with("half whole\n"));
}

#[test]
fn part_of_a_line_that_is_never_completed_gets_its_newline() {
    for (writers, seconds) in [
        (OpenWriters::None, 40),
        (OpenWriters::Some, 640),
        (OpenWriters::Unknown, 640),
    ] {
        let mut sim = written(3);
        sim.write_text("half");
        sim.rotate_by_rename();
        kept_open_by(writers, &sim);
        sim.write(3);
        poll(&mut sim, seconds);
        assert!(sim.arrived().ends_with("GET /\nhalf\n"), "{writers:?}");
    }
}

#[test]
fn a_torn_line_of_a_full_disk_arrives_as_it_stands_on_disk() {
    let mut sim = written(3);
    sim.write_text("torn li");
    poll(&mut sim, 20 * 60);
    sim.restart(0, true);
    poll(&mut sim, 60);
    sim.write_text("the next line\n");
    sim.settle_and_check();
    assert!(sim.arrived().ends_with("torn lithe next line\n"));
}

#[test]
fn a_reused_inode_is_another_file_whether_shorter_or_longer() {
    for lines in [5, 20, 50] {
        for down in [false, true] {
            let mut sim = settled(20);
            sim.remove(LIVE);
            if down {
                sim.restart(0, true);
            } else {
                // Only an inode that nobody has open is used again.
                sim.settle();
            }
            sim.write(lines);
            sim.settle_and_check();
        }
    }
}

#[test]
fn a_log_truncated_and_written_again_is_read_from_its_start_whatever_its_length() {
    for length in [50_usize, 99, 100, 101, 5000] {
        for down in [false, true] {
            let mut sim = sim();
            sim.write_text(&format!("{}\n", "o".repeat(99)));
            sim.settle();
            sim.truncate();
            sim.write_text(&format!("{}\n", "n".repeat(length - 1)));
            if down {
                sim.restart(0, true);
            }
            sim.settle_and_check();
        }
    }
}

#[test]
fn the_backlog_of_a_log_that_was_copied_and_cut_is_shipped_from_the_copy() {
    for down in [false, true] {
        let mut sim = settled(100);
        sim.write(1000);
        if !down {
            sim.hear(false);
            sim.turn();
            sim.answer(0, RequestOutcome::Busy);
        }
        sim.rotate_by_copy(|sim| {
            if !down {
                sim.hear(true);
            }
        });
        sim.write(100);
        if down {
            sim.restart(1, true);
        }
        sim.settle_and_check();
    }
}

#[test]
fn a_file_keeps_its_identity_while_its_beginning_grows() {
    for keep_checkpoint in [true, false] {
        let mut sim = sim();
        let line = format!("{}\n", "x".repeat(200));
        let beginning = ["", "b", "eginning ", "of a line\n"].into_iter();
        for part in beginning.chain([line.as_str(); 6]) {
            sim.write_text(part);
            sim.settle_and_check();
            sim.restart(0, keep_checkpoint);
        }
        sim.rotate_by_rename();
        sim.write_text("b");
        sim.settle_and_check();
    }
}

#[test]
fn files_of_any_size_are_shipped_when_they_are_rotated() {
    for down in [false, true] {
        let mut sim = sim();
        for (nth, size) in [0_usize, 1, 30, 300, 1024, 1025, 3000].into_iter().enumerate() {
            // Two files with the same single byte cannot be distinguished.
            let text = format!("{nth}{}", "x".repeat(size));
            sim.write_text(text.get(..size).unwrap_or_default());
            sim.rotate_by_rename();
            if !down {
                look(&mut sim);
            }
        }
        sim.settle_and_check();
    }
}

#[test]
fn files_that_begin_alike_stay_apart() {
    for keep_checkpoint in [true, false] {
        let mut sim = sim();
        let header = format!("{}\n", "#".repeat(99)).repeat(20);
        for _ in 0..3 {
            for log in LOGS {
                sim.log = log;
                sim.write_text(&header);
                look(&mut sim);
                sim.write(5);
                look(&mut sim);
            }
            sim.restart(1, keep_checkpoint);
            for log in LOGS {
                sim.log = log;
                sim.write(5);
                sim.rotate_by_rename();
            }
        }
        sim.settle_and_check();
    }
}

#[test]
fn a_link_that_is_switched_has_its_old_target_drained_first() {
    let mut sim = sim();
    let first = sim.disk.create("/log/v1");
    sim.disk.link(&first, LIVE);
    for number in 0..500 {
        sim.disk.append(&first, format!("{number:04} first\n").as_bytes());
    }
    look(&mut sim);
    let second = sim.disk.create("/log/v2");
    sim.disk.link(&second, LIVE);
    sim.disk.append(&second, b"1000 second\n");
    look(&mut sim);
    sim.disk.append(&first, b"0500 first\n");
    sim.settle();
    let arrived = sim.arrived();
    assert_eq!(arrived.lines().count(), 502);
    assert!(arrived.lines().is_sorted(), "{arrived}");
}

#[test]
fn a_log_that_cannot_be_opened_for_a_while_is_read_from_its_start_later() {
    for rotated_meanwhile in [false, true] {
        let mut sim = written(10);
        let file = sim.disk.get(LIVE).expect("the log");
        file.borrow_mut().is_locked = true;
        poll(&mut sim, 60);
        if rotated_meanwhile {
            sim.rotate_by_rename();
        }
        sim.write(10);
        poll(&mut sim, 60);
        file.borrow_mut().is_locked = false;
        drop(file);
        poll(&mut sim, 10);
        sim.settle_and_check();
    }
}

#[test]
fn a_log_that_cannot_be_read_for_a_while_continues_and_is_not_opened_all_the_time() {
    let mut sim = settled(10);
    let file = sim.disk.get(LIVE).expect("the log");
    file.borrow_mut().is_locked = true;
    sim.write(10);
    let before = sim.disk.opened();
    poll(&mut sim, 60);
    assert!(sim.disk.opened() - before < 30, "about every five seconds");
    file.borrow_mut().is_locked = false;
    drop(file);
    poll(&mut sim, 10);
    sim.check();
}

#[test]
fn without_inotify_polling_finds_everything() {
    let mut sim = sim();
    for round in 0..4 {
        sim.write(10);
        poll(&mut sim, 3);
        let arrived = sim.arrived().lines().count();
        assert_eq!(arrived, 24 * round + 8, "growth, each second");
        sim.write(10);
        sim.rotate_by_rename();
        sim.write(10);
        poll(&mut sim, 8);
        let arrived = sim.arrived().lines().count();
        assert_eq!(arrived, 24 * (round + 1), "a new file, each five");
    }
    sim.rotate_by_copy(|_| {});
    sim.write(10);
    sim.compress(CompressionFormat::Zstd, |_| {});
    poll(&mut sim, 60);
    sim.check();
    sim.check_order();
}

#[test]
fn nul_bytes_and_lines_without_end_are_shipped_in_pieces_of_a_chunk() {
    let mut sim = Simulation::new(config(4096, 100, 4096));
    sim.write(3);
    sim.write_text(&"\0".repeat(300_000));
    sim.write_text(" after the hole\n");
    sim.write(3);
    sim.settle_and_check();
    assert_eq!(sim.metrics.totals().long_lines, 1);
}

#[test]
fn part_of_a_line_in_the_live_file_waits_however_long() {
    let mut sim = written(1);
    sim.write_text("half ");
    for _ in 0..30 {
        poll(&mut sim, 60);
        assert!(!sim.arrived().contains("half"));
    }
    sim.restart(0, false);
    sim.write_text("whole\n");
    poll(&mut sim, 10);
    assert!(sim.arrived().ends_with("half whole\n"));
}

#[test]
fn a_file_that_is_not_text_is_held_and_its_neighbours_are_shipped() {
    let mut sim = written(20);
    let binary = sim.disk.create(&rotated(1));
    sim.disk.append(&binary, b"PK\x03\x04\0\0binary\n");
    sim.settle();
    let held = sim.held();
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(
        held[0].path == rotated(1) && held[0].reason.contains("not text"),
        "{held:?}"
    );
    let opened = sim.disk.opened();
    sim.settle_and_check();
    assert_eq!(
        sim.disk.opened(),
        opened,
        "it is not opened again until it changes"
    );
    sim.disk.truncate(&binary);
    sim.settle();
    assert_eq!(sim.held(), []);
}

#[test]
fn a_live_gzip_log_is_shipped_at_each_flush_and_over_rotations_and_restarts() {
    for naming in [RotationNaming::Numbered, RotationNaming::Dated] {
        let mut sim = sim();
        sim.naming = naming;
        for round in 0..4 {
            for _ in 0..3 {
                sim.write_gzip(20);
                sim.settle_and_check();
            }
            if round % 2 == 0 {
                sim.restart(0, true);
            }
            sim.write_gzip(20);
            sim.rotate_by_rename();
            // The rotation compresses what is compressed already.
            sim.compress(CompressionFormat::Gzip, look);
        }
        sim.settle_and_check();
        assert_eq!(sim.held(), []);
    }
}

#[test]
fn a_file_that_was_shredded_is_not_shipped() {
    let mut sim = settled(20);
    sim.rotate_by_rename();
    sim.settle();
    let rotated = sim.disk.get(&rotated(1)).expect("the rotated file");
    sim.disk.truncate(&rotated);
    let noise: Vec<u8> = (0..4096_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    sim.disk.append(&rotated, &noise);
    sim.settle_and_check();
    assert_eq!(sim.held().len(), 1);
}

#[test]
fn a_log_that_appears_during_a_question_with_the_inode_of_another_logs_file_is_shipped() {
    let mut sim = sim();
    sim.write_header();
    sim.rotate_by_rename();
    sim.compress(CompressionFormat::Gzip, look);
    sim.log = LOGS[1];
    sim.write_header();
    sim.restart(0, false);
    // The sender asks. Before the answer, a file with the same first line gets the inode that the other log's file had.
    sim.turn();
    sim.rotate_by_rename();
    sim.write_header();
    sim.settle_and_check();
}
