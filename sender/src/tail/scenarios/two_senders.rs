//! Two senders with one source, whose disks were one: a cloned machine, or a copy of logs and state folder.
//!
//! The copy is made while nothing is unsent. From then on each writes lines of its own, of the same lengths as the other's,
//! into files that have the same inodes, and both ship them to one relay.

use std::time::Duration;

use proptest::prelude::*;

use super::log_writer::{FileLife, shipped};
use super::sim_relay::{RequestOutcome, SimRelay};
use super::simulation::Simulation;
use super::{settled, starting_at_end};

/// The lines of the copy are numbered from here.
const COPYS_FIRST_LINE: u32 = 500_000;

struct Twins {
    senders: [Simulation; 2],
    relay: SimRelay,
    /// The number of the last line before the copy.
    last_common: u32,
}

impl Twins {
    /// A sender that has shipped `lines` lines, and its copy.
    fn after(lines: u32) -> Self {
        Self::of(settled(lines))
    }

    fn of(mut original: Simulation) -> Self {
        let relay = std::mem::take(&mut original.relay);
        let mut copy = original.copied();
        let last_common = original.next_line;
        copy.next_line = COPYS_FIRST_LINE;
        Self {
            senders: [original, copy],
            relay,
            last_common,
        }
    }

    /// Both write the same lines from now on.
    fn alike(mut self) -> Self {
        self.senders[1].next_line = self.last_common;
        self
    }

    /// One of them acts, with the common relay.
    fn act<R>(&mut self, which: usize, act: impl FnOnce(&mut Simulation) -> R) -> R {
        let sender = &mut self.senders[which];
        self.relay.asking = which;
        std::mem::swap(&mut self.relay, &mut sender.relay);
        let result = act(sender);
        std::mem::swap(&mut self.relay, &mut sender.relay);
        result
    }

    /// Both ship what they have, in turns.
    fn settle(&mut self) {
        for _ in 0..3 {
            for which in 0..2 {
                self.act(which, Simulation::settle);
            }
        }
    }

    /// Each line of both is at the relay once; nobody reports a loss.
    fn check(&self) {
        let of_life = |life: &FileLife| shipped(&life.borrow().bytes, true, 2048);
        let mut written: Vec<String> = Vec::new();
        for (which, sender) in self.senders.iter().enumerate() {
            let text: String = sender.lives.iter().map(of_life).collect();
            let is_common = |line: &&str| line[..6].parse::<u32>().expect("a number") <= self.last_common;
            let own = text.lines().filter(|line| which == 0 || !is_common(line));
            written.extend(own.map(str::to_owned));
        }
        written.sort();
        let bodies = self
            .relay
            .streams
            .iter()
            .map(|stored| String::from_utf8_lossy(&stored.body));
        let arrived: String = bodies.collect();
        let mut arrived: Vec<&str> = arrived.lines().collect();
        arrived.sort_unstable();
        assert_eq!(arrived, written);
        for sender in &self.senders {
            let lost = sender.gaps().into_iter().filter(|(_, until)| until.is_some());
            assert_eq!(lost.collect::<Vec<_>>(), []);
        }
    }
}

#[test]
fn a_copied_sender_and_its_original_lose_and_double_nothing() {
    for first in 0..2 {
        let mut twins = Twins::after(20);
        for round in 0..3 {
            for which in [first, 1 - first] {
                twins.act(which, |sender| {
                    sender.write(7 + round);
                    sender.settle();
                });
            }
        }
        twins.settle();
        twins.check();
    }
}

#[test]
fn a_copy_that_was_started_much_later_goes_on_where_it_was_copied() {
    let mut twins = Twins::after(20);
    twins.act(0, |sender| {
        sender.write(30);
        sender.settle();
        sender.rotate_by_rename();
        sender.write(9);
        sender.settle();
    });
    twins.act(1, |sender| {
        sender.write(11);
        sender.start_again();
    });
    twins.settle();
    twins.check();
}

#[test]
fn files_with_one_inode_on_both_disks_stay_apart() {
    let mut twins = Twins::after(1);
    twins.act(1, |sender| {
        sender.turn();
        sender.answer(0, RequestOutcome::Done);
        sender.write(1);
        sender.advance(Duration::from_millis(100));
        sender.turn();
    });
    for which in 0..2 {
        // Both copies of the log get the next inode.
        twins.act(which, |sender| sender.rotate_by_copy(|_| {}));
    }
    twins.act(1, |sender| sender.answer(0, RequestOutcome::Done));
    twins.settle();
    twins.check();
}

#[test]
fn a_new_stream_that_began_just_before_a_crash_is_no_loss() {
    let mut twins = Twins::after(1);
    twins.act(0, |sender| {
        sender.write(1);
        sender.settle();
    });
    twins.act(1, |sender| {
        sender.write(1);
        sender.turn();
        sender.answer(0, RequestOutcome::Done);
        sender.advance(Duration::from_secs(1));
        sender.turn();
        // The first chunk of the new stream arrives, and the sender never hears of it.
        sender.restart(1, true);
    });
    twins.settle();
    twins.check();
}

#[test]
fn a_file_that_is_replaced_by_one_of_its_size_before_it_parts_is_shipped() {
    let mut twins = Twins::after(1);
    twins.act(0, |sender| {
        sender.write(1);
        sender.settle();
    });
    twins.act(1, |sender| {
        sender.turn();
        sender.answer(0, RequestOutcome::Done);
        sender.rotate_by_copy(|_| {});
        sender.write(1);
    });
    twins.settle();
    twins.check();
}

#[test]
fn what_start_end_left_out_is_never_shipped_though_another_sender_went_on_with_the_stream() {
    let mut original = starting_at_end();
    for text in ["old\n", "common\n"] {
        original.write_text(text);
        original.settle();
    }
    let mut twins = Twins::of(original);
    for (which, text) in ["of the original\n", "of the copy\n"].into_iter().enumerate() {
        twins.act(which, |sender| {
            sender.write_text(text);
            sender.settle();
        });
    }
    twins.relay = SimRelay {
        lost_ledger: true,
        ..SimRelay::default()
    };
    let arrived = twins.act(1, |sender| {
        sender.write_text("later\n");
        sender.settle();
        sender.arrived()
    });
    assert_eq!(arrived, "common\nof the copy\nlater\n");
}

#[derive(Debug, Clone)]
enum TwinStep {
    Write(u32),
    Rename,
    CopyTruncate,
    Advance(u64),
    Hear(bool),
    Turn,
    Answer(usize, RequestOutcome),
    Restart(usize),
}

/// Without rotations and restarts: of a file with the same lines, of which nothing is acknowledged here, nobody can know
/// whether it is a copy.
fn working_step() -> impl Strategy<Value = TwinStep> {
    let is_working = |step: &TwinStep| {
        !matches!(
            step,
            TwinStep::Rename | TwinStep::CopyTruncate | TwinStep::Restart(_)
        )
    };
    twin_step().prop_filter("no rotation", is_working)
}

fn twin_step() -> impl Strategy<Value = TwinStep> {
    let outcome = prop_oneof![
        6 => Just(RequestOutcome::Done), 1 => Just(RequestOutcome::AnswerLost),
        1 => Just(RequestOutcome::Lost), 1 => Just(RequestOutcome::Busy),
    ];
    prop_oneof![
        6 => (1_u32..8).prop_map(TwinStep::Write),
        1 => Just(TwinStep::Rename),
        1 => Just(TwinStep::CopyTruncate),
        6 => (0_u64..3000).prop_map(TwinStep::Advance),
        4 => any::<bool>().prop_map(TwinStep::Hear),
        14 => Just(TwinStep::Turn),
        14 => (0_usize..3, outcome).prop_map(|(which, outcome)| TwinStep::Answer(which, outcome)),
        1 => (0_usize..3).prop_map(TwinStep::Restart),
    ]
}

fn run(sender: &mut Simulation, step: &TwinStep) {
    match *step {
        TwinStep::Write(lines) => sender.write(lines),
        TwinStep::Rename => sender.rotate_by_rename(),
        TwinStep::CopyTruncate => sender.rotate_by_copy(|_| {}),
        TwinStep::Advance(ms) => sender.advance(Duration::from_millis(ms)),
        TwinStep::Hear(moved) => sender.hear(moved),
        TwinStep::Turn => sender.turn(),
        TwinStep::Answer(which, outcome) => sender.answer(which, outcome),
        TwinStep::Restart(arrive) => sender.restart(arrive, true),
    }
}

proptest! {
    #[test]
    fn two_senders_that_write_the_same_lines_both_ship_theirs(
        lines in 1_u32..30,
        steps in prop::collection::vec((0_usize..2, working_step()), 0..80),
    ) {
        let mut twins = Twins::after(lines).alike();
        for (which, step) in &steps {
            twins.act(*which, |sender| run(sender, step));
        }
        twins.settle();
        twins.check();
    }

    #[test]
    fn whatever_happens_two_senders_lose_and_double_nothing(
        lines in 1_u32..30,
        steps in prop::collection::vec((0_usize..2, twin_step()), 0..80),
    ) {
        let mut twins = Twins::after(lines);
        for (which, step) in &steps {
            twins.act(*which, |sender| run(sender, step));
        }
        twins.settle();
        twins.check();
    }
}
