//! Logs with arbitrary bytes: only the newline has a meaning.

use std::fs;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::seed;

/// A line in a past window; the following lines without a time go to the same window.
const FIRST: &[u8] = b"203.0.113.1 - - [20/Nov/2024:08:20:03 +0600] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\"\n";
const NAME: &str = "accessLog_24112008_20-39_127-0-0-1.log";

/// Above the tests' `max_line` and `max_bytes`, so that the sender splits the line.
const LONG_LINE: usize = 300_000;

#[test]
fn lines_of_any_bytes_arrive_unchanged() {
    let seed = seed();
    let mut pipeline = Pipeline::new("any-bytes", "20m");
    fs::write(&pipeline.config.log, lines(seed).concat()).unwrap();
    pipeline.start(Role::AllInOne);
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.wait_for_delivery(&written);
    let delivered = fs::read(pipeline.config.destination.directory.join(NAME)).unwrap();
    assert!(delivered == fs::read(&pipeline.config.log).unwrap());
    pipeline.finish(&written, LineOrder::WholeLog);
}

fn lines(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut random = |len: usize| {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes.retain(|&byte| byte != b'\n');
        bytes.push(b'\n');
        bytes
    };
    let mut lines = vec![
        FIRST.to_vec(),
        b"\n".to_vec(),
        b"\r\n".to_vec(),
        b"\r\r carriage \r returns \r\n".to_vec(),
        b"\0\0\0 holes \0\n".to_vec(),
        b"\xff\xfe\x80 no UTF-8 \xc3(\n".to_vec(),
        "\u{feff}\u{2028}\u{85} other lines' ends\n".into(),
        [vec![0; 100_000], b"\n".to_vec()].concat(),
        random(LONG_LINE),
    ];
    lines.extend((0..2_000).map(|len| random(16 + len)));
    lines.push(random(LONG_LINE));
    lines.push(b"the last\n".to_vec());
    lines
}
