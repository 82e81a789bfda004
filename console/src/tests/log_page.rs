//! The fifth predecessor's page: its event handler and its fetches, written anew from the description of its addresses.

use std::collections::BTreeMap;

use logferry_fields::Level;
use serde_json::{Value, json};

use super::http::{get, post};
use super::relay_host::{RelayFixture, Running};

/// The keys of a message.
const KEYS: [&str; 7] = [
    "client_id",
    "is_pinned",
    "is_ticket",
    "log_level",
    "message",
    "timestamp_str",
    "uuid",
];

fn collected(level: &str, client: &str, message: &str) -> String {
    let time = "2026-11-21T08:20:03.123Z";
    json!({"time": time, "level": level, "source": client, "id": "0b8f", "message": message}).to_string()
        + "\n"
}

/// What its page does with a message: each key is read, the id is that of later requests.
fn on_message(data: &str) -> BTreeMap<String, Value> {
    let entry: BTreeMap<String, Value> = serde_json::from_str(data).expect("one object a message");
    assert_eq!(entry.keys().map(String::as_str).collect::<Vec<_>>(), KEYS);
    let time = entry["timestamp_str"].as_str().expect("text");
    let pattern: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(pattern, "0000-00-00 00:00:00,000");
    assert!(entry["is_pinned"].is_boolean() && entry["is_ticket"].is_boolean());
    entry
}

fn messages(stream: &str) -> Vec<BTreeMap<String, Value>> {
    let data = stream.split('\n').filter_map(|line| line.strip_prefix("data: "));
    data.map(on_message).collect()
}

async fn act(console: &Running, id: &str, action: &str) -> Value {
    let answer = console.send(post(&format!("/api/logs/{id}/{action}"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn page_of_the_predecessor_works_unchanged() {
    let mut host = RelayFixture::new();
    host.count(&[
        Some(Level::Error),
        Some(Level::Info),
        Some(Level::Info),
        Some(Level::Warn),
        None,
    ]);
    let console = host.open_console().await;
    let mut stream = get("/stream-logs").open(console.address).await;
    let head = stream.until(": keepalive").await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("x-accel-buffering: no"), "{head}");
    host.write(collected("WARNING", "app-1", "disk\nalmost full").as_bytes());
    host.write(collected("ERROR", "app-2", "payment failed").as_bytes());
    let seen = messages(&stream.until("payment failed").await);
    let of = |entry: &BTreeMap<String, Value>, key: &str| entry[key].as_str().expect("text").to_owned();
    assert_eq!(of(&seen[0], "client_id"), "app-1");
    assert_eq!(of(&seen[0], "message"), "disk\nalmost full");
    assert_eq!(
        [of(&seen[0], "log_level"), of(&seen[1], "log_level")],
        ["WARNING", "ERROR"]
    );
    let (first, second) = (of(&seen[0], "uuid"), of(&seen[1], "uuid"));

    // Its page was away: it asks for what came since.
    let missed = console
        .send(get(&format!("/api/logs/new?since={first}")))
        .await
        .json();
    assert_eq!(missed.as_array().map(Vec::len), Some(1));
    assert_eq!(on_message(&missed[0].to_string())["uuid"], second.as_str());
    let all = console.send(get("/api/logs/new")).await.json();
    assert_eq!(all.as_array().map(Vec::len), Some(2));

    let stats = console.send(get("/api/log_stats")).await.json();
    assert_eq!(stats, json!({"ERROR": 1, "INFO": 2, "UNKNOWN": 1, "WARNING": 1}));
    marks_are_set_and_survive_a_restart(&host, console, &first, &second).await;
}

/// Pins, opens a ticket for and hides lines as the page does, over a restart.
async fn marks_are_set_and_survive_a_restart(
    host: &RelayFixture,
    console: Running,
    first: &str,
    second: &str,
) {
    assert_eq!(
        act(&console, first, "pin").await,
        json!({"status": "success", "is_pinned": true})
    );
    assert_eq!(
        act(&console, first, "ticket").await,
        json!({"status": "success", "is_ticket": true})
    );
    assert_eq!(
        act(&console, second, "delete").await,
        json!({"status": "success", "is_deleted": true})
    );
    let shown = console.send(get("/api/logs/new")).await.json();
    assert_eq!(
        shown.as_array().map(Vec::len),
        Some(1),
        "a deleted line is not shown"
    );
    assert_eq!(
        (&shown[0]["is_pinned"], &shown[0]["is_ticket"]),
        (&true.into(), &true.into())
    );
    let stats = console.send(get("/api/log_stats")).await.json();
    assert_eq!(stats["ERROR"], Value::Null, "nor counted");
    let file = std::fs::read_to_string(host.file("open")).expect("read");
    assert!(file.contains("payment failed"), "but no file is touched");
    console.stop().await;

    // The state survives a restart, and each action turns its mark over.
    let console = host.open_console().await;
    let shown = console.send(get("/api/logs/new")).await.json();
    assert_eq!(
        (shown.as_array().map(Vec::len), &shown[0]["is_pinned"]),
        (Some(1), &true.into())
    );
    assert_eq!(
        act(&console, second, "delete").await,
        json!({"status": "success", "is_deleted": false})
    );
    assert_eq!(
        act(&console, first, "pin").await,
        json!({"status": "success", "is_pinned": false})
    );
    let trail = console
        .send(get(&format!("/api/v1/actions?subject={first}")))
        .await
        .json();
    let trail: Vec<_> = trail
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["action"].clone())
        .collect();
    assert_eq!(trail, ["unpin", "open ticket", "pin"]);
    assert_eq!(console.send(post("/api/logs/nothing@0/pin")).await.status, 404);
    assert_eq!(
        console
            .send(post(&format!("/api/logs/{first}/explode")))
            .await
            .status,
        404
    );
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_that_was_away_for_many_lines_gets_all_of_them_in_several_answers() {
    let mut host = RelayFixture::new();
    let line = |number: usize| collected("INFO", "app-1", &format!("no. {number}."));
    let text: String = (0..1301).map(line).collect();
    host.write(text.as_bytes());
    let console = host.open_console().await;
    let (mut since, mut numbers) = (host.id(0), vec![0]);
    loop {
        let answer = console.send(get(&format!("/api/logs/new?since={since}"))).await;
        let answer = answer.json();
        let lines = answer.as_array().expect("a list");
        let Some(last) = lines.last() else { break };
        assert!(lines.len() <= 500);
        since = last["uuid"].as_str().expect("an id").to_owned();
        numbers.extend(lines.iter().map(|line| {
            let text = line["message"].as_str().expect("text");
            let number = text.trim_start_matches("no. ").trim_end_matches('.');
            number.parse::<usize>().expect("a number")
        }));
    }
    assert_eq!(numbers, (0..1301).collect::<Vec<_>>());
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_skipped_is_an_event_for_the_page_and_a_comment_for_others() {
    let mut host = RelayFixture::new();
    let console = host.open_console().await;
    let mut page = get("/stream-logs?skipped=event").open(console.address).await;
    let mut script = get("/stream-logs").open(console.address).await;
    page.until(": keepalive").await;
    script.until(": keepalive").await;
    let lines: String = (0..1000)
        .map(|number| collected("INFO", "app-1", &format!("no. {number}.")))
        .collect();
    host.write(lines.as_bytes());
    let shown = page.until("no. 999.").await;
    let (_, skipped) = shown.split_once("event: skipped\ndata: ").expect("an event");
    let skipped: Value = serde_json::from_str(skipped.lines().next().expect("a line")).expect("json");
    assert!(
        skipped["lines"].as_u64().is_some_and(|lines| lines > 0),
        "{skipped}"
    );
    assert!(
        skipped["text"]
            .as_str()
            .is_some_and(|text| text.ends_with(" lines are not shown here"))
    );
    let shown = script.until("no. 999.").await;
    assert!(shown.contains(" lines are not shown here") && !shown.contains("event: "));
    messages(&shown);
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticket_has_note_status_and_assignee_and_outlives_its_line() {
    let mut host = RelayFixture::new();
    let at = host.write(b"something is wrong\n");
    let console = host.open_console().await;
    let path = format!("/api/v1/lines/{}/ticket", host.id(at));
    let change = |body: Value| super::http::ask("PUT", &path).json(&body);
    let ticket = console
        .send(change(json!({"note": "look", "assignee": "ann"})))
        .await
        .json();
    assert_eq!(
        (&ticket["status"], &ticket["note"], &ticket["assignee"]),
        (&"open".into(), &"look".into(), &"ann".into())
    );
    assert_eq!(console.send(change(json!({"status": "lost"}))).await.status, 422);
    assert_eq!(
        console
            .send(change(json!({"note": "x".repeat(3000)})))
            .await
            .status,
        400
    );
    std::fs::remove_file(host.file("open")).expect("removed");
    console.stop().await;
    let console = host.open_console().await;
    let ticket = console
        .send(change(json!({"status": "done", "assignee": ""})))
        .await
        .json();
    assert_eq!(
        (
            &ticket["status"],
            &ticket["note"],
            &ticket["assignee"],
            &ticket["line"]
        ),
        (
            &"done".into(),
            &"look".into(),
            &Value::Null,
            &"something is wrong".into()
        )
    );
    assert_eq!(
        console
            .send(get("/api/v1/tickets"))
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    console.stop().await;
}
