//! Many old files at the first start: the live file does not wait for them, and none of their lines is missing. Many live
//! files: a chunk costs no more than with few.

use std::time::Duration;

use super::log_writer::RotationNaming;
use super::sim;
use super::sim_relay::{RequestOutcome, SimCongestion};
use super::simulation::{Simulation, config};
use crate::files::compressed::CompressionFormat;
use crate::messages::RelayRequest;
use crate::tail::log::backlog::OPEN_MIN;

/// Old files of a log, and as many lines in each.
const OLD_FILES: u32 = 60;
const LINES: u32 = 300;

/// A sender that has not started yet, with old files beside an empty log.
fn with_old_files(format: Option<CompressionFormat>, naming: RotationNaming, files: u32) -> Simulation {
    let mut sim = sim();
    sim.naming = naming;
    for _ in 0..files {
        sim.write(LINES);
        sim.rotate_by_rename();
        if let Some(format) = format {
            sim.compress(format, |_| {});
        }
    }
    sim
}

/// A live line waits at most so long: `max_delay`, and some chunks of old files before it.
const WAIT_MAX: u32 = 40;

/// The log is written while the relay takes one chunk in ten milliseconds: each line arrives soon. Returns how many lines
/// had arrived with the first of them.
fn lines_with_the_first_live_one(sim: &mut Simulation) -> usize {
    let mut with_first = None;
    for _ in 0..30 {
        // Excluded lines do not arrive.
        let excluded = (sim.next_line + 1).is_multiple_of(5);
        sim.write(1 + u32::from(excluded));
        let newest = format!("{:06} ", sim.next_line);
        let mut waits = 0;
        while !sim.arrived().contains(&newest) {
            waits += 1;
            assert!(waits <= WAIT_MAX, "the live line {newest} waits");
            sim.hear(false);
            sim.turn();
            sim.answer(0, RequestOutcome::Done);
            sim.advance(Duration::from_millis(10));
        }
        with_first.get_or_insert_with(|| sim.arrived().lines().count());
    }
    with_first.unwrap_or_default()
}

#[test]
fn old_files_at_the_first_start_do_not_delay_live_lines() {
    for format in [None, Some(CompressionFormat::Gzip)] {
        let mut sim = with_old_files(format, RotationNaming::Dated, OLD_FILES);
        let with_first = lines_with_the_first_live_one(&mut sim);
        let old = (OLD_FILES * LINES) as usize;
        assert!(
            with_first < old / 2,
            "{format:?}: {with_first} of {old} lines came first"
        );
        let meanwhile = sim.arrived().lines().count() - with_first;
        assert!(
            meanwhile > 500,
            "{format:?}: {meanwhile}, the old files are shipped meanwhile"
        );
        sim.settle_and_check();
    }
}

#[test]
fn old_files_go_on_beside_the_live_one_after_a_restart() {
    let mut sim = with_old_files(Some(CompressionFormat::Gzip), RotationNaming::Dated, OLD_FILES);
    lines_with_the_first_live_one(&mut sim);
    sim.restart(1, true);
    lines_with_the_first_live_one(&mut sim);
    sim.settle_and_check();
}

#[test]
fn while_old_archives_wait_the_sender_reports_that_files_are_not_resolved() {
    let mut sim = with_old_files(Some(CompressionFormat::Gzip), RotationNaming::Dated, OLD_FILES);
    sim.write(1);
    sim.turn();
    assert!(sim.beats.last().expect("a report").unresolved_files >= u64::from(OLD_FILES));
    sim.settle_and_check();
    assert_eq!(sim.beats.last().expect("a report").unresolved_files, 0);
}

#[test]
fn old_files_are_opened_some_at_a_time_and_every_line_arrives() {
    for (naming, format, old) in [
        (RotationNaming::Dated, None, OLD_FILES),
        (RotationNaming::Dated, Some(CompressionFormat::Gzip), OLD_FILES),
        (RotationNaming::Numbered, None, 8),
    ] {
        let mut sim = with_old_files(format, naming, old);
        sim.advance(Duration::from_hours(1));
        sim.write(LINES);
        let limit = old as usize;
        sim.disk.set_handle_limit(limit);
        sim.turn();
        let waiting = sim.beats.last().expect("a report").unresolved_files;
        assert!(waiting >= u64::from(old), "they are reported: {waiting}");
        sim.settle_and_check();
        assert!(
            sim.disk.most_open() <= limit / 2 + OPEN_MIN,
            "{} of {limit}",
            sim.disk.most_open()
        );
        assert_eq!(sim.beats.last().expect("a report").unresolved_files, 0);
        if old < OLD_FILES {
            sim.check_order();
        }
        sim.restart(0, true);
        sim.settle_and_check();
    }
}

/// So many logs get a line each. Returns at how many sequences of files the sender looked for each of the chunks.
fn looks_for_a_chunk(logs: u32) -> f64 {
    let mut settings = config(4096, 100, 2048);
    settings.logs[1].path = "/log/site-*.log".to_owned();
    let mut sim = Simulation::new(settings);
    let files: Vec<_> = (0..logs)
        .map(|log| sim.disk.create(&format!("/log/site-{log}.log")))
        .collect();
    let write = |sim: &mut Simulation, text: &str| {
        for (log, file) in files.iter().enumerate() {
            sim.disk.append(file, format!("{log} {text}\n").as_bytes());
        }
    };
    write(&mut sim, "first");
    sim.settle();
    write(&mut sim, "second");
    sim.hear(false);
    sim.turn();
    sim.advance(Duration::from_millis(100));
    let (looks, shipped) = (sim.sequence_looks(), sim.arrived().lines().count());
    while sim.arrived().lines().count() < shipped + logs as usize {
        sim.turn();
        assert!(!sim.requests.is_empty(), "there is more to ship");
        sim.answer(0, RequestOutcome::Done);
    }
    f64::from(u32::try_from(sim.sequence_looks() - looks).expect("few")) / f64::from(logs)
}

#[test]
fn what_a_chunk_costs_does_not_grow_with_the_number_of_logs() {
    let (few, many) = (looks_for_a_chunk(20), looks_for_a_chunk(400));
    assert!(few.max(many) < 4.0, "{few} looks with few logs, {many} with many");
}

#[test]
fn live_paths_that_are_not_used_any_more_are_forgotten() {
    let mut settings = config(4096, 100, 2048);
    settings.logs[1].path = "/log/site-*.log".to_owned();
    let mut sim = Simulation::new(settings);
    let log = |sim: &mut Simulation, day: u32| {
        let path = format!("/log/site-{day}.log");
        let file = sim.disk.create(&path);
        sim.disk.append(&file, format!("day {day}\n").as_bytes());
        sim.settle();
        path
    };
    for day in 0..5 {
        let path = log(&mut sim, day);
        sim.disk.rename(&path, &format!("/old/{day}"));
    }
    let last = log(&mut sim, 5);
    assert_eq!(sim.live_paths(), 1, "of the last day");
    // A path comes back: nothing of its file is doubled, and all chains go on.
    sim.disk.rename("/old/1", "/log/site-1.log");
    sim.settle();
    for path in [&last, "/log/site-1.log"] {
        let file = sim.disk.get(path).expect("the log");
        sim.disk.append(&file, format!("more {path}\n").as_bytes());
    }
    sim.settle();
    let arrived = sim.arrived();
    let mut lines: Vec<_> = arrived.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 8, "{lines:?}");
    lines.dedup();
    assert_eq!(lines.len(), 8, "{lines:?}");
    assert_eq!(sim.live_paths(), 2);
}

/// The chunks in flight, after the relay has answered some.
fn chunks_in_flight(sim: &mut Simulation) -> usize {
    for _ in 0..5 {
        sim.turn();
        sim.answer(0, RequestOutcome::Done);
    }
    sim.turn();
    let chunks = sim.requests.iter();
    chunks
        .filter(|request| matches!(request, RelayRequest::Chunk { .. }))
        .count()
}

#[test]
fn a_congested_relay_gets_one_chunk_at_a_time() {
    let mut sim = sim();
    sim.write(3000);
    assert_eq!(chunks_in_flight(&mut sim), 3, "as many as are allowed");
    sim.relay.congestion = SimCongestion::Dense;
    assert_eq!(chunks_in_flight(&mut sim), 1);
    sim.relay.congestion = SimCongestion::Sparse;
    assert_eq!(chunks_in_flight(&mut sim), 3);
    sim.settle_and_check();
}
