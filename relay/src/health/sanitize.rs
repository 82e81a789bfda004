//! Escapes control characters in a sender's report, because its texts are shown on terminals, in logs and in mails.
//!
//! Pure. A path may contain every character except NUL and the slash (pathname(7)), so such a report is valid.

use std::borrow::Cow;

use logferry_protocol::heartbeat::{Heartbeat, PROBLEMS_MAX};
use logferry_text::escape_controls;

/// The report with every control character in its texts escaped, as `\n` or `\u{1b}`.
pub(crate) fn without_control_characters(mut report: Heartbeat) -> Heartbeat {
    let streams = report.streams.iter_mut().map(|stream| &mut stream.path);
    let gaps = report.gaps.iter_mut().map(|gap| &mut gap.path);
    let held = report.held.iter_mut();
    let held = held.flat_map(|file| [&mut file.path, &mut file.reason]);
    report.log_problems.truncate(PROBLEMS_MAX);
    let problems = report.log_problems.iter_mut();
    let problems = problems.flat_map(|problem| [&mut problem.path, &mut problem.reason]);
    let texts = streams.chain(gaps).chain(held).chain(problems);
    let texts = texts.chain(&mut report.unreadable).chain(&mut report.neighbours);
    for text in texts.chain([&mut report.version]) {
        if let Cow::Owned(escaped) = escape_controls(text) {
            *text = escaped;
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use logferry_protocol::stream::{FileKey, Head, StreamId};

    use super::*;

    #[test]
    fn control_characters_are_escaped_in_every_text() {
        let report = r#"{
            "version": "1\u001b[2J", "unreadable": ["/log/\u00e9", "a\r\nBcc: x@example.com"],
            "streams": [{"stream": "STREAM", "log": "access", "path": "/a\u0007", "acked": 0, "size": 0, "rotated": false}],
            "log_problems": [{"log": "access", "path": "/d\u0007", "reason": "\u001b[2J"}],
            "held": [{"path": "/c\u0008", "reason": "\u001b]0;x"}],
            "gaps": [{"stream": "STREAM", "log": "access", "path": "/b\u009b", "from": 0, "until": null, "noticed_at": 0}]
        }"#;
        let head = Head::of(b"line\n").expect("a line");
        let stream = StreamId::derive(FileKey { dev: 1, inode: 1 }, head, 0);
        let report = report.replace("STREAM", &stream.to_string());
        let report = without_control_characters(serde_json::from_str(&report).expect("a report"));
        assert_eq!(report.version, r"1\u{1b}[2J");
        assert_eq!(report.unreadable, ["/log/\u{e9}", r"a\r\nBcc: x@example.com"]);
        assert_eq!(report.streams[0].path, r"/a\u{7}");
        assert_eq!(report.gaps[0].path, r"/b\u{9b}");
        assert_eq!(report.held[0].path, r"/c\u{8}");
        assert_eq!(report.held[0].reason, r"\u{1b}]0;x");
        assert_eq!(report.log_problems[0].path, r"/d\u{7}");
        assert_eq!(report.log_problems[0].reason, r"\u{1b}[2J");
    }
}
