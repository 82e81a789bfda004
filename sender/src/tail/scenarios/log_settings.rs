//! The configuration of the logs changes, two logs find one file, and `start: end`.

use std::time::Duration;

use logferry_config::{LogSettings, StartPosition};
use proptest::prelude::*;

use super::log_writer::{LIVE, LOGS};
use super::sim_relay::RequestOutcome;
use super::simulation::{Simulation, config};
use super::{ScenarioStep, naming, play, rotated, settled, sim, starting_at_end, step};
use crate::files::compressed::CompressionFormat;

/// The names of the streams' logs at the relay.
fn log_names(sim: &Simulation) -> Vec<&str> {
    let streams = sim.relay.streams.iter();
    streams.map(|stored| stored.log.as_str()).collect()
}

#[test]
fn a_log_with_a_new_name_goes_on_at_its_committed_offset() {
    let mut sim = settled(500);
    sim.rename_logs(["other", "site"]);
    sim.write(200);
    sim.settle_and_check();
    assert_eq!(log_names(&sim), ["other"]);
}

#[test]
fn a_log_with_a_new_name_and_a_lost_state_folder_goes_on_too() {
    let mut sim = settled(500);
    sim.rename_logs(["other", "site"]);
    sim.is_renamed = false;
    sim.restart(0, false);
    sim.write(200);
    sim.settle_and_check();
    assert_eq!(log_names(&sim), ["other"]);
}

#[test]
fn logs_that_change_their_names_with_each_other_go_on() {
    let mut sim = settled(50);
    sim.log = LOGS[1];
    sim.write(50);
    sim.settle();
    sim.rename_logs(["site", "access"]);
    for log in LOGS {
        sim.log = log;
        sim.write(20);
        sim.rotate_by_rename();
        sim.compress(CompressionFormat::Gzip, |_| {});
        sim.write(3);
    }
    sim.settle_and_check();
}

#[test]
fn a_log_that_was_moved_and_renamed_goes_on() {
    let mut sim = settled(50);
    sim.stop();
    let moved = "/log/moved.log";
    sim.disk.rename(LIVE, moved);
    let log = &mut sim.config_mut().logs[0];
    (log.path, log.name) = (moved.into(), "moved".parse().expect("a name"));
    sim.start_again();
    let file = sim.disk.get(moved).expect("the log");
    sim.disk.append(&file, b"one more\n");
    sim.settle();
    assert_eq!(sim.arrived().lines().count(), 41, "a fifth is excluded");
}

#[test]
fn the_end_that_was_marked_of_a_log_stays_its_own_beside_a_glob_for_the_folder_above() {
    let mut settings = config(4096, 100, 2048);
    let above = LogSettings {
        name: "above".parse().expect("a name"),
        path: "/*.log".into(),
        ..settings.logs[0].clone()
    };
    settings.logs.insert(0, above);
    settings.logs[1].start = StartPosition::End;
    let mut sim = Simulation::new(settings);
    sim.write(100);
    sim.leave_out();
    wait_for_relay(&mut sim);
    sim.restart(0, true);
    sim.write(10);
    sim.settle();
    assert_eq!(sim.arrived().lines().count(), 8, "a fifth is excluded");
}

fn with_a_second_log_for_all() -> Simulation {
    let mut settings = config(4096, 100, 2048);
    let log = LogSettings {
        name: "all".parse().expect("a name"),
        path: "/log/*.log".into(),
        ..settings.logs[0].clone()
    };
    settings.logs.push(log);
    Simulation::new(settings)
}

#[test]
fn of_two_logs_that_find_a_file_the_first_ships_it() {
    let mut sim = with_a_second_log_for_all();
    for keep_checkpoint in [true, false] {
        for log in LOGS {
            sim.log = log;
            sim.write(20);
            sim.rotate_by_rename();
            sim.write(3);
        }
        sim.settle_and_check();
        sim.restart(1, keep_checkpoint);
    }
    assert!(!log_names(&sim).contains(&"all"), "{:?}", log_names(&sim));
}

#[test]
fn a_file_that_is_moved_to_the_name_of_another_log_goes_on_there() {
    for down in [false, true] {
        let mut sim = with_a_second_log_for_all();
        let file = sim.disk.create("/log/shop.log");
        sim.disk.append(&file, b"000001 one\n000002 two\n");
        sim.settle();
        assert_eq!(log_names(&sim), ["all"]);
        if down {
            sim.stop();
        }
        sim.disk.rename("/log/shop.log", LIVE);
        sim.disk.append(&file, b"000003 three\n");
        if down {
            sim.start_again();
        }
        sim.settle();
        assert_eq!(sim.arrived(), "000001 one\n000002 two\n000003 three\n", "{down}");
        assert_eq!(log_names(&sim), ["access"]);
    }
}

/// The relay is away for some seconds.
fn wait_for_relay(sim: &mut Simulation) {
    for _ in 0..5 {
        sim.hear(true);
        sim.turn();
        while !sim.requests.is_empty() {
            sim.answer(0, RequestOutcome::Lost);
        }
        sim.advance(Duration::from_secs(2));
    }
}

/// A hundred lines that `start: end` leaves out; the first start sees them, and the relay is away.
fn first_start_without_relay() -> Simulation {
    let mut sim = starting_at_end();
    sim.write(100);
    sim.leave_out();
    wait_for_relay(&mut sim);
    sim
}

#[test]
fn the_end_is_what_the_first_start_saw() {
    for restarts in [0, 1, 2] {
        let mut sim = first_start_without_relay();
        sim.write(100);
        for _ in 0..restarts {
            wait_for_relay(&mut sim);
            sim.restart(0, true);
        }
        sim.settle_and_check();
        assert_eq!(sim.arrived().lines().count(), 80, "a fifth is excluded");
    }
}

#[test]
fn the_end_stays_where_it_was_over_rotations_while_the_relay_is_away() {
    let rotations: [fn(&mut Simulation); 4] = [
        Simulation::rotate_by_rename,
        |sim| sim.rotate_by_copy(|_| {}),
        |sim| {
            sim.rotate_by_rename();
            sim.compress(CompressionFormat::Gzip, |_| {});
        },
        |sim| sim.rotate_by_copy(wait_for_relay),
    ];
    for rotate in rotations {
        for down in [false, true] {
            let mut sim = first_start_without_relay();
            sim.write(10);
            if down {
                sim.stop();
            }
            rotate(&mut sim);
            sim.write(10);
            if down {
                sim.start_again();
            }
            wait_for_relay(&mut sim);
            sim.restart(1, true);
            sim.write(10);
            sim.settle_and_check();
            assert_eq!(sim.arrived().lines().count(), 24, "a fifth is excluded");
        }
    }
}

#[test]
fn the_end_of_each_file_counts_although_the_relay_knows_another_one() {
    let mut sim = starting_at_end();
    sim.write(10);
    sim.rotate_by_rename();
    sim.write(10);
    sim.leave_out();
    sim.turn();
    sim.answer(0, RequestOutcome::Done);
    sim.advance(Duration::from_secs(1));
    sim.turn();
    // The chunk that leaves out the first file arrives, and the sender never hears of it.
    sim.restart(1, true);
    sim.write(10);
    sim.settle_and_check();
}

#[test]
fn a_file_that_could_not_be_read_at_the_first_start_starts_at_the_end_it_had_then() {
    let mut sim = starting_at_end();
    sim.write(10);
    sim.leave_out();
    let file = sim.disk.get(LIVE).expect("the log");
    file.borrow_mut().is_locked = true;
    wait_for_relay(&mut sim);
    sim.restart(0, true);
    sim.write(10);
    wait_for_relay(&mut sim);
    file.borrow_mut().is_locked = false;
    drop(file);
    sim.settle_and_check();
}

#[test]
fn what_appears_after_a_first_search_that_could_not_see_all_is_shipped() {
    let mut sim = starting_at_end();
    sim.disk.hide(Some(LIVE));
    sim.settle();
    sim.restart(0, true);
    sim.disk.hide(None);
    sim.write(10);
    sim.settle_and_check();
}

#[test]
fn the_first_start_leaves_out_archives_that_are_not_decompressed_yet() {
    for files in [1, 40] {
        let mut sim = starting_at_end();
        for _ in 0..files {
            sim.write_header();
            sim.rotate_by_rename();
            sim.compress(CompressionFormat::Gzip, |_| {});
        }
        sim.leave_out();
        sim.turn();
        sim.restart(0, true);
        sim.write(10);
        sim.settle_and_check();
    }
}

#[test]
fn the_end_of_a_log_counts_that_a_sender_gets_later() {
    let mut settings = config(4096, 100, 2048);
    settings.logs.truncate(1);
    let mut sim = Simulation::new(settings);
    sim.write(10);
    sim.settle();
    sim.log = LOGS[1];
    sim.write(10);
    let log = LogSettings {
        start: StartPosition::End,
        ..config(4096, 100, 2048).logs.remove(1)
    };
    sim.stop();
    sim.config_mut().logs.push(log);
    let life = sim.names.get(LOGS[1]).expect("the log").clone();
    let end = life.borrow().bytes.len();
    life.borrow_mut().left_out = end;
    sim.start_again();
    sim.settle();
    sim.write(10);
    sim.restart(0, true);
    sim.settle_and_check();
}

#[test]
fn a_state_folder_that_was_lost_leaves_nothing_out() {
    let mut sim = starting_at_end();
    sim.write(10);
    sim.leave_out();
    sim.settle();
    sim.write(10);
    sim.settle();
    sim.write(10);
    sim.rotate_by_rename();
    sim.write(10);
    // The first start ends in between.
    sim.restart(0, false);
    wait_for_relay(&mut sim);
    sim.restart(0, true);
    sim.settle_and_check();
    assert!(sim.disk.get(&rotated(1)).is_some());
}

#[test]
fn a_first_start_with_nothing_to_leave_out_ships_everything() {
    let mut sim = sim();
    sim.config_mut().logs[0].start = StartPosition::End;
    sim.start_again();
    wait_for_relay(&mut sim);
    sim.write(10);
    sim.restart(0, true);
    sim.settle_and_check();
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn all_that_is_written_after_the_first_start_arrives_once_and_nothing_else(
        before in prop::collection::vec(step(), 0..15),
        steps in prop::collection::vec(step(), 1..50),
        naming in naming(),
    ) {
        let mut settings = config(4096, 100, 2048);
        settings.logs.iter_mut().for_each(|log| log.start = StartPosition::End);
        let mut sim = Simulation::new(settings);
        sim.naming = naming;
        let is_of_writer = |step: &&ScenarioStep| matches!(
            step,
            ScenarioStep::Log(_) | ScenarioStep::Touch | ScenarioStep::Header | ScenarioStep::Write(_)
                | ScenarioStep::Rename | ScenarioStep::Compress(..)
        );
        for step in before.iter().filter(is_of_writer) {
            // Nobody watches yet.
            let step = match *step {
                ScenarioStep::Compress(format, _) => ScenarioStep::Compress(format, false),
                ref step => step.clone(),
            };
            play(&mut sim, &step);
        }
        sim.leave_out();
        sim.turn();
        for step in &steps {
            match *step {
                ScenarioStep::Restart(arrive, _) => sim.restart(arrive, true),
                // What is lost of a file of which nothing was acknowledged is not known.
                ScenarioStep::Cut | ScenarioStep::Delete(_) => {}
                _ => play(&mut sim, step),
            }
        }
        sim.settle_and_check();
    }
}
