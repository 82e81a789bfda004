//! Clients that stall, flood, or send too much.

use super::*;

#[test]
fn body_over_the_limit_is_refused_by_its_head_or_when_it_gets_there() {
    let source = RunningSource::start(", max_body: 4KiB");
    let answer = source.post("/lines", "", &vec![b'x'; 5000]);
    assert_eq!(answer.status, 413, "{answer:?}");
    let mut stream = source.connect();
    stream
        .write_all(b"POST /lines HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("connected");
    for _ in 0..5 {
        stream
            .write_all(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes())
            .expect("connected");
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    assert_eq!(Answer::read(&mut stream).status, 413);
    let bomb = zstd::encode_all(&vec![b'\n'; 1 << 20][..], 3).expect("memory");
    assert!(bomb.len() < 4096);
    assert_eq!(
        source.post("/lines", "Content-Encoding: zstd\r\n", &bomb).status,
        413
    );
    assert_eq!(source.records().len(), 0);
}

#[test]
fn body_of_very_many_records_is_refused_before_they_take_the_memory_of_the_host() {
    let source = RunningSource::start("");
    let answer = source.post("/lines", "", &b"a\n".repeat(2 << 20));
    assert!(
        answer.status == 413 && answer.body.contains("post it in parts"),
        "{answer:?}"
    );
    let values = format!("[{{\"message\": 1, \"values\": [{}0]}}]", "0,".repeat(3 << 20));
    assert_eq!(source.post("/api/logs", "", values.as_bytes()).status, 413);
    assert_eq!(source.records().len(), 0);
    assert_eq!(
        source
            .post("/lines", "", &b"a line of an ordinary length\n".repeat(10_000))
            .status,
        201
    );
    assert_eq!(source.records().len(), 10_000);
}

#[test]
fn client_above_its_rate_is_told_when_to_come_again() {
    let source = RunningSource::start(", rate: 3");
    let answers: Vec<_> = (0..20)
        .map(|number| source.post("/lines", "", format!("{number}\n").as_bytes()))
        .collect();
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    let waited: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(taken >= 3 && !waited.is_empty() && taken + waited.len() == 20);
    assert!(waited.iter().all(|answer| answer.head.contains("retry-after: 1")));
    assert_eq!(source.records().len(), taken);
}

#[test]
fn record_over_the_limit_is_cut_marked_and_counted() {
    let source = RunningSource::start("");
    let body = serde_json::json!({"message": "x".repeat(100_000)}).to_string();
    assert_eq!(source.post("/log", "", body.as_bytes()).status, 201);
    let record = &source.records()[0];
    assert!(record["message"].as_str().expect("a text").ends_with('…'));
    assert!(record["cut_bytes"].as_u64().expect("a number") > 30_000);
}

#[test]
fn clients_that_stall_keep_no_other_away() {
    let source = RunningSource::start(", max_connections: 400");
    let mut stalled = Vec::new();
    for number in 0..300 {
        let mut stream = source.connect();
        let part = match number % 3 {
            0 => "",
            1 => "POST /lines HT",
            _ => "POST /lines HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\nhalf",
        };
        stream.write_all(part.as_bytes()).expect("connected");
        stalled.push(stream);
    }
    for number in 0..50 {
        assert_eq!(
            source
                .post("/lines", "", format!("line {number}\n").as_bytes())
                .status,
            201
        );
    }
    assert_eq!(source.records().len(), 50);
    drop(stalled);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let source = RunningSource::start("");
    let mut stream = source.connect();
    for number in 0..10 {
        send(&mut stream, "/lines", "", format!("line {number}\n").as_bytes());
    }
    for _ in 0..10 {
        assert_eq!(Answer::read(&mut stream).status, 201);
    }
    assert_eq!(
        source.messages(),
        (0..10).map(|number| format!("line {number}")).collect::<Vec<_>>()
    );
}
