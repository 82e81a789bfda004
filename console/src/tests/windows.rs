//! Windows of a day, and the batches of one.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::http::get;
use super::relay_host::{RelayFixture, SOURCE};

#[tokio::test(flavor = "multi_thread")]
async fn start_of_a_window_is_found_in_a_zone_off_by_half_an_hour() {
    let mut host = RelayFixture::new();
    host.write(b"one\n");
    host.make_contact();
    let console = host.open_console().await;
    let start = Timestamp::from_second(host.batch.window.start).expect("a time");
    let zone = TimeZone::get("Asia/Kolkata").expect("known");
    // Just before its first column, it may be of the day before.
    let day = start.to_zoned(zone).date();
    let path = format!("/api/v1/windows?zone=Asia/Kolkata&day={day}");
    let answer = console.send(get(&path)).await.json();
    let from: Timestamp = answer["from"].as_str().expect("a text").parse().expect("a time");
    let step = answer["step_seconds"].as_i64().expect("a number");
    let windows = answer["sources"][0]["windows"].as_array().expect("windows");
    let open = windows
        .iter()
        .position(|state| state == "open")
        .expect("one is open");
    let found = from.as_second() + i64::try_from(open).expect("small") * step;
    assert_eq!(found, start.as_second(), "{answer}");
    let window = console
        .send(get(&format!("/api/v1/windows/{SOURCE}/{found}")))
        .await;
    assert_eq!(window.status, 200, "{}", window.text());
    let last = console
        .send(get("/api/v1/windows?zone=Etc/GMT-14&day=9999-12-31"))
        .await;
    assert_eq!(last.status, 400, "{}", last.text());
    console.stop().await;
}
