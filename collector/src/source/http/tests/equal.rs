//! Equal records that are no repeats: posted at the same time, or after an answer that has arrived.

use std::time::Duration;

use super::*;

#[test]
fn equal_records_that_would_wait_too_long_for_each_other_are_sent_away_and_each_is_kept_in_the_end() {
    let mut source = RunningSource::start_held(tempfile::tempdir().expect("a folder"), "", 0);
    let mut streams: Vec<_> = (0..3).map(|_| source.connect()).collect();
    for stream in &mut streams {
        send(stream, "/lines", "", b"alive\n");
    }
    // One of them is worked on for as long as nothing can be stored.
    let (answered, mut others): (Vec<_>, Vec<_>) = streams.into_iter().partition(|stream| {
        let limit = Duration::from_secs(6);
        stream.set_read_timeout(Some(limit)).expect("settable");
        stream.peek(&mut [0]).is_err()
    });
    assert_eq!((answered.len(), others.len()), (1, 2));
    for stream in &mut others {
        let answer = Answer::read(stream);
        assert!(
            answer.status == 503 && answer.head.contains("retry-after: 1"),
            "{answer:?}"
        );
        assert!(
            answer.body.contains("nothing was stored, send it again"),
            "{answer:?}"
        );
    }
    source.store();
    for mut stream in answered {
        assert_eq!(Answer::read(&mut stream).status, 201);
    }
    for stream in &mut others {
        send(stream, "/lines", "", b"alive\n");
        assert_eq!(Answer::read(stream).status, 201);
    }
    assert_eq!(source.messages(), ["alive"; 3]);
}

#[test]
fn answer_that_was_taken_has_arrived_though_the_source_closes_first() {
    let source = RunningSource::start("");
    let mut stream = source.connect();
    send(&mut stream, "/lines", "Connection: close\r\n", b"alive\n");
    assert_eq!(Answer::read(&mut stream).status, 201);
    // The client keeps its end open for longer than the source waits for it.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(source.post("/lines", "", b"alive\n").status, 201);
    assert_eq!(source.messages(), ["alive"; 2]);
    drop(stream);
}
