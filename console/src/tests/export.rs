//! Exports: whole, bounded in time, and no reason why others cannot search.

use serde_json::json;

use super::http::{ask, get};
use super::relay_host::RelayFixture;

/// Many lines; more than sockets take unread, if they are long.
fn many_lines(host: &mut RelayFixture, count: usize, bytes: usize) {
    let line = |number: usize| format!("line {number} {}\n", "x".repeat(bytes));
    let text: String = (0..count).map(line).collect();
    host.write(text.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_take_nothing_of_exports_and_streams_leave_searches_their_turns() {
    let mut host = RelayFixture::new();
    many_lines(&mut host, 8000, 2000);
    let console = host.open_console().await;
    let mut unread = Vec::new();
    for number in 0..4 {
        let asked = get("/api/v1/search/export?format=csv");
        let stream = asked.send_unread(console.address).await;
        if number < 2 {
            // It has its turn.
            stream.readable().await.expect("an answer");
        }
        unread.push(stream);
    }
    // Others get no turn, and are told so.
    let third = console.send(get("/api/v1/search/export")).await;
    assert_eq!((third.status, third.json()["status"].as_u64()), (503, Some(503)));
    assert!(third.text().contains("too many exports"), "{}", third.text());
    let found = console.send(get("/api/v1/search?limit=2")).await;
    assert_eq!(found.status, 200, "{}", found.text());
    drop(unread);

    // The same for hits that come one by one: their turns end with their time.
    let mut unread = Vec::new();
    for _ in 0..4 {
        let asked = get("/api/v1/search?limit=1000&timeout_ms=500").with("accept", "application/x-ndjson");
        unread.push(asked.send_unread(console.address).await);
    }
    let found = console.send(get("/api/v1/search?limit=2")).await;
    assert_eq!(found.status, 200, "{}", found.text());
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_and_bars_are_of_all_lines_that_match() {
    let mut host = RelayFixture::new();
    let start = host.batch.window.start;
    let at = |second: i64| jiff::Timestamp::from_second(start + second).expect("a time");
    let time = |second| at(second).strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
    let line = |number: i64| {
        let status = if number % 3 == 0 { 503 } else { 200 };
        let time = time(number % 600);
        format!(
            "192.0.2.1 - - [{time}] \"GET /n{} HTTP/1.1\" {status} 5\n",
            number % 7
        )
    };
    host.write((0..3000).map(line).collect::<String>().as_bytes());
    let console = host.open_console().await;
    let asked = format!(
        "/api/v1/search/facets?q=status:503&since={}&until={}&step=300&timeout_ms=10000",
        at(0),
        at(1200)
    );
    let facets = console.send(get(&asked)).await.json();
    assert_eq!(
        (&facets["counted"], &facets["complete"]),
        (&json!(1000), &json!(true)),
        "{facets}"
    );
    let bars: Vec<_> = facets["over_time"]["lines"]
        .as_array()
        .expect("bars")
        .iter()
        .filter_map(serde_json::Value::as_u64)
        .collect();
    assert_eq!(
        (bars[..2].to_vec(), bars[2..].iter().sum::<u64>()),
        (vec![500, 500], 0)
    );
    assert_eq!(
        facets["fields"][2]["values"],
        json!([{"value": "503", "lines": 1000}])
    );
    let paths = facets["fields"][3]["values"].as_array().expect("paths").iter();
    assert_eq!(
        paths
            .map(|it| it["lines"].as_u64().expect("a number"))
            .sum::<u64>(),
        1000
    );
    for step in ["0", "1", "99999999999"] {
        let asked = format!("/api/v1/search/facets?since=2020-01-01&step={step}");
        assert_eq!(console.send(get(&asked)).await.status, 400, "{step}");
    }
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn export_has_each_line_once_but_no_hidden_one() {
    let mut host = RelayFixture::new();
    many_lines(&mut host, 1500, 50);
    let at = host.write(b"a secret\n");
    let hidden = host.id(at);
    let console = host.open_console().await;
    let hide = ask("PUT", &format!("/api/v1/lines/{hidden}/hidden"));
    assert_eq!(console.send(hide).await.status, 200);
    for (format, head) in [("text", 0), ("csv", 1), ("ndjson", 0)] {
        let answer = console
            .send(get(&format!("/api/v1/search/export?format={format}")))
            .await;
        let text = answer.text();
        assert!(!text.contains("a secret"), "{format}");
        // The last line says that there is no index.
        assert_eq!(text.lines().count(), 1500 + head + 1, "{format}");
        for number in [0, 1, 711, 1499] {
            assert_eq!(
                text.matches(&format!("line {number} x")).count(),
                1,
                "{format} {number}"
            );
        }
    }
    let limited = console.send(get("/api/v1/search/export?limit=3")).await;
    let text = limited.text();
    assert_eq!(text.lines().count(), 4);
    assert!(
        text.ends_with("# logferry: there may be more: the limit of 3 lines is reached\n"),
        "{text}"
    );
    let shown = get("/api/v1/search?limit=1000").with("accept", "application/x-ndjson");
    let shown = console.send(shown).await.text();
    assert_eq!(shown.matches("\"line\":\"line ").count(), 999);
    let shown = get("/api/v1/search?limit=2&hidden=true").with("accept", "application/x-ndjson");
    let shown = console.send(shown).await.text();
    let first = shown
        .lines()
        .find(|line| line.contains("a secret"))
        .expect("the hidden line");
    let first: serde_json::Value = serde_json::from_str(first).expect("json");
    assert_eq!(
        (&first["line"], &first["is_hidden"]),
        (&json!("a secret"), &json!(true))
    );
    console.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn export_over_lines_that_were_never_indexed_says_so_at_its_end() {
    let mut host = RelayFixture::new();
    host.write(b"one\n");
    host.count_with_gap(300);
    let console = host.open_console().await;
    for format in ["text", "csv", "ndjson"] {
        let text = console
            .send(get(&format!("/api/v1/search/export?format={format}")))
            .await
            .text();
        let last = text.lines().last().expect("a line");
        assert!(last.contains("logferry"), "{last}");
        assert!(
            last.contains(
                "300 B of gone were never indexed, so lines of it may be missing here: it was deleted"
            ),
            "{text}"
        );
    }
    console.stop().await;
}
