//! The request sequences of the clients that we take over, as `requests` of Python sends them, with their retries.

use super::*;

/// The headers of `requests.post(url, json=…)`.
const REQUESTS: &str = "User-Agent: python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n\
    Connection: keep-alive\r\nContent-Type: application/json\r\n";

/// A `requests.post(…)` that gives up after the body is sent and before the answer comes.
fn post_and_give_up(source: &RunningSource, path: &str, body: &[u8]) {
    let before = source.records().len();
    let mut stream = source.connect();
    send(&mut stream, path, REQUESTS, body);
    // It is stored, and the client does not know.
    until("the record is stored", || source.records().len() > before);
    give_up(stream);
}

#[test]
fn application_of_the_fifth_posts_and_gets_an_id() {
    let source = RunningSource::start("");
    let body = br#"{"level": "ERROR", "message": "Payment failed", "client_id": "simulated_app_1"}"#;
    let answer = source.post("/log", REQUESTS, body);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["status"], "logged");
    assert_eq!(answer.json()["id"].as_str().map(str::len), Some(36));
    let records = source.records();
    assert_eq!(records[0]["level"], "ERROR");
    assert_eq!(records[0]["source"], "simulated_app_1");
}

#[test]
fn linux_client_of_the_fifth_posts_lines_of_syslog_with_guessed_levels() {
    let source = RunningSource::start("");
    for (level, line) in [
        ("INFO", "Nov 29 10:00:00 host systemd[1]: Started Session 1."),
        ("ERROR", "Nov 29 10:00:01 host app[2]: failed \"quoted\""),
        ("WARNING", "Nov 29 10:00:02 host kernel: warn \\ backslash"),
    ] {
        let message = format!("Syslog | {line}");
        let body = serde_json::json!({"level": level, "message": message, "client_id": "linux_host"});
        // One request a line, each on a connection of its own, with a time limit of 5 s.
        assert_eq!(
            source.post("/log", REQUESTS, body.to_string().as_bytes()).status,
            201
        );
    }
    let messages = source.messages();
    assert_eq!(
        messages[1],
        "Syslog | Nov 29 10:00:01 host app[2]: failed \"quoted\""
    );
    assert_eq!(source.records()[2]["level"], "WARNING");
}

#[test]
fn windows_client_of_the_fifth_that_tries_three_times_is_stored_once() {
    let source = RunningSource::start("");
    let message = distinct(
        "WinEventLog | Log: System | Time: 2025-05-01 12:00:00 | Source: Service Control Manager | EventID: 7036 | \
         Level: Information | Computer: PC1 | Message: The Update service entered the running state.",
    );
    let body =
        serde_json::json!({"level": "INFO", "message": message, "client_id": "windows_pc"}).to_string();
    post_and_give_up(&source, "/log", body.as_bytes());
    for _ in 0..2 {
        // The later tries do not reach the first one's answer either.
        let mut stream = source.connect();
        send(&mut stream, "/log", REQUESTS, body.as_bytes());
        give_up(stream);
    }
    let answer = source.post("/log", REQUESTS, body.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    let records = source.records();
    assert_eq!(records.len(), 1);
    assert_eq!(
        records[0]["id"],
        answer.json()["id"],
        "it gets the id of the record that is stored"
    );
}

#[test]
fn agent_of_the_second_that_never_saw_the_answer_posts_its_row_again() {
    let source = RunningSource::start("");
    let row = |id: u64| {
        let message = format!("order {id} created");
        serde_json::json!({"id": id, "message": message, "level": "INFO", "created_at": "2026-11-29 10:00:00"})
            .to_string()
    };
    // It reads rows that are not sent, posts each, and marks it after 201 only.
    assert_eq!(source.post("/api/logs", REQUESTS, row(1).as_bytes()).status, 201);
    post_and_give_up(&source, "/api/logs", row(2).as_bytes());
    // The next round of its loop finds the row not marked.
    let answer = source.post("/api/logs", REQUESTS, row(2).as_bytes());
    assert_eq!((answer.status, &answer.json()["stored"]), (201, &1.into()));
    assert_eq!(source.post("/api/logs", REQUESTS, row(3).as_bytes()).status, 201);
    let ids: Vec<_> = source
        .records()
        .iter()
        .map(|record| record["id"].clone())
        .collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn row_whose_answer_was_lost_with_the_collector_is_stored_once() {
    let source = RunningSource::start("");
    let body = serde_json::json!({"id": 9, "message": distinct("row"), "level": "INFO"}).to_string();
    post_and_give_up(&source, "/api/logs", body.as_bytes());
    let source = RunningSource::start_in(source.kill(), "", 0);
    assert_eq!(source.post("/api/logs", REQUESTS, body.as_bytes()).status, 201);
    assert_eq!(source.records().len(), 1);
    // Now the answer has arrived: an equal row is another one.
    until("the answer is confirmed", || {
        source.post("/api/logs", REQUESTS, body.as_bytes());
        source.records().len() == 2
    });
}
