//! Hostile lines through every answer: none becomes markup, script, a terminal control or a field of an event, and none ends the
//! console.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::{Answer, get};
use super::relay_host::{RelayFixture, Running};

/// Lines that somebody sends to break out. Each begins with its number.
fn hostile_lines() -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'-alert(1)-'",
        "</title><svg/onload=alert(1)>",
        "{{7*7}} {% raw %} ${7*7}",
        "javascript:alert(1)",
        "data: forged\rid: 7\revent: x\r",
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "\u{9b}31m\u{90}q\u{9c}",
        "\u{202e}evil\u{2066}\u{200f}",
        "\u{2028}\u{2029}",
        "=cmd|' /C calc'!A0",
        "a,b\"c\"\"d",
        "\u{feff}bom\u{fffd}",
        "{\"message\":\"<b>\",\"source\":\"<i>\",\"level\":\"error\",\"id\":\"../../x\"}",
        "{\"a\":{\"a\":{\"a\":{\"a\":1}}}}",
        "%0d%0aSet-Cookie:%20a=b",
        "-->\n<!--",
        "`;drop table marks;--",
        "\\u0000\\x00\\r\\n",
    ]
    .iter()
    .map(|text| text.replace('\n', " ").into_bytes())
    .collect();
    texts.push(b"nul \0 in the middle\0".to_vec());
    texts.push(b"broken \xff\xfe\xc3\x28 utf-8 \xed\xa0\x80".to_vec());
    texts.push(vec![b'A'; (1 << 20) - 16]);
    let keys: Vec<_> = (0..20_000).map(|n| format!("\"k{n}\":\"<{n}>\",")).collect();
    texts.push(format!("{{{}\"z\":1}}", keys.concat()).into_bytes());
    texts.extend(
        (0..=255_u8)
            .filter(|byte| *byte != b'\n')
            .map(|byte| vec![b'x', byte, b'<', byte]),
    );
    texts
}

fn write(host: &mut RelayFixture) -> Vec<(usize, Vec<u8>)> {
    let mut written = Vec::new();
    for (number, text) in hostile_lines().into_iter().enumerate() {
        let mut line = format!("line{number} ").into_bytes();
        line.extend(text);
        line.push(b'\n');
        let at = host.write(&line);
        line.pop();
        written.push((at, line));
    }
    written
}

fn has_no_control(answer: &Answer, what: &str) {
    let text = answer.text();
    let bad = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || crate::answer::json_body::has_effect(c)
    };
    let found = text.chars().find(|c| bad(*c));
    assert_eq!(
        found,
        None,
        "{what}: {:?}",
        text.chars().take(300).collect::<String>()
    );
}

/// Whether a type is one that no browser runs or shows as a page.
fn is_inert(answer: &Answer) -> bool {
    let kind = answer.header("content-type").unwrap_or_default();
    [
        "application/json",
        "application/problem+json",
        "application/x-ndjson",
        "text/csv",
        "text/plain",
    ]
    .iter()
    .any(|inert| kind.starts_with(inert))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_lines_go_through_search_export_and_context_as_text() {
    let mut host = RelayFixture::new();
    let lines = write(&mut host);
    let console = host.open_console().await;
    let found = console
        .send(get("/api/v1/search?limit=1000&timeout_ms=30000"))
        .await;
    assert_eq!(found.status, 200, "{}", found.text());
    assert!(is_inert(&found));
    has_no_control(&found, "search");
    let answer = found.json();
    let hits = answer["hits"].as_array().expect("hits");
    assert_eq!(
        (hits.len(), answer["complete"].as_bool()),
        (lines.len(), Some(true))
    );
    for (at, line) in &lines {
        let id = host.id(*at);
        let hit = hits.iter().find(|hit| hit["id"] == id.as_str()).expect("found");
        assert_eq!(hit["line"], String::from_utf8_lossy(line).as_ref(), "{id}");
    }
    for (format, kind) in [
        ("text", "text/plain"),
        ("csv", "text/csv"),
        ("ndjson", "application/x-ndjson"),
    ] {
        let file = console
            .send(get(&format!("/api/v1/search/export?format={format}")))
            .await;
        assert_eq!(file.status, 200);
        assert!(
            file.header("content-type").is_some_and(|it| it.starts_with(kind)),
            "{format}"
        );
        assert!(
            file.header("content-disposition")
                .is_some_and(|it| it.starts_with("attachment"))
        );
        has_no_control(&file, format);
        let rows = file.text().lines().filter(|line| !line.is_empty()).count();
        // The last line says that there is no index.
        assert_eq!(rows, lines.len() + usize::from(format == "csv") + 1, "{format}");
    }
    let csv = console
        .send(get("/api/v1/search/export?format=csv&q=line11"))
        .await
        .text();
    assert!(csv.contains("line11 =cmd|' /C calc'!A0"), "{csv}");
    for (at, line) in lines.iter().take(24) {
        let context = console
            .send(get(&format!("/api/v1/lines/{}?before=2&after=2", host.id(*at))))
            .await;
        assert_eq!(context.status, 200, "{at}: {}", context.text());
        has_no_control(&context, "context");
        assert_eq!(
            context.json()["line"]["line"],
            String::from_utf8_lossy(line).as_ref()
        );
    }
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_lines_stay_within_one_event_of_each_stream() {
    let mut host = RelayFixture::new();
    let console = host.open_console().await;
    let mut live = get("/api/v1/live").open(console.address).await;
    let mut old = get("/stream-logs").open(console.address).await;
    live.until(": keepalive").await;
    old.until(": keepalive").await;
    let lines = hostile_lines().len();
    write(&mut host);
    let last = format!("line{} ", lines - 1);
    check_events(&live.until(&last).await, "live");
    check_events(&old.until(&last).await, "old");
    answers(&console).await;
    console.stop().await;
}

/// Each line of the stream is a comment, a number, or one JSON object.
fn check_events(stream: &str, what: &str) {
    let (_, body) = stream.split_once("\r\n\r\n").expect("a head");
    let (whole, _) = body.rsplit_once("\n\n").expect("an event");
    for line in whole.split('\n').filter(|line| !line.is_empty()) {
        let is_id = line
            .strip_prefix("id: ")
            .is_some_and(|id| id.parse::<u64>().is_ok());
        let data = line.strip_prefix("data: ");
        let is_object = data.is_some_and(|data| serde_json::from_str::<serde_json::Map<_, _>>(data).is_ok());
        let shown: String = line.chars().take(200).collect();
        assert!(line.starts_with(": ") || is_id || is_object, "{what}: {shown}");
        assert!(!line.contains(|c: char| c.is_control()), "{what}: {shown}");
    }
}

async fn answers(console: &Running) {
    assert_eq!(console.send(get("/api/v1/me")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_are_answered_with_a_problem_or_a_page() {
    let mut host = RelayFixture::new();
    host.write(b"one\n");
    let console = host.open_console().await;
    let long = "a".repeat(5000);
    for path in [
        "/api/v1/lines/%00".to_owned(),
        "/api/v1/lines/..%2f..%2fetc@0".to_owned(),
        "/api/v1/lines/%ff@1".to_owned(),
        format!("/api/v1/lines/{}", host.id(1)),
        "/api/v1/search?q=%22".to_owned(),
        "/api/v1/search?regex=(".to_owned(),
        format!("/api/v1/search?regex=({long}){{1000}}"),
        format!("/api/v1/search?q={long}"),
        "/api/v1/search?limit=-1".to_owned(),
        "/api/v1/search?after=%0d".to_owned(),
        "/api/v1/search?since=2h&until=3h".to_owned(),
        "/api/v1/live?status=9".to_owned(),
        "/api/v1/windows?day=x".to_owned(),
        "/api/v1/windows?zone=../../etc/passwd".to_owned(),
        "/api/v1/windows/a/9223372036854775807".to_owned(),
        "/api/v1/numbers?per=x".to_owned(),
        "/api/v1/audit?source=%0a".to_owned(),
        "/api/v1/search/export?format=exe".to_owned(),
        "/api/logs/new?since=x".to_owned(),
        "/api/v1/none".to_owned(),
    ] {
        let answer = console.send(get(&path)).await;
        assert!(
            (400..500).contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
        assert_eq!(answer.json()["status"], answer.status, "{path}");
        has_no_control(&answer, &path);
    }
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_keeps_its_connection_does_not_hold_up_the_stop() {
    let host = RelayFixture::new();
    let console = host.open_console().await;
    let mut stream = TcpStream::connect(console.address).await.expect("connected");
    let asked = b"GET /api/v1/me HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    stream.write_all(asked).await.expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let start = Instant::now();
    console.stop().await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}
