//! Lines that were shipped come back in another file: somebody kept the last lines of a log, or put back an older state.

use std::time::Duration;

use proptest::prelude::*;

use super::log_writer::LIVE;
use super::sim_relay::SimRelay;
use super::simulation::Simulation;
use super::{ScenarioStep, look, naming, play, settled, sim, sized, step, written};
use crate::files::compressed::CompressionFormat;
use crate::streams::timed_line::time_of;

/// Which lines of the live file are left.
#[derive(Debug, Clone, Copy)]
enum Kept {
    First(usize),
    Last(usize),
}

impl Simulation {
    fn live_lines(&self) -> Vec<Vec<u8>> {
        let bytes = self
            .disk
            .get(self.log)
            .map(|file| file.borrow().bytes.clone())
            .unwrap_or_default();
        bytes
            .split_inclusive(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// All is shipped; then only some lines are left in the live file, in place or in another file. `during` runs while they are
    /// written. Returns whether enough lines are left to recognise them.
    fn keep(&mut self, kept: Kept, in_place: bool, during: impl FnMut(&mut Self)) -> bool {
        self.settle();
        self.keep_while_down(kept, in_place, during)
    }

    fn keep_while_down(&mut self, kept: Kept, in_place: bool, mut during: impl FnMut(&mut Self)) -> bool {
        let mut lines = self.live_lines();
        let rest = lines.pop_if(|line| !line.ends_with(b"\n")).unwrap_or_default();
        let lines_before = lines.len();
        let left = match kept {
            // The rest of a line is lost, or stands in two files.
            _ if !rest.is_empty() && !in_place => return false,
            Kept::First(_) if !rest.is_empty() => return false,
            Kept::First(count) => lines.into_iter().take(count).collect::<Vec<_>>(),
            Kept::Last(count) => lines.split_off(lines.len().saturating_sub(count)),
        };
        if lines_before == left.len() {
            return false;
        }
        let least = if matches!(kept, Kept::Last(_)) { 2 } else { 4 };
        if left.iter().filter(|line| time_of(line).is_some()).count() < least {
            return false;
        }
        let (log, left) = (self.log, left.concat());
        if let Some(life) = self.names.get(log) {
            // The rest of a line goes with the other file.
            let mut life = life.borrow_mut();
            let whole = life.bytes.len() - rest.len();
            life.bytes.truncate(whole);
        }
        let file = match self.disk.get(log).filter(|_| in_place) {
            Some(file) => {
                self.disk.truncate(&file);
                file
            }
            None => self.disk.create(log),
        };
        let life = self.new_life();
        life.borrow_mut().left_out = left.len();
        let bytes = [left, rest].concat();
        for part in bytes.chunks(bytes.len().div_ceil(2)) {
            during(self);
            self.disk.append(&file, part);
            life.borrow_mut().bytes.extend_from_slice(part);
        }
        true
    }
}

impl Simulation {
    /// The newest rotated log is copied to the live path. `during` runs while it is.
    fn put_back(&mut self, in_place: bool, mut during: impl FnMut(&mut Self)) {
        let name = self.rotated().into_iter().next();
        let original = name.and_then(|name| self.disk.get(&name));
        let bytes = original.map_or_else(Vec::new, |file| file.borrow().bytes.clone());
        let lines = || bytes.split_inclusive(|&byte| byte == b'\n');
        let (first, last) = (
            lines().next().and_then(time_of),
            lines().next_back().and_then(time_of),
        );
        // Lines without times, and those of one second, prove nothing; the rest of a line stands in both files.
        let is_whole = |bytes: &[u8]| bytes.is_empty() || bytes.ends_with(b"\n");
        if first.is_none() || last <= first || !is_whole(&bytes) || !is_whole(&self.live_lines().concat()) {
            return;
        }
        let file = match self.disk.get(self.log).filter(|_| in_place) {
            Some(file) => {
                self.disk.truncate(&file);
                file
            }
            None => self.disk.create(self.log),
        };
        let life = self.new_life();
        life.borrow_mut().left_out = bytes.len();
        for part in bytes.chunks(bytes.len().div_ceil(2)) {
            during(self);
            self.disk.append(&file, part);
            life.borrow_mut().bytes.extend_from_slice(part);
        }
    }
}

const KEPT: [Kept; 4] = [Kept::First(40), Kept::First(99), Kept::Last(2), Kept::Last(60)];

#[test]
fn lines_that_were_kept_or_put_back_are_not_shipped_again() {
    for kept in KEPT {
        for in_place in [false, true] {
            for during in [look as fn(&mut Simulation), |_| {}] {
                let mut sim = settled(100);
                assert!(sim.keep(kept, in_place, during));
                sim.write(50);
                sim.settle_and_check();
                sim.rotate_by_rename();
                sim.write(5);
                sim.restart(0, true);
                sim.settle_and_check();
            }
        }
    }
}

#[test]
fn lines_that_came_back_while_the_sender_was_down_are_not_shipped_again() {
    for kept in KEPT {
        for in_place in [false, true] {
            let mut sim = settled(100);
            sim.settle();
            sim.stop();
            assert!(sim.keep_while_down(kept, in_place, |_| {}));
            sim.write(50);
            sim.start_again();
            sim.settle_and_check();
        }
    }
}

#[test]
fn a_rotated_log_that_is_put_back_while_it_stays_is_not_shipped_again() {
    for in_place in [false, true] {
        for is_watched in [false, true] {
            for is_down in [false, true] {
                let mut sim = settled(100);
                sim.rotate_by_rename();
                sim.write(u32::from(in_place) * 7);
                sim.settle();
                if is_down {
                    sim.stop();
                }
                let during = if is_watched && !is_down {
                    look
                } else {
                    |_: &mut Simulation| {}
                };
                sim.put_back(in_place, during);
                if is_down {
                    sim.start_again();
                }
                sim.settle();
                sim.write(50);
                sim.settle_and_check();
                sim.rotate_by_rename();
                sim.write(5);
                sim.restart(0, true);
                sim.settle_and_check();
            }
        }
    }
}

#[test]
fn lines_of_one_second_are_shipped_although_the_rotated_log_has_them_too() {
    let lines: String = (0..9).fold(String::new(), |text, path| {
        text + &format!("1796000000 GET /{path}\n")
    });
    let mut sim = sim();
    for _ in 0..2 {
        sim.write_text(&lines);
        sim.settle();
        sim.rotate_by_rename();
    }
    sim.settle();
    assert_eq!(sim.arrived(), lines.repeat(2));
}

#[test]
fn the_rest_of_a_line_that_is_kept_after_known_lines_is_not_lost() {
    let mut sim = written(11);
    assert!(sim.keep(Kept::Last(3), false, |_| {}));
    sim.write_unique("half", " ");
    assert!(sim.keep(Kept::Last(2), true, |_| {}));
    sim.restart(0, true);
    sim.settle_and_check();
}

#[test]
fn lines_come_back_again_and_again() {
    let mut sim = settled(100);
    for kept in [Kept::Last(50), Kept::First(30), Kept::Last(20), Kept::First(15)] {
        assert!(sim.keep(kept, true, |_| {}));
        sim.write(10);
        sim.settle_and_check();
        sim.restart(0, true);
    }
}

#[test]
fn a_log_that_begins_in_the_middle_of_a_shipped_line_goes_on_after_it() {
    let mut sim = settled(100);
    let bytes = sim.live_lines().concat();
    let file = sim.disk.get(LIVE).expect("the log");
    sim.disk.truncate(&file);
    sim.disk.append(&file, &bytes[bytes.len() - 1000..]);
    sim.settle();
    let arrived = sim.arrived();
    sim.disk.append(&file, b"the next\n");
    sim.settle();
    assert_eq!(sim.arrived(), arrived + "the next\n");
}

#[test]
fn an_older_state_that_ends_in_the_middle_of_a_line_is_shipped_from_that_line_on() {
    let mut sim = settled(100);
    let bytes = sim.live_lines().concat();
    let file = sim.disk.get(LIVE).expect("the log");
    sim.disk.truncate(&file);
    sim.disk.append(&file, &bytes[..1000]);
    sim.disk.append(&file, b" torn\nthe next\n");
    let arrived = sim.arrived();
    sim.settle();
    let line_start = bytes[..1000]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |end| end + 1);
    let torn = String::from_utf8_lossy(&bytes[line_start..1000]).into_owned();
    assert_eq!(sim.arrived(), arrived + &torn + " torn\nthe next\n");
}

#[test]
fn a_greeting_without_times_is_shipped_each_time() {
    let greeting = (0..30).fold(String::new(), |text, line| {
        text + &format!("the program says {line}\n")
    });
    let mut sim = sim();
    for end in ["one\n", "two\n", "three\n"] {
        sim.write_text(&format!("{greeting}{end}"));
        sim.settle();
        let file = sim.disk.get(LIVE).expect("the log");
        sim.disk.truncate(&file);
    }
    assert_eq!(sim.arrived().lines().count(), 93);
}

#[test]
fn equal_lines_of_one_second_are_shipped_each_time() {
    let mut sim = sim();
    sim.write_text("1796000000 GET /\n");
    sim.write_text(&"1796000000 GET /health\n".repeat(20));
    sim.settle();
    let file = sim.disk.get(LIVE).expect("the log");
    sim.disk.truncate(&file);
    sim.disk
        .append(&file, "1796000000 GET /health\n".repeat(10).as_bytes());
    sim.settle();
    assert_eq!(sim.arrived().lines().count(), 1 + 20 + 10);
}

#[test]
fn lines_that_were_written_before_old_ones_came_back_are_shipped() {
    for new in [1, 2, 5] {
        let mut sim = settled(100);
        let old = sim.live_lines();
        let old = old[old.len() - 60..].concat();
        sim.truncate();
        sim.write(new);
        let arrived = sim.arrived();
        let file = sim.disk.get(LIVE).expect("the log");
        sim.disk.append(&file, &old);
        sim.settle();
        let shipped = sim.arrived();
        let first = format!("{:06}", 101);
        assert!(
            shipped.len() > arrived.len() && shipped.contains(&first),
            "{shipped}"
        );
    }
}

#[test]
fn a_relay_that_lost_lines_gets_those_of_a_compressed_quiet_log_again() {
    let mut sim = settled(20);
    sim.rotate_by_rename();
    sim.settle();
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.write(3);
    sim.settle();
    sim.relay = SimRelay {
        lost_ledger: true,
        ..Default::default()
    };
    sim.write(3);
    sim.settle_and_check();
}

#[test]
fn a_relay_that_lost_known_lines_gets_them_from_the_file_that_has_them_now() {
    for is_down in [false, true] {
        let mut sim = settled(100);
        assert!(sim.keep(Kept::Last(60), true, |_| {}));
        sim.settle();
        sim.relay = SimRelay {
            lost_ledger: true,
            ..Default::default()
        };
        if is_down {
            sim.restart(0, true);
        }
        sim.write(3);
        sim.settle();
        let live = String::from_utf8_lossy(&sim.live_lines().concat()).into_owned();
        let kept = live.lines().filter(|line| !line.contains("ping"));
        assert_eq!(
            sim.arrived().lines().collect::<Vec<_>>(),
            kept.collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_log_that_keeps_its_last_lines_and_is_copied_before_the_next_look_ships_none_again() {
    let mut sim = sim();
    sim.write(6);
    sim.keep(Kept::Last(2), true, |_| {});
    sim.write(4);
    sim.rotate_by_copy(look);
    sim.write(6);
    sim.advance(Duration::from_secs(3));
    sim.settle_and_check();
}

#[test]
fn a_late_line_of_an_empty_rotated_file_that_is_compressed_at_once_is_shipped() {
    let mut sim = sim();
    sim.write_header();
    sim.rotate_by_copy(look);
    sim.rotate_by_rename();
    sim.write_header();
    sim.settle();
    sim.write_late("late\n");
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.settle_and_check();
    assert_eq!(sim.held(), []);
}

#[derive(Debug, Clone)]
enum KeepStep {
    Other(ScenarioStep),
    /// With `true`, in place; with the second one, the sender works meanwhile.
    Keep(Kept, bool, bool),
}

fn keep_step() -> impl Strategy<Value = KeepStep> {
    let kept = prop_oneof![
        (1_usize..20).prop_map(Kept::First),
        (1_usize..20).prop_map(Kept::Last)
    ];
    prop_oneof![
        8 => step().prop_map(KeepStep::Other),
        1 => (kept, any::<bool>(), any::<bool>())
            .prop_map(|(kept, in_place, is_watched)| KeepStep::Keep(kept, in_place, is_watched)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_line_arrives_once_although_lines_come_back(
        steps in prop::collection::vec(keep_step(), 1..60),
        small in any::<bool>(),
        naming in naming(),
    ) {
        let mut sim = sized(small, naming);
        for step in &steps {
            match *step {
                // The marks are in the checkpoint.
                KeepStep::Other(ScenarioStep::Restart(arrive, _)) => sim.restart(arrive, true),
                KeepStep::Other(ScenarioStep::Names(_)) => {}
                KeepStep::Other(ref step) => play(&mut sim, step),
                KeepStep::Keep(kept, in_place, true) => {
                    sim.keep(kept, in_place, look);
                }
                KeepStep::Keep(kept, in_place, false) => {
                    sim.keep(kept, in_place, |_| {});
                }
            }
        }
        sim.advance(Duration::from_secs(3));
        sim.settle_and_check();
    }

    /// Lines of a log that is put back in many ways may come twice, but none is ever left out that is new.
    #[test]
    fn no_line_is_missing_although_rotated_logs_are_put_back(
        steps in prop::collection::vec((step(), prop::option::weighted(0.2, any::<(bool, bool)>())), 1..60),
        small in any::<bool>(),
        naming in naming(),
    ) {
        let mut sim = sized(small, naming);
        for (step, put_back) in &steps {
            play(&mut sim, step);
            if let Some((in_place, is_watched)) = *put_back {
                // What is overwritten before it is shipped is lost.
                sim.settle();
                let during: fn(&mut Simulation) = if is_watched { look } else { |_| {} };
                sim.put_back(in_place, during);
            }
        }
        sim.advance(Duration::from_secs(3));
        sim.settle();
        // A file that is held is named to people.
        if sim.held().is_empty() {
            prop_assert_eq!(sim.missing_lines(), Vec::<String>::new());
        }
    }
}
