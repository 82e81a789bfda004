//! The network loses responses of the relay.

use logferry_test_servers::lossy_proxy;

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::LogWriter;
use crate::support::pipeline::Pipeline;
use crate::support::{WAIT_LIMIT, seed, wait_for};

const LINES_PER_SECOND: u32 = 4_000;
const LOST_RESPONSES: usize = 200;

#[test]
fn lost_responses_double_nothing() {
    let seed = seed();
    let mut pipeline = Pipeline::new("lost-answers", "2s");
    let proxy = lossy_proxy(pipeline.config.relay_port, seed);
    pipeline.config.sender_target_port = proxy.port();
    let load = LogWriter::start(&pipeline.config.log, LINES_PER_SECOND, seed);
    pipeline.start_all();
    wait_for("answers to be lost", WAIT_LIMIT, || {
        proxy.faults() >= LOST_RESPONSES
    });
    load.stop();

    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}
