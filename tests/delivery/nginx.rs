//! Real nginx, real logrotate and real sshd.

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::pipeline::Pipeline;
use crate::support::servers::nginx::{HttpVisitors, Logrotate, Nginx};
use crate::support::{WAIT_LIMIT, wait_for};

const VISITORS: usize = 8;
const REQUESTS_EACH: usize = 2_500;
const ROTATIONS: usize = 5;

#[test]
fn every_request_reaches_the_drop_once_while_logrotate_rotates() {
    let mut pipeline = Pipeline::new("nginx", "2s");
    let log = pipeline.config.log.clone();
    let nginx = Nginx::start(&pipeline.test_folder, &log);
    let logrotate = Logrotate::new(&pipeline.test_folder, &nginx, &log);
    pipeline.start_all();

    let visitors = HttpVisitors::send(nginx.port, VISITORS, REQUESTS_EACH);
    for rotation in 1..=ROTATIONS {
        let due = VISITORS * REQUESTS_EACH * rotation / (ROTATIONS + 1);
        wait_for("visitors", WAIT_LIMIT, || visitors.answered() >= due);
        logrotate.rotate();
    }
    let mut pages = visitors.finish();
    nginx.quit();

    let written = WrittenLog::read(&log);
    assert_eq!(written.files(), ROTATIONS + 1);
    assert_eq!(written.lines(), VISITORS * REQUESTS_EACH);
    for (line, _) in written.kept() {
        let request = String::from_utf8_lossy(line);
        let page = request
            .split(' ')
            .find(|word| word.starts_with("/page?"))
            .unwrap();
        assert!(pages.remove(page), "logged twice, or never asked for: {page}");
    }
    assert_eq!(pages.len(), 0, "served, and not in nginx's log");
    pipeline.finish(&written, LineOrder::WithinWindow);
}
