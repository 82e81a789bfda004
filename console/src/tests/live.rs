//! Live streams: counts are true, a reconnect misses nothing unnamed, slow and dead readers hold nobody up.

use serde_json::Value;

use super::http::{EventStream, get};
use super::relay_host::RelayFixture;
use crate::access::scope::AccessScope;

fn line(number: usize, status: u16) -> String {
    format!(
        "192.0.2.{} - - [21/Nov/2026:08:20:03 +0000] \"GET /n{number} HTTP/1.1\" {status} 5\n",
        number % 250
    )
}

/// The events of a stream, each with its number.
fn events(shown: &str) -> Vec<(u64, Value)> {
    let (_, body) = shown.split_once("\r\n\r\n").expect("a head");
    let mut events = Vec::new();
    for event in body.split("\n\n") {
        let id = event.lines().find_map(|line| line.strip_prefix("id: "));
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        if let (Some(id), Some(data)) = (id, data)
            && let Ok(data) = serde_json::from_str(data)
        {
            events.push((id.parse().expect("a number"), data));
        }
    }
    events
}

fn sum(events: &[(u64, Value)], key: &str) -> u64 {
    events
        .iter()
        .map(|(_, event)| event[key].as_u64().expect("a number"))
        .sum()
}

async fn ready(stream: &mut EventStream) {
    stream.until(": keepalive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_shown_is_counted_and_filters_work_on_the_server() {
    let mut host = RelayFixture::new();
    let console = host.open_console().await;
    let mut all = get("/api/v1/live").open(console.address).await;
    let mut errors = get("/api/v1/live?status=5xx&level=error&source=198.51.100.1")
        .open(console.address)
        .await;
    let mut none = get("/api/v1/live?source=198.51.100.9")
        .open(console.address)
        .await;
    for stream in [&mut all, &mut errors, &mut none] {
        ready(stream).await;
    }
    let text: String = (0..1000)
        .map(|number| line(number, if number % 100 == 7 { 503 } else { 200 }))
        .collect();
    host.write(text.as_bytes());
    let seen = events(&all.until("/n999 ").await);
    assert_eq!(sum(&seen, "matched"), 1000);
    assert_eq!(sum(&seen, "shown") + sum(&seen, "skipped"), 1000);
    for (_, event) in &seen {
        let lines = event["lines"].as_array().expect("lines");
        assert_eq!(event["shown"].as_u64(), Some(lines.len() as u64));
        assert!(lines.len() <= 100);
    }
    let found = events(&errors.until("/n907 ").await);
    assert_eq!((sum(&found, "matched"), sum(&found, "skipped")), (10, 0));
    let line = &found[0].1["lines"][0];
    assert_eq!(
        (&line["status"], &line["level"], &line["fields"]["path"]),
        (&503.into(), &"error".into(), &"/n7".into())
    );
    host.write(b"the end\n");
    all.until("the end").await;
    let answer = console.send(get("/api/v1/live?q=%22")).await;
    assert_eq!(answer.status, 400);
    drop(none);
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_that_reconnects_gets_each_line_once() {
    let mut host = RelayFixture::new();
    let console = host.open_console().await;
    // One that stays, so that lines are followed all the time.
    let mut stays = get("/api/v1/live").open(console.address).await;
    ready(&mut stays).await;
    host.write(b"first line\n");
    stays.until("first line").await;
    let mut last = {
        let mut stream = get("/api/v1/live").open(console.address).await;
        let seen = events(&stream.until("first line").await);
        seen.last().expect("an event").0
    };
    let mut got = Vec::new();
    for number in 0..20 {
        let text = format!("reconnect {number}.\n");
        host.write(text.as_bytes());
        // The other one has it, so it came while this one was away.
        stays.until(text.trim()).await;
        let mut stream = get("/api/v1/live")
            .with("last-event-id", &last.to_string())
            .open(console.address)
            .await;
        let seen = events(&stream.until(text.trim()).await);
        assert!(
            seen.iter()
                .all(|(_, event)| event["holes"].as_array().is_some_and(Vec::is_empty))
        );
        for (id, event) in seen {
            last = id;
            let lines = event["lines"].as_array().expect("lines");
            got.extend(
                lines
                    .iter()
                    .map(|line| line["line"].as_str().expect("text").to_owned()),
            );
        }
    }
    let wanted: Vec<_> = (0..20).map(|number| format!("reconnect {number}.")).collect();
    assert_eq!(got, wanted);
    // What another process has sent is not known here: a hole, and what there is.
    let mut stream = get("/api/v1/live")
        .with("last-event-id", "7")
        .open(console.address)
        .await;
    let seen = events(&stream.until("reconnect 19.").await);
    assert_eq!(seen[0].1["holes"].as_array().map(Vec::len), Some(1));
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_watcher_sees_no_hidden_line_and_no_break_from_before_it() {
    let mut host = RelayFixture::new();
    let console = host.open_console().await;
    let mut stays = get("/api/v1/live").open(console.address).await;
    let mut rare = get("/api/v1/live?q=rare").open(console.address).await;
    ready(&mut stays).await;
    ready(&mut rare).await;
    let secret = host.write(b"a secret\n");
    host.write(b"no secret\n");
    stays.until("no secret").await;
    let hide = super::http::ask("PUT", &format!("/api/v1/lines/{}/hidden", host.id(secret)));
    assert_eq!(console.send(hide).await.status, 200);
    let mut recent = get("/api/v1/live").open(console.address).await;
    let shown = recent.until("no secret").await;
    assert!(!shown.contains("a secret"), "{shown}");
    let seen = events(&shown);
    assert_eq!((sum(&seen, "matched"), sum(&seen, "skipped")), (1, 0));
    assert_eq!(seen[0].1["holes"].as_array().map(Vec::len), Some(0));
    // The addresses of the predecessor begin with what comes.
    let mut new = get("/stream-logs").open(console.address).await;
    ready(&mut new).await;
    host.write(b"and then\n");
    let shown = new.until("and then").await;
    assert!(!shown.contains("secret"), "{shown}");
    // What matches nothing moves the number of a stream on: a reconnect names no hole.
    let kept = rare.until(": keepalive\nid: ").await;
    assert_eq!(events(&kept).len(), 0, "{kept}");
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_reading_or_vanish_hold_nobody_up() {
    let mut host = RelayFixture::new();
    let console = host.open_console().await;
    let mut slow = Vec::new();
    for number in 0..20 {
        let mut stream = get(&format!("/api/v1/live?q=-{number}x"))
            .open(console.address)
            .await;
        ready(&mut stream).await;
        slow.push(stream);
    }
    let mut reader = get("/api/v1/live").open(console.address).await;
    ready(&mut reader).await;
    for round in 0..10 {
        let text: String = (0..2000).map(|number| line(number, 200)).collect();
        host.write(text.as_bytes());
        let end = format!("round {round} is over");
        host.write(format!("{end}\n").as_bytes());
        reader.until(&end).await;
    }
    // They have read nothing meanwhile. What they get now is the sum.
    let mut first = slow.remove(0);
    let seen = events(&first.until("round 9 is over").await);
    assert_eq!(sum(&seen, "matched"), 20_010);
    drop(slow);
    host.write(b"still here\n");
    reader.until("still here").await;
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_that_reconnect_a_thousand_times_and_vanish_are_all_served_and_forgotten() {
    let mut host = RelayFixture::new();
    let console = host.console("  proxy: 127.0.0.1\n").await;
    let token = console.token(AccessScope::Read);
    // One address may not ask so often.
    let live = |number: usize| {
        let client = format!("192.0.2.{}", number % 250);
        let asked = get("/api/v1/live").with("authorization", &token);
        asked.with("x-forwarded-for", &client)
    };
    for number in 0..1000 {
        let mut stream = live(number).open(console.address).await;
        let head = stream.until(": keepalive").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{number}: {head}");
    }
    let mut reader = live(1).open(console.address).await;
    ready(&mut reader).await;
    host.write(b"still here\n");
    reader.until("still here").await;
    console.stop().await;
}
