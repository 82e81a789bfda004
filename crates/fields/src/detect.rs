//! Finds the format of a log from its first lines.

use crate::format::Format;

impl Format {
    /// The format that most of these lines have; `text` if they have no other. Blank lines do not count.
    pub fn found_in<'l>(lines: impl Iterator<Item = &'l [u8]> + Clone) -> Self {
        let lines = lines.filter(|line| !line.trim_ascii().is_empty());
        let count = lines.clone().count();
        let fits = |format: &Self| {
            let mut fields = Vec::new();
            let fitting = lines.clone().filter(|line| format.suits(line, &mut fields));
            fitting.count() * 2 > count
        };
        Self::detectable()
            .into_iter()
            .find(fits)
            .unwrap_or_else(Self::text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_that_of_most_of_the_first_lines() {
        let combined = r#"10.0.0.1 - - [21/Nov/2026:08:20:03 +0600] "GET / HTTP/1.1" 200 5 "-" "x""#;
        let common = r#"10.0.0.1 - - [21/Nov/2026:08:20:03 +0600] "GET / HTTP/1.1" 200 5"#;
        for (lines, expected) in [
            (vec![combined, "", "  at some.Class", combined], "combined"),
            (vec![common], "common"),
            (vec![r#"{"a":1}"#, r#"{"b":2}"#, "x"], "json"),
            (vec!["a:1\tb:2"], "ltsv"),
            (vec!["level=info msg=\"x y\""], "logfmt"),
            (vec!["<34>Oct 11 22:14:15 web1 su: failed"], "syslog"),
            (vec!["Oct 11 22:14:15 web1 su: failed"], "syslog"),
            (vec!["2026-11-21 02:20:03 INFO [x] a=1 b=2"], "text"),
            (vec!["2026-11-21T02:20:03Z INFO [x] y"], "text"),
            (vec![combined, r#"{"a":1}"#], "text"),
            (vec!["", " "], "text"),
            (vec![], "text"),
        ] {
            let found = Format::found_in(lines.iter().map(|line| line.as_bytes()));
            assert_eq!(found, Format::parse(expected).expect("a format"), "{lines:?}");
        }
    }
}
