//! The network loses what the relay says.

use crate::support::comparison::{Order, Written};
use crate::support::load::Load;
use crate::support::pipeline::Pipeline;
use crate::support::proxy::Proxy;
use crate::support::{PATIENCE, seed, wait_for};

const LINES_PER_SECOND: u32 = 4_000;
const LOST_ANSWERS: usize = 200;

#[test]
fn losing_the_relays_answers_doubles_nothing() {
    let seed = seed();
    let mut pipeline = Pipeline::new("lost-answers", "2s");
    let proxy = Proxy::start(pipeline.config.relay_port, seed);
    pipeline.config.sender_calls = proxy.port;
    let load = Load::start(&pipeline.config.log, LINES_PER_SECOND, seed);
    pipeline.start_all();
    wait_for("answers to be lost", PATIENCE, || proxy.lost() >= LOST_ANSWERS);
    load.stop();

    let written = Written::read(&pipeline.config.log);
    pipeline.finish(&written, Order::WholeLog);
}
