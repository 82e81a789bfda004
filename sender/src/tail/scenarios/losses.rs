//! The reported losses: lost bytes are reported, and nothing is reported when nothing is lost.

mod restored_relay;

use std::time::Duration;

use super::sim_files::File;
use super::sim_relay::RequestOutcome;
use super::{look, rotated, settled, sim, size, starting_at_end, written};
use crate::files::compressed::CompressionFormat;
use crate::tail::scenarios::log_writer::{LIVE, LOGS};
use crate::tail::scenarios::simulation::Simulation;

/// The log is shipped, and 20 more lines are seen, but the relay accepts nothing more.
fn with_backlog() -> (Simulation, u64, u64) {
    let mut sim = settled(20);
    let acked = size(&sim, LIVE);
    sim.write(20);
    look_without_relay(&mut sim);
    let seen = size(&sim, LIVE);
    (sim, acked, seen)
}

/// The log was rotated, and the new one, of 20 lines, cannot be opened.
fn with_a_locked_log() -> (Simulation, File) {
    let mut sim = settled(20);
    sim.rotate_by_rename();
    sim.settle();
    sim.write(20);
    let file = sim.disk.get(LIVE).expect("the log");
    file.borrow_mut().is_locked = true;
    sim.settle();
    (sim, file)
}

/// The changes happen while the sender runs, or while it is stopped.
fn change(sim: &mut Simulation, is_down: bool, changes: impl FnOnce(&mut Simulation)) {
    if is_down {
        sim.stop();
    }
    changes(sim);
    sim.write(1);
    if is_down {
        sim.start_again();
    }
    sim.settle();
}

/// The log is written and seen, but the relay is never asked about it.
fn unknown_to_relay() -> (Simulation, u64) {
    let mut sim = written(20);
    look_without_relay(&mut sim);
    let seen = size(&sim, LIVE);
    (sim, seen)
}

/// Half a minute with a relay that does not answer.
fn look_without_relay(sim: &mut Simulation) {
    for _ in 0..15 {
        sim.hear(true);
        sim.turn();
        while !sim.requests.is_empty() {
            sim.answer(0, RequestOutcome::Lost);
        }
        sim.advance(Duration::from_secs(2));
    }
}

#[test]
fn a_rotated_file_deleted_while_down_is_a_gap_up_to_where_it_was_seen() {
    for crash in [false, true] {
        let (mut sim, acked, seen) = with_backlog();
        sim.rotate_by_rename();
        sim.write(3);
        if crash {
            sim.restart(0, true);
        } else {
            sim.stop();
        }
        sim.remove(&rotated(1));
        sim.start_again();
        sim.settle();
        assert_eq!(sim.gaps(), [(acked, Some(seen))]);
        let counted = sim.metrics.totals();
        assert_eq!((counted.gaps, counted.gap_bytes), (1, seen - acked));
    }
}

#[test]
fn a_file_that_was_seen_and_never_opened_is_named_when_it_is_gone() {
    let losses: [fn(&mut Simulation); 2] = [
        |sim| sim.delete(LIVE),
        |sim| sim.rename(LIVE, "/old/access.log".into()),
    ];
    for lose in losses {
        for is_down in [false, true] {
            let (mut sim, file) = with_a_locked_log();
            if is_down {
                sim.stop();
            }
            lose(&mut sim);
            if is_down {
                sim.start_again();
            }
            sim.settle();
            file.borrow_mut().is_locked = false;
            assert_eq!(sim.gaps(), [(0, None)], "down: {is_down}");
        }
    }
}

#[test]
fn a_file_that_start_end_marked_and_that_was_never_opened_is_named_as_never_read() {
    let mut sim = starting_at_end();
    sim.write(5);
    let file = sim.disk.get(LIVE).expect("the log");
    file.borrow_mut().is_locked = true;
    sim.settle();
    sim.write(5);
    sim.settle();
    sim.delete(LIVE);
    sim.settle();
    // The audit knows such a file by its first lost byte.
    assert_eq!(sim.gaps(), [(0, None)]);
}

#[test]
fn a_file_that_was_never_opened_is_no_gap_while_its_folder_cannot_be_seen() {
    let (mut sim, file) = with_a_locked_log();
    sim.disk.hide(Some(LIVE));
    sim.restart(0, true);
    sim.settle();
    sim.disk.hide(None);
    file.borrow_mut().is_locked = false;
    sim.settle_and_check();
}

#[test]
fn a_file_that_was_never_opened_and_is_renamed_or_an_archive_is_no_gap() {
    let mut sim = sim();
    sim.settle();
    let archive = sim.disk.create(&format!("{LIVE}.9.gz"));
    sim.disk.append(&archive, b"of a log that was shipped");
    archive.borrow_mut().is_locked = true;
    sim.write(20);
    sim.settle();
    sim.rotate_by_rename();
    sim.write(20);
    let file = sim.disk.get(LIVE).expect("the log");
    file.borrow_mut().is_locked = true;
    sim.settle();
    sim.rotate_by_rename();
    sim.disk.remove(&format!("{LIVE}.11.gz"));
    sim.settle();
    assert_eq!(sim.gaps(), [(0, None)]);
    file.borrow_mut().is_locked = false;
    sim.settle_and_check();
}

#[test]
fn a_log_truncated_with_a_backlog_and_no_copy_is_a_gap() {
    for down in [false, true] {
        let (mut sim, acked, seen) = with_backlog();
        change(&mut sim, down, Simulation::truncate);
        assert_eq!(sim.gaps(), [(acked, Some(seen))], "down: {down}");
    }
}

#[test]
fn a_log_truncated_with_a_copy_is_no_gap() {
    for down in [false, true] {
        let (mut sim, ..) = with_backlog();
        change(&mut sim, down, |sim| sim.rotate_by_copy(|_| {}));
        sim.check();
    }
}

#[test]
fn a_log_rewritten_longer_is_no_gap() {
    let mut sim = settled(5);
    sim.truncate();
    sim.write(500);
    sim.settle_and_check();
    assert_eq!(sim.gaps(), []);
}

#[test]
fn a_copy_that_lacks_the_end_is_a_gap_where_it_ends() {
    let (mut sim, acked, seen) = with_backlog();
    let bytes = sim.disk.get(LIVE).expect("the log").borrow().bytes.clone();
    let copied = acked + (seen - acked) / 2;
    let copy = sim.disk.create(&rotated(1));
    let part = &bytes[..usize::try_from(copied).expect("small")];
    sim.disk.append(&copy, part);
    change(&mut sim, false, Simulation::truncate);
    assert_eq!(sim.gaps(), [(copied, Some(seen))]);
}

#[test]
fn a_finished_file_and_one_deleted_while_it_is_read_are_no_gap() {
    let mut sim = written(20);
    sim.rotate_by_rename();
    sim.write(20);
    sim.settle();
    sim.stop();
    sim.remove(&rotated(1));
    sim.start_again();
    sim.rotate_by_rename();
    sim.turn();
    sim.remove(&rotated(1));
    sim.settle();
    sim.write(1);
    sim.settle();
    assert_eq!(sim.gaps(), []);
}

#[test]
fn a_file_that_is_gone_before_its_end_was_known_is_unfinished_and_not_lost() {
    let mut sim = settled(20);
    let acked = size(&sim, LIVE);
    change(&mut sim, true, |sim| {
        sim.rotate_by_rename();
        sim.remove(&rotated(1));
    });
    assert_eq!(sim.gaps(), [(acked, None)]);
    assert_eq!(sim.metrics.totals().gaps, 0);
}

#[test]
fn a_file_unknown_to_the_relay_is_missed_too() {
    let remove: fn(&mut Simulation) = |sim| sim.remove(LIVE);
    for (is_down, changes) in [
        (true, remove),
        (true, Simulation::truncate),
        (false, Simulation::truncate),
    ] {
        let (mut sim, seen) = unknown_to_relay();
        change(&mut sim, is_down, changes);
        assert_eq!(sim.gaps(), [(0, Some(seen))], "down: {is_down}");
    }
}

#[test]
fn a_file_unknown_to_the_relay_is_not_missed_under_another_name_or_compressed() {
    for compressed in [false, true] {
        let (mut sim, _) = unknown_to_relay();
        change(&mut sim, true, |sim| {
            sim.rotate_by_rename();
            if compressed {
                sim.compress(CompressionFormat::Gzip, |_| {});
            }
        });
        sim.check();
        assert_eq!(sim.gaps(), []);
    }
}

#[test]
fn a_file_that_begins_alike_does_not_hide_that_an_unsent_one_is_gone() {
    for is_kept in [false, true] {
        let mut sim = super::sim();
        sim.write_text("#Fields: date time\n");
        sim.write(20);
        look_without_relay(&mut sim);
        let seen = size(&sim, LIVE);
        sim.stop();
        if is_kept {
            sim.rotate_by_rename();
        } else {
            sim.remove(LIVE);
        }
        sim.write_text("#Fields: date time\n");
        sim.write(60);
        sim.start_again();
        sim.settle();
        let lost = if is_kept { vec![] } else { vec![(0, Some(seen))] };
        assert_eq!(sim.gaps(), lost, "kept: {is_kept}");
    }
}

#[test]
fn lines_left_out_by_start_end_are_not_missed() {
    let mut sim = starting_at_end();
    sim.write(20);
    look_without_relay(&mut sim);
    sim.truncate();
    sim.settle();
    assert_eq!(sim.gaps(), []);
}

#[test]
fn a_gap_is_reported_until_the_relay_acknowledges_it_over_restarts_too() {
    let (mut sim, acked, seen) = with_backlog();
    sim.hears = false;
    sim.truncate();
    sim.write(1);
    sim.settle();
    for _ in 0..2 {
        sim.stop();
        sim.start_again();
        sim.beats.clear();
        sim.settle();
        assert_eq!(sim.gaps(), [(acked, Some(seen))]);
    }
    sim.hears = true;
    sim.settle();
    sim.stop();
    sim.start_again();
    sim.beats.clear();
    sim.settle();
    assert_eq!(sim.gaps(), []);
}

#[test]
fn a_heartbeat_reports_read_and_sent_bytes_and_the_age_of_those_at_risk() {
    let (mut sim, acked, seen) = with_backlog();
    sim.write_text("half a line");
    sim.rotate_by_rename();
    look_without_relay(&mut sim);
    let beat = sim.beats.last().expect("heartbeats");
    assert!(beat.at > beat.started_at && beat.started_at.is_some());
    let stream = &beat.streams[0];
    assert!(stream.is_at_risk() && stream.rotated && !stream.deleted);
    assert_eq!((stream.acked.get(), stream.size.get()), (acked, seen + 11));
    assert_eq!((stream.lines.sent, stream.lines.excluded), (16, 4));
    // Half a minute before the rotation and half a minute since, heartbeats every ten seconds.
    let age = stream.oldest_unread_ms;
    assert!((40_000..70_000).contains(&age), "{age}");
    sim.settle();
    assert_eq!(sim.beats.last().expect("heartbeats").streams.len(), 0, "finished");
}

#[test]
fn part_of_a_line_is_read_but_not_sent_and_has_no_age() {
    let mut sim = written(5);
    let whole = size(&sim, LIVE);
    sim.write_text("half");
    sim.settle();
    let stream = &sim.beats.last().expect("heartbeats").streams[0];
    let offsets = [stream.read, stream.sent, stream.acked, stream.size];
    assert_eq!(offsets.map(|offset| offset.get() - whole), [4, 0, 0, 4]);
    assert_eq!(stream.oldest_unread_ms, 0);
}

#[test]
fn files_with_the_same_beginning_are_not_confused() {
    let mut sim = sim();
    sim.write_header();
    sim.write(1);
    sim.rotate_by_copy(look);
    sim.write_header();
    sim.settle();
    sim.rotate_by_rename();
    sim.settle_and_check();
}

#[test]
fn an_archive_that_was_shipped_and_closed_still_holds_the_lines_of_the_log_it_was_made_of() {
    let mut sim = sim();
    // Too few for all files at once: some wait, and the loss is looked for after the archive is closed.
    sim.disk.set_handle_limit(6);
    sim.write_header();
    sim.rotate_by_copy(look);
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.rotate_by_rename();
    sim.write(1);
    sim.rotate_by_rename();
    sim.advance(Duration::from_millis(20));
    sim.write_unique("half", " ");
    sim.rotate_by_copy(look);
    sim.rotate_by_rename();
    sim.write(1);
    sim.settle_and_check();
}

#[test]
fn a_log_that_was_shipped_and_deleted_is_no_loss_although_files_waited_when_it_was_looked_for() {
    let mut sim = sim();
    sim.disk.set_handle_limit(6);
    sim.write_text("");
    sim.log = LOGS[1];
    // The file is seen, and not shipped before the restart.
    sim.write_header();
    sim.turn();
    sim.restart(0, true);
    sim.rotate_by_rename();
    sim.write_text("");
    sim.rotate_by_rename();
    sim.write(1);
    sim.rotate_by_copy(look);
    sim.rotate_by_rename();
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.write(1);
    let oldest = sim.oldest().expect("a rotated file");
    sim.settle();
    sim.remove(&oldest);
    sim.rotate_by_copy(look);
    sim.settle_and_check();
}
