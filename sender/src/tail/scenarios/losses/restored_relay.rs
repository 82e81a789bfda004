//! The relay is put back from a backup, replaced by an empty one, or its ledger is rebuilt.

use logferry_protocol::resolve::LedgerId;

use crate::files::compressed::CompressionFormat;
use crate::tail::scenarios::sim_relay::SimRelay;
use crate::tail::scenarios::simulation::Simulation;
use crate::tail::scenarios::{settled, written};

/// A relay that has forgotten what came after this copy of it.
fn put_back(relay: &SimRelay) -> SimRelay {
    SimRelay {
        lost_ledger: true,
        ..relay.clone()
    }
}

/// The log is rotated and compressed after the relay has all of it, and goes on.
fn archive(sim: &mut Simulation) {
    sim.write(20);
    sim.settle();
    sim.rotate_by_rename();
    sim.compress(CompressionFormat::Gzip, |_| {});
    sim.settle();
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
        if is_down {
            sim.restart(0, true);
            sim.turn();
        }
        sim.connect();
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
