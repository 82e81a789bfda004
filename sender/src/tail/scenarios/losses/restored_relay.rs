//! The relay is put back from a backup, replaced by an empty one, or its ledger is rebuilt.

use std::time::UNIX_EPOCH;

use logferry_protocol::resolve::{AcknowledgedStream, LedgerId};

use super::look_without_relay;
use crate::files::compressed::CompressionFormat;
use crate::tail::RelayRequest;
use crate::tail::scenarios::log_writer::LIVE;
use crate::tail::scenarios::sim_relay::{RequestOutcome, SimRelay};
use crate::tail::scenarios::simulation::Simulation;
use crate::tail::scenarios::{rotated, settled, sim, size, starting_at_end, written};

/// A relay that has forgotten what came after this copy of it.
fn put_back(relay: &SimRelay) -> SimRelay {
    SimRelay {
        lost_ledger: true,
        ..relay.clone()
    }
}

/// What the question that waits for an answer says of the only stream.
fn told(sim: &Simulation) -> AcknowledgedStream {
    let questions = sim.requests.iter().filter_map(|request| match request {
        RelayRequest::Streams(question) => Some(question),
        _ => None,
    });
    let queries = questions.flat_map(|question| &question.files);
    let mut told = queries.flat_map(|query| query.acknowledged.clone().unwrap_or_default());
    told.next().expect("a question about an acknowledged stream")
}

/// The log is rotated and compressed after the relay has all of it, and goes on.
fn archive(sim: &mut Simulation) {
    sim.write(20);
    sim.settle();
    sim.rotate_by_rename();
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.settle();
}

/// The sender connects again, after a restart if it `is_down`.
fn meet_again(sim: &mut Simulation, is_down: bool) {
    if is_down {
        sim.restart(0, true);
        sim.turn();
    }
    sim.connect();
}

#[test]
fn a_relay_that_forgot_everything_gets_everything_again() {
    let mut sim = settled(20);
    sim.relay = put_back(&SimRelay::default());
    sim.write(5);
    sim.settle_and_check();
}

#[test]
fn a_restored_or_empty_relay_gets_the_archives_again_after_a_restart() {
    for is_empty in [false, true] {
        let mut sim = settled(20);
        let backup = if is_empty {
            SimRelay::default()
        } else {
            sim.relay.clone()
        };
        archive(&mut sim);
        sim.write(5);
        sim.settle();
        sim.restart(0, true);
        sim.relay = put_back(&backup);
        sim.settle_and_check();
    }
}

#[test]
fn a_running_sender_asks_a_restored_relay_about_logs_without_new_lines() {
    let mut sim = settled(20);
    let backup = sim.relay.clone();
    sim.write(20);
    sim.settle();
    sim.relay = put_back(&backup);
    sim.connect();
    sim.settle_and_check();
}

#[test]
fn a_new_relay_gets_the_archives_of_a_host_that_has_nothing_else() {
    for is_down in [false, true] {
        let mut sim = written(20);
        sim.relay.ledger = Some(LedgerId::new(1));
        archive(&mut sim);
        sim.relay = put_back(&SimRelay::default());
        sim.relay.ledger = Some(LedgerId::new(2));
        meet_again(&mut sim, is_down);
        sim.settle_and_check();
    }
}

#[test]
fn a_rebuilt_ledger_does_not_get_the_archives_again() {
    let mut sim = written(20);
    sim.relay.ledger = Some(LedgerId::new(1));
    archive(&mut sim);
    sim.relay = put_back(&SimRelay::default());
    (sim.relay.ledger, sim.relay.is_rebuilt) = (Some(LedgerId::new(2)), true);
    sim.connect();
    sim.settle();
    assert_eq!(sim.arrived(), "");
}

#[test]
fn a_restored_ledger_gets_the_archives_that_came_after_its_backup() {
    for is_down in [false, true] {
        let mut sim = written(20);
        sim.relay.ledger = Some(LedgerId::new(1));
        sim.settle();
        let backup = sim.relay.clone();
        archive(&mut sim);
        sim.relay = put_back(&backup);
        sim.relay.restored = 7;
        meet_again(&mut sim, is_down);
        sim.settle_and_check();
    }
}

#[test]
fn an_older_relay_in_between_does_not_hide_that_the_ledger_is_restored() {
    let mut sim = written(20);
    sim.relay.ledger = Some(LedgerId::new(1));
    sim.settle();
    let backup = sim.relay.clone();
    archive(&mut sim);
    sim.relay.is_older = true;
    sim.connect();
    sim.relay = put_back(&backup);
    sim.relay.restored = 7;
    sim.connect();
    sim.settle_and_check();
}

#[test]
fn what_start_end_left_out_is_not_shipped_to_a_relay_that_has_forgotten_it() {
    for is_down in [false, true] {
        let mut sim = starting_at_end();
        sim.relay.ledger = Some(LedgerId::new(1));
        sim.write_text("in an archive\n");
        sim.rotate_by_rename();
        sim.compress(CompressionFormat::Gzip, |_| {});
        sim.write_text("in the rotated log\n");
        sim.rotate_by_rename();
        sim.write_text("old\n");
        sim.settle();
        sim.write_text("new\n");
        sim.settle();
        sim.relay = put_back(&SimRelay::default());
        sim.relay.ledger = Some(LedgerId::new(2));
        meet_again(&mut sim, is_down);
        sim.write_text("newer\n");
        sim.settle();
        assert_eq!(sim.arrived(), "new\nnewer\n", "down: {is_down}");
    }
}

#[test]
fn a_mark_that_was_used_leaves_nothing_out_of_a_later_file_that_begins_alike() {
    for is_down in [false, true] {
        let mut sim = starting_at_end();
        sim.write_text("the program starts\n");
        sim.settle();
        sim.write_text("once\n");
        sim.settle();
        if is_down {
            sim.stop();
        }
        sim.rotate_by_copy(|_| {});
        sim.write_text("the program starts\ntwice\n");
        if is_down {
            sim.start_again();
        }
        sim.settle();
        assert_eq!(
            sim.arrived(),
            "once\nthe program starts\ntwice\n",
            "down: {is_down}"
        );
    }
}

#[test]
fn a_stream_that_began_after_the_backup_is_lost_from_its_first_byte_on() {
    let mut sim = settled(20);
    let seen = size(&sim, LIVE);
    sim.stop();
    sim.delete(LIVE);
    sim.relay = put_back(&SimRelay::default());
    sim.start_again();
    sim.write(1);
    sim.settle();
    assert_eq!(sim.gaps(), [(0, Some(seen))]);
}

#[test]
fn a_file_that_begins_alike_does_not_hide_a_loss_from_an_emptied_relay() {
    let mut sim = sim();
    sim.write_text("#Fields: date time\n");
    sim.write(20);
    sim.settle();
    sim.write(20);
    look_without_relay(&mut sim);
    let seen = size(&sim, LIVE);
    sim.stop();
    sim.delete(LIVE);
    sim.write_text("#Fields: date time\n");
    sim.write(60);
    sim.relay = put_back(&SimRelay::default());
    sim.start_again();
    sim.settle();
    assert_eq!(sim.gaps(), [(0, Some(seen))]);
}

#[test]
fn what_start_end_left_out_is_no_loss_of_a_file_that_is_gone() {
    let mut sim = starting_at_end();
    sim.write(20);
    sim.rotate_by_rename();
    sim.write(1);
    sim.settle();
    sim.stop();
    sim.delete(&rotated(1));
    sim.relay = put_back(&SimRelay::default());
    sim.start_again();
    sim.settle();
    assert_eq!(sim.gaps(), []);
}

#[test]
fn a_rotated_log_is_no_loss_while_its_archive_can_be_shipped_again() {
    let mut sim = settled(20);
    sim.rotate_by_rename();
    sim.write(1);
    sim.settle();
    // As with `gzip --keep`.
    let kept = sim.disk.get(&rotated(1)).expect("the rotated log");
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.disk.link(&kept, &rotated(1));
    drop(kept);
    sim.settle();
    sim.stop();
    sim.disk.remove(&rotated(1));
    sim.relay = put_back(&SimRelay::default());
    sim.start_again();
    sim.settle_and_check();
    assert_eq!(sim.gaps(), []);
}

#[test]
fn a_file_unknown_to_the_relay_before_is_missed_by_the_one_that_replaces_it() {
    let mut sim = sim();
    sim.relay.ledger = Some(LedgerId::new(1));
    sim.connect();
    sim.write(20);
    look_without_relay(&mut sim);
    let seen = size(&sim, LIVE);
    sim.stop();
    sim.delete(LIVE);
    sim.relay.ledger = Some(LedgerId::new(2));
    sim.start_again();
    sim.settle();
    assert_eq!(sim.gaps(), [(0, Some(seen))]);
}

#[test]
fn a_deleted_copy_that_is_open_is_asked_about_again() {
    let mut sim = settled(20);
    sim.relay.ledger = Some(LedgerId::new(1));
    sim.connect();
    let bytes = sim.disk.get(LIVE).expect("the log").borrow().bytes.clone();
    let copy = sim.disk.create(&rotated(1));
    sim.disk.append(&copy, &bytes);
    drop(copy);
    sim.settle();
    sim.remove(&rotated(1));
    sim.hear(true);
    sim.turn();
    sim.relay = put_back(&SimRelay::default());
    sim.relay.ledger = Some(LedgerId::new(2));
    sim.connect();
    sim.truncate();
    sim.settle_and_check();
}

#[test]
fn an_answer_that_is_older_than_an_acknowledgement_is_no_sign_that_the_relay_forgot() {
    let mut sim = written(20);
    archive(&mut sim);
    // The relay has the lines of the archive, and not its stream.
    (sim.relay.streams, sim.relay.lost_ledger, sim.relay.is_rebuilt) = (Vec::new(), true, true);
    sim.write_text("the program starts\n");
    sim.write(5);
    sim.settle();
    let is_question = |request: &RelayRequest| matches!(request, RelayRequest::Streams(_));
    sim.write(5);
    sim.rotate_by_rename();
    sim.write_text("the program starts\n");
    sim.hear(true);
    sim.turn();
    let question = sim
        .requests
        .iter()
        .position(is_question)
        .expect("it asks about the new file");
    let question = sim.requests.remove(question);
    // The relay answers now. That answer arrives after the one to a chunk.
    let mut before = sim.relay.clone();
    sim.advance(std::time::Duration::from_secs(1));
    sim.turn();
    sim.answer(0, RequestOutcome::Done);
    sim.write_late("late\n");
    sim.hear(false);
    sim.advance(std::time::Duration::from_secs(1));
    sim.turn();
    assert!(!sim.requests.is_empty(), "a further chunk");
    sim.answer(0, RequestOutcome::Lost);
    std::mem::swap(&mut sim.relay, &mut before);
    sim.requests.insert(0, question);
    sim.answer(0, RequestOutcome::Done);
    std::mem::swap(&mut sim.relay, &mut before);
    sim.settle();
    assert_eq!(sim.arrived().matches("000001 /log").count(), 1);
}

#[test]
fn a_sender_that_was_started_again_says_until_when_it_knows_what_was_posted() {
    let mut sim = settled(20);
    let asked = |sim: &mut Simulation| {
        sim.start_again();
        sim.turn();
        told(sim).certain_until
    };
    let stopped_at = sim.now.wall.duration_since(UNIX_EPOCH).expect("later").as_secs();
    sim.stop();
    sim.write(20);
    assert_eq!(asked(&mut sim), i64::try_from(stopped_at).ok());
    assert_eq!(
        told(&sim).sent_until,
        told(&sim).stream.committed,
        "what was written meanwhile was not posted"
    );
    assert_eq!(asked(&mut sim), Some(0), "it was killed");
    // Once the relay has answered, it knows.
    sim.settle();
    sim.stop();
    assert!(asked(&mut sim).is_some_and(|until| until > 0));
    sim.settle();
    sim.write(20);
    sim.hear(true);
    sim.turn();
    sim.advance(std::time::Duration::from_secs(1));
    sim.turn();
    assert!(matches!(sim.requests[..], [RelayRequest::Chunk { .. }]));
    sim.answer(0, RequestOutcome::AnswerLost);
    sim.stop();
    assert_eq!(asked(&mut sim), Some(0), "a chunk had no answer");
}
