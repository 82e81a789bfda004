//! The network loses what the relay says.

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::LogWriter;
use crate::support::network::lossy_proxy::LossyProxy;
use crate::support::pipeline::Pipeline;
use crate::support::{WAIT_LIMIT, seed, wait_for};

const LINES_PER_SECOND: u32 = 4_000;
const LOST_RESPONSES: usize = 200;

#[test]
fn losing_the_relays_answers_doubles_nothing() {
    let seed = seed();
    let mut pipeline = Pipeline::new("lost-answers", "2s");
    let proxy = LossyProxy::start(pipeline.config.relay_port, seed);
    pipeline.config.sender_target_port = proxy.port;
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed);
    pipeline.start_all();
    wait_for("answers to be lost", WAIT_LIMIT, || {
        proxy.lost_responses() >= LOST_RESPONSES
    });
    load.stop();

    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}
