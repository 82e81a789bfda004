//! How many lines a second one core reads, in each format. Run it with the release profile:
//! `cargo run --release -p logferry-fields --example lines_per_second`.
#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::time::Instant;

use logferry_fields::{Format, LineReader};

const LINES: usize = 2_000_000;

fn main() {
    let request = r#""GET /shop/item?id=access-000000012345 HTTP/1.1" 200 5123"#;
    let agent = r#""https://www.example.com/shop" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0""#;
    let combined = format!("203.0.113.77 - - [21/Nov/2026:08:20:03 +0600] {request} {agent}");
    let json = r#"{"time":"2026-11-21T08:20:03+06:00","remote_addr":"203.0.113.77","request":"GET /shop/item?id=1 HTTP/1.1","status":200,"bytes":5123,"request_time":0.012}"#;
    let pasted = r#"203.0.113.77|2026-11-21T08:20:03+06:00|"GET /shop/item?id=1 HTTP/1.1"|200|0.012"#;
    for (name, format, line) in [
        ("combined", "combined", combined.as_str()),
        ("auto (combined)", "auto", &combined),
        ("json", "json", json),
        (
            "pasted",
            r#"$remote_addr|$time_iso8601|"$request"|$status|$request_time"#,
            pasted,
        ),
        (
            "text",
            "text",
            "2026-11-21 02:20:03 INFO [payment-service] order 12345 was paid after 3 attempts",
        ),
    ] {
        let Ok(format) = Format::parse(format) else {
            continue;
        };
        let mut reader = LineReader::new(&format, 1_795_227_603);
        let start = Instant::now();
        let parsed = (0..LINES)
            .filter(|_| reader.read(std::hint::black_box(line.as_bytes())).is_parsed)
            .count();
        let seconds = start.elapsed().as_secs_f64();
        let rate = f64::from(u32::try_from(LINES).unwrap_or(u32::MAX)) / seconds / 1e6;
        println!(
            "{name:16} {rate:6.2} million lines/s ({parsed} parsed, {} bytes a line)",
            line.len()
        );
    }
}
