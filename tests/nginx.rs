//! Real requests, real rotations, a real drop.

use crate::support::comparison::{Order, Written};
use crate::support::nginx::{Logrotate, Nginx, Visitors};
use crate::support::pipeline::Pipeline;
use crate::support::{PATIENCE, wait_for};

const VISITORS: usize = 8;
const REQUESTS_EACH: usize = 2_500;
const ROTATIONS: usize = 5;

#[test]
fn every_request_reaches_the_drop_once_while_logrotate_rotates() {
    let mut pipeline = Pipeline::new("nginx", "2s");
    let log = pipeline.config.log.clone();
    let nginx = Nginx::start(&pipeline.site, &log);
    let logrotate = Logrotate::new(&pipeline.site, &nginx, &log);
    pipeline.start_all();

    let visitors = Visitors::send(nginx.port, VISITORS, REQUESTS_EACH);
    for rotation in 1..=ROTATIONS {
        let due = VISITORS * REQUESTS_EACH * rotation / (ROTATIONS + 1);
        wait_for("visitors", PATIENCE, || visitors.answered() >= due);
        logrotate.rotate();
    }
    let mut pages = visitors.finish();
    nginx.quit();

    let written = Written::read(&log);
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
    pipeline.finish(&written, Order::InWindow);
}
