//! A sender's report, made safe to show: its texts end up on terminals, in logs and in mails.
//!
//! Pure. A path may hold any character but NUL and the slash (pathname(7)), so that such a report is not wrong; but none
//! of its control characters goes any further.

use logferry_protocol::heartbeat::Heartbeat;

/// The report with every control character in its texts written out, as `\n` or `\u{1b}`.
pub(crate) fn shown_safely(mut report: Heartbeat) -> Heartbeat {
    let streams = report.streams.iter_mut().map(|stream| &mut stream.path);
    let gaps = report.gaps.iter_mut().map(|gap| &mut gap.path);
    let texts = streams.chain(gaps).chain(&mut report.unreadable);
    for text in texts.chain([&mut report.version]) {
        if text.contains(char::is_control) {
            *text = escaped(text);
        }
    }
    report
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out_wherever_they_are() {
        let report = r#"{
            "version": "1\u001b[2J", "unreadable": ["/log/\u00e9", "a\r\nBcc: x@example.com"],
            "streams": [{"stream": "STREAM", "log": "access", "path": "/a\u0007", "acked": 0, "size": 0, "rotated": false}],
            "gaps": [{"stream": "STREAM", "log": "access", "path": "/b\u009b", "from": 0, "until": null, "noticed_at": 0}]
        }"#;
        let stream = logferry_protocol::stream::StreamId::derive(
            logferry_protocol::stream::FileKey { dev: 1, inode: 1 },
            logferry_protocol::stream::Head::of(b"line\n").expect("a line"),
            0,
        );
        let report = report.replace("STREAM", &stream.to_string());
        let report = shown_safely(serde_json::from_str(&report).expect("a report"));
        assert_eq!(report.version, r"1\u{1b}[2J");
        assert_eq!(report.unreadable, ["/log/\u{e9}", r"a\r\nBcc: x@example.com"]);
        assert_eq!(report.streams[0].path, r"/a\u{7}");
        assert_eq!(report.gaps[0].path, r"/b\u{9b}");
    }
}
