//! People work beside the logs: rotated logs are edited in place or by `sed -i`, and copied.

use std::time::Duration;

use proptest::prelude::*;

use super::log_writer::{LIVE, LOGS};
use super::sim_relay::RequestOutcome;
use super::simulation::{Simulation, config};
use super::{ScenarioStep, look, naming, play, rotated, settled, sim, step};
use crate::files::compressed::CompressionFormat;
use crate::files::compressed::tests::compress;
use crate::streams::timed_line::is_timed;

impl Simulation {
    /// As `sed -i` does: another file takes the name.
    fn replace(&mut self, name: &str, bytes: &[u8]) {
        let file = self.disk.create("/log/sedX1y2Z3");
        self.disk.append(&file, bytes);
        self.disk.rename("/log/sedX1y2Z3", name);
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.disk
            .get(name)
            .map(|file| file.borrow().bytes.clone())
            .unwrap_or_default()
    }

    /// Whether there is a live file with shipped lines, once all is shipped.
    fn has_settled_live(&mut self) -> bool {
        self.settle();
        self.bytes(self.log).contains(&b'\n')
    }

    /// Edits the newest rotated file once all is shipped. Whether there was one, and a live file with shipped lines.
    fn edit_rotated(&mut self, in_place: bool) -> bool {
        let is_live = self.has_settled_live();
        let Some(name) = self.rotated().into_iter().next() else {
            return false;
        };
        if !is_live || self.bytes(&name).is_empty() {
            return false;
        }
        let edited: Vec<u8> = self
            .bytes(&name)
            .iter()
            .map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte })
            .collect();
        // A file that held the same before could not be distinguished from this one.
        let edited = [self.unique("edited", " ").as_bytes(), &edited].concat();
        if let Some(file) = self.disk.get(&name).filter(|_| in_place) {
            self.disk.truncate(&file);
            self.disk.append(&file, &edited);
        } else {
            self.replace(&name, &edited);
        }
        // No file has the shipped lines any more, and those of the edited one are not to be shipped.
        self.names.remove(&name);
        self.settle();
        true
    }

    /// Copies the newest rotated file to a name that rotation gives too.
    fn copy_beside(&mut self, mut during: impl FnMut(&mut Self)) {
        let log = self.log;
        let Some(name) = self.rotated().into_iter().next() else {
            return;
        };
        let bytes = self.bytes(&name);
        let first_line = bytes
            .split_inclusive(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        // Lines without a time prove nothing.
        if !is_timed(first_line) {
            return;
        }
        let copy = self.disk.create(&format!("{log}.old"));
        for part in bytes.chunks(bytes.len().div_ceil(2).max(1)) {
            during(self);
            self.disk.append(&copy, part);
        }
        during(self);
    }
}

/// Ten shipped lines in the rotated file, three in the live one.
fn rotated_once() -> Simulation {
    let mut sim = settled(10);
    sim.rotate_by_rename();
    sim.write(3);
    sim.settle();
    sim
}

#[test]
fn a_rotated_log_that_is_edited_is_held_and_named() {
    for in_place in [false, true] {
        let mut sim = rotated_once();
        assert!(sim.edit_rotated(in_place));
        sim.write(3);
        sim.settle_and_check();
        let [held] = sim.held() else {
            panic!("{:?}", sim.held())
        };
        assert!(
            held.path == rotated(1) && held.reason.contains("backfill"),
            "{held:?}"
        );
    }
}

#[test]
fn an_edited_log_stays_held_over_restarts_and_rotations_until_it_is_deleted() {
    let mut sim = rotated_once();
    sim.edit_rotated(false);
    for _ in 0..3 {
        sim.restart(0, true);
        sim.settle_and_check();
        sim.write(3);
        sim.rotate_by_rename();
        sim.write(3);
        sim.settle_and_check();
        assert_eq!(sim.held().len(), 1, "{:?}", sim.held());
    }
    sim.remove(&rotated(4));
    sim.settle_and_check();
    assert_eq!(sim.held(), []);
}

#[test]
fn an_edited_log_that_is_edited_again_stays_held() {
    let mut sim = rotated_once();
    sim.edit_rotated(false);
    for _ in 0..2 {
        sim.edit_rotated(true);
        sim.settle_and_check();
        assert_eq!(sim.held().len(), 1);
    }
}

#[test]
fn a_log_edited_while_the_sender_was_down_is_shipped() {
    let mut sim = rotated_once();
    sim.stop();
    let edited = [b"edited\n".as_slice(), &sim.bytes(&rotated(1))].concat();
    sim.replace(&rotated(1), &edited);
    sim.start_again();
    sim.settle();
    assert!(sim.arrived().contains("edited\n"));
    assert_eq!(sim.held(), []);
}

#[test]
fn a_held_file_that_backfill_shipped_is_not_held_any_more() {
    let mut sim = rotated_once();
    sim.edit_rotated(false);
    assert_eq!(sim.held().len(), 1);
    // Backfill derives the stream from the file, as the sender does.
    let mut backfill = sim.copied();
    backfill.relay = std::mem::take(&mut sim.relay);
    backfill.forget();
    backfill.settle();
    sim.relay = std::mem::take(&mut backfill.relay);
    let arrived = sim.arrived();
    sim.settle();
    assert_eq!(sim.held(), []);
    assert_eq!(sim.arrived(), arrived);
}

#[test]
fn a_log_that_was_moved_in_is_held_and_shipped_as_the_live_log_if_it_becomes_that() {
    let mut sim = rotated_once();
    sim.disk.append(
        &sim.disk.create(&format!("{LIVE}.7")),
        b"000000 of another host\n",
    );
    sim.settle();
    assert_eq!(sim.held().len(), 1);
    sim.rotate_by_rename();
    sim.disk.rename(&format!("{LIVE}.8"), LIVE);
    sim.settle();
    assert!(sim.arrived().ends_with("of another host\n"));
    assert_eq!(sim.held(), []);
}

#[test]
fn a_hundred_held_files_stay_held_over_a_restart() {
    let mut sim = rotated_once();
    for number in 20..120 {
        let copy = sim.disk.create(&format!("{LIVE}.{number}"));
        let line = format!("000000 of host {number}\n");
        sim.disk.append(&copy, line.as_bytes());
    }
    sim.settle();
    sim.restart(0, true);
    sim.settle_and_check();
}

#[test]
fn a_copy_of_a_rotated_log_is_not_shipped_again() {
    for keep_checkpoint in [true, false] {
        let mut sim = rotated_once();
        sim.copy_beside(super::look);
        sim.write(3);
        sim.settle_and_check();
        assert_eq!(sim.held(), []);
        sim.restart(0, keep_checkpoint);
        sim.settle_and_check();
        sim.compress(CompressionFormat::Gzip, |_| {});
        sim.restart(0, keep_checkpoint);
        sim.settle_and_check();
    }
}

#[test]
fn a_copy_made_while_the_sender_was_down_is_not_shipped_again() {
    for keep_checkpoint in [true, false] {
        let mut sim = rotated_once();
        sim.stop();
        sim.copy_beside(|_| {});
        sim.restart(0, keep_checkpoint);
        sim.write(3);
        sim.settle_and_check();
    }
}

#[test]
fn the_copy_of_a_log_that_was_cut_and_written_again_while_a_chunk_failed_is_not_shipped_again() {
    let mut sim = Simulation::new(config(256, 4, 64));
    sim.write(5);
    sim.log = LOGS[1];
    sim.write(5);
    sim.turn();
    sim.advance(Duration::from_millis(100));
    sim.answer(0, RequestOutcome::Done);
    // Meanwhile the first chunk of the log is stored, and its second one is on its way.
    sim.rotate_by_copy(look);
    sim.write(5);
    sim.advance(Duration::from_millis(20));
    sim.turn();
    sim.answer(0, RequestOutcome::Lost);
    // So that the size does not tell that the log was cut.
    sim.delete(&format!("{}.1", LOGS[1]));
    sim.settle_and_check();
}

#[test]
fn an_archive_with_the_inode_of_a_log_that_was_never_shipped_is_known_by_its_lines() {
    let mut sim = sim();
    sim.disk.set_handle_limit(6);
    sim.write_text("");
    sim.log = LOGS[1];
    sim.write_text("");
    sim.rotate_by_rename();
    sim.write_text("");
    sim.rotate_by_rename();
    sim.write_header();
    sim.rotate_by_copy(look);
    sim.rotate_by_rename();
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.write_text("");
    let oldest = sim.oldest().expect("a rotated file");
    sim.settle();
    sim.remove(&oldest);
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.settle_and_check();
}

#[test]
fn the_archive_of_a_log_that_changed_during_the_question_is_not_shipped_beside_it() {
    let mut sim = sim();
    sim.write_header();
    sim.rotate_by_copy(look);
    sim.write(1);
    sim.advance(Duration::from_millis(20));
    sim.rotate_by_copy(look);
    sim.write_header();
    sim.rotate_by_rename();
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.advance(Duration::from_secs(3));
    sim.settle_and_check();
}

#[test]
fn logs_with_the_same_contents_and_no_times_are_each_shipped() {
    let mut sim = sim();
    for down in [false, true, false, true] {
        if down {
            sim.stop();
        }
        sim.write_text("the job is done\n");
        sim.rotate_by_rename();
        if down {
            sim.start_again();
        }
        sim.settle();
    }
    assert_eq!(sim.arrived().lines().count(), 4);
}

#[test]
fn compressed_logs_with_the_same_contents_and_no_times_are_each_shipped() {
    for keep_checkpoint in [true, false] {
        let mut sim = sim();
        for (round, is_down) in [true, false, true, true, false].into_iter().enumerate() {
            if is_down {
                sim.stop();
            }
            for _ in 0..2 {
                sim.write_text("the job is done\n");
                if !is_down {
                    sim.settle();
                }
                sim.rotate_by_rename();
                sim.compress(CompressionFormat::Gzip, |_| {});
            }
            if is_down {
                sim.start_again();
            }
            sim.settle();
            assert_eq!(sim.arrived().lines().count(), 2 * (round + 1), "round {round}");
            sim.restart(0, keep_checkpoint);
            sim.settle();
            assert_eq!(sim.arrived().lines().count(), 2 * (round + 1), "after a restart");
        }
    }
}

#[test]
fn a_line_without_its_end_that_is_rotated_and_compressed_at_once_comes_once() {
    let mut sim = sim();
    sim.write_unique("half", " ");
    sim.settle();
    sim.rotate_by_rename();
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.advance(Duration::from_secs(3));
    sim.settle_and_check();
}

#[test]
fn a_rotated_log_with_the_number_of_a_held_file_that_is_gone_is_shipped() {
    let mut sim = sim();
    sim.write_header();
    sim.rotate_by_rename();
    sim.write_header();
    assert!(sim.edit_rotated(false));
    sim.remove(&rotated(1));
    sim.turn();
    sim.rotate_by_rename();
    sim.write_header();
    sim.rotate_by_copy(|_| {});
    sim.settle_and_check();
}

#[test]
fn a_copy_that_is_written_to_is_shipped_from_there_on() {
    let mut sim = rotated_once();
    sim.rotate_by_copy(|_| {});
    sim.write(3);
    sim.settle();
    for _ in 0..2 {
        sim.write_late("late\n");
        sim.settle_and_check();
    }
}

#[test]
fn an_edited_log_that_is_compressed_by_the_next_rotation_stays_held() {
    for down in [false, true] {
        let mut sim = rotated_once();
        sim.edit_rotated(false);
        if down {
            sim.stop();
        }
        sim.write(3);
        let edited = compress(CompressionFormat::Gzip, &sim.bytes(&rotated(1)));
        sim.disk.remove(&rotated(1));
        let archive = sim.disk.create(&format!("{LIVE}.2.gz"));
        sim.disk.append(&archive, &edited);
        sim.rotate_by_rename();
        sim.write(3);
        if down {
            sim.start_again();
        }
        sim.settle_and_check();
        let [held] = sim.held() else {
            panic!("{:?}", sim.held())
        };
        assert!(held.path.contains(".gz"), "{held:?}");
    }
}

#[test]
fn a_dated_log_that_a_program_writes_beside_a_constant_one_is_shipped() {
    let mut sim = rotated_once();
    let dated = sim.disk.create(&format!("{LIVE}-20261130"));
    for line in 0..10 {
        sim.disk.append(&dated, format!("dated {line}\n").as_bytes());
        sim.settle();
    }
    assert_eq!(sim.arrived().matches("dated").count(), 10);
    assert_eq!(sim.held(), []);
}

#[test]
fn a_rotated_log_that_is_edited_beside_its_copy_is_held() {
    let mut sim = sim();
    sim.write_header();
    sim.rotate_by_copy(super::look);
    sim.write(2);
    sim.rotate_by_rename();
    sim.copy_beside(|_| {});
    sim.write_header();
    assert!(sim.edit_rotated(true));
    sim.settle_and_check();
}

#[test]
fn a_copied_log_with_the_inode_of_an_empty_archive_that_is_gone_is_shipped() {
    let mut sim = sim();
    sim.write_text("");
    sim.rotate_by_rename();
    sim.write_header();
    sim.settle();
    // It appears beside the log, as rotation has made no empty archive.
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.settle();
    sim.remove(&format!("{}.gz", rotated(1)));
    sim.rotate_by_rename();
    sim.write_header();
    sim.rotate_by_copy(super::look);
    sim.settle_and_check();
    assert_eq!(sim.held(), []);
}

#[derive(Debug, Clone)]
enum EditStep {
    Other(ScenarioStep),
    Edit(bool),
    /// With `true`, the sender works while the file is copied.
    Copy(bool),
}

fn edit_step() -> impl Strategy<Value = EditStep> {
    prop_oneof![
        8 => step().prop_map(EditStep::Other),
        1 => any::<bool>().prop_map(EditStep::Edit),
        1 => any::<bool>().prop_map(EditStep::Copy),
    ]
}

fn play_edit(sim: &mut Simulation, step: &EditStep) {
    match step {
        // What is held, and what was shipped of a file that is gone, is known from the checkpoint.
        EditStep::Other(ScenarioStep::Restart(arrive, _)) => sim.restart(*arrive, true),
        // A line that is written to a copy makes it another file.
        EditStep::Other(ScenarioStep::Names(_) | ScenarioStep::Late) => {}
        EditStep::Other(step) => play(sim, step),
        EditStep::Edit(in_place) => {
            sim.edit_rotated(*in_place);
        }
        // Half a copy of a file that was finished and closed is known only by lying beside a log that the sender follows.
        EditStep::Copy(true) if sim.has_settled_live() => sim.copy_beside(super::look),
        EditStep::Copy(true) => sim.copy_beside(|_| {}),
        EditStep::Copy(false) => sim.copy_beside(|_| {}),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_edited_or_copied_beside_the_log_is_not_shipped_and_all_else_is(
        steps in prop::collection::vec(edit_step(), 1..60),
        naming in naming(),
    ) {
        let mut sim = Simulation::new(config(4096, 100, 2048));
        sim.naming = naming;
        for step in &steps {
            play_edit(&mut sim, step);
        }
        sim.settle_and_check();
    }
}
