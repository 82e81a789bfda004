//! The end of the page: what was compared, and what was not. It is signed, so each sentence says no more than was done.

use logferry_ledger::BatchFilter;
use logferry_text::{count, count_of, escape_html};

use super::PageFacts;
use crate::audit::covers_all_times;
use crate::audit::report::{Audit, SignedWindows};

/// What was read back from the destinations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadBackResult {
    /// Deliveries whose file was looked for and read.
    pub deliveries: u64,
    /// Deliveries of an earlier version, whose size or SHA-256 the ledger does not have.
    pub unrecorded: u64,
    /// Destinations that could not be read to the end.
    pub unread: Vec<String>,
    /// Destinations of deliveries that are not configured any more.
    pub unknown: Vec<String>,
}

/// How it was checked.
pub(super) fn section(audit: &Audit, facts: &PageFacts) -> String {
    let paragraphs = [
        compared(&facts.filter),
        windows(&audit.signed, &facts.filter),
        remote(facts.read_back.as_ref()),
    ];
    let paragraphs = paragraphs.map(|text| format!("<p>{}</p>\n", escape_html(&text)));
    format!(
        "<h2>How it was checked</h2>\n{}<p class=\"soft\">logferry {}; ledger <code>{}</code>; key <code>{}</code>. The last \
         line of this file signs it: <code>logferry audit --check FILE</code>.</p>\n",
        paragraphs.concat(),
        escape_html(&facts.version),
        escape_html(&facts.ledger),
        escape_html(&facts.key)
    )
}

fn compared(filter: &BatchFilter) -> String {
    let lines = if covers_all_times(filter) {
        "The lines that each source's senders reported were compared with the lines in its batches."
    } else {
        "The senders report the lines that they read over all times, so these were not compared with the batches of this \
         period; an audit without --since, --until and --window does that."
    };
    format!(
        "{lines} Every batch above that is still in the spool was read whole and compared by CRC-32C; every delivery that the \
         configuration asks for was looked up in the ledger."
    )
}

fn windows(signed: &SignedWindows, filter: &BatchFilter) -> String {
    if signed.windows == 0 {
        return "No window of this period was signed before this audit.".to_owned();
    }
    let were_signed = format!(
        "{} {} signed when all batches of it were delivered. Every signature of such a window was checked.",
        count_of(signed.windows, "window"),
        if signed.windows == 1 { "was" } else { "were" },
    );
    if filter.source.is_some() {
        return format!(
            "{were_signed} A window is signed with the sums of all its sources, so these were not compared with the batches of \
             this one; an audit without --source does that."
        );
    }
    format!(
        "{were_signed} The sums of each were compared with the ledger, {} of them row by row.",
        count(signed.row_by_row)
    )
}

fn remote(read_back: Option<&ReadBackResult>) -> String {
    let Some(done) = read_back else {
        return "Files at the destinations were verified when they were delivered; this audit did not read them again (`logferry \
                audit --verify` does)."
            .to_owned();
    };
    let mut sentences = vec![match done.deliveries {
        0 => "No delivered file was read back.".to_owned(),
        deliveries => format!(
            "The files of {} were looked for at their destinations, read whole and compared by SHA-256.",
            count_of(deliveries, "delivery")
        ),
    }];
    if done.unrecorded > 0 {
        sentences.push(format!(
            "Not read: the files of {} by an earlier version, which recorded no SHA-256 of them.",
            count_of(done.unrecorded, "delivery")
        ));
    }
    for (names, reason) in [
        (&done.unread, "could not be read to the end"),
        (&done.unknown, "is not configured any more"),
    ] {
        let told = |name| format!("Not compared: the files at {name}, which {reason}.");
        sentences.extend(names.iter().map(told));
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn signed() -> SignedWindows {
        SignedWindows {
            windows: 3,
            row_by_row: 2,
            key: None,
        }
    }

    #[test]
    fn a_page_of_a_period_does_not_claim_the_comparison_with_the_senders() {
        let all = BatchFilter::default();
        assert!(compared(&all).contains("reported were compared"));
        for (since, until) in [(Some(Timestamp::MIN), None), (None, Some(Timestamp::MAX))] {
            let period = BatchFilter {
                since,
                until,
                ..all.clone()
            };
            assert!(compared(&period).contains("these were not compared"));
        }
    }

    #[test]
    fn a_page_of_a_source_does_not_claim_that_sums_of_windows_were_compared() {
        let all = windows(&signed(), &BatchFilter::default());
        assert!(all.ends_with("The sums of each were compared with the ledger, 2 of them row by row."));
        let filter = BatchFilter {
            source: "198.51.100.1".parse().ok(),
            ..BatchFilter::default()
        };
        let of_source = windows(&signed(), &filter);
        assert!(of_source.starts_with("3 windows were signed"), "{of_source}");
        assert!(
            of_source.contains("were not compared") && !of_source.contains("row by row"),
            "{of_source}"
        );
    }

    #[test]
    fn a_page_names_what_was_not_read_back() {
        assert!(remote(None).contains("did not read them again"));
        let whole = ReadBackResult {
            deliveries: 1_200,
            ..ReadBackResult::default()
        };
        assert_eq!(
            remote(Some(&whole)),
            "The files of 1,200 deliveries were looked for at their destinations, read whole and compared by SHA-256."
        );
        let part = ReadBackResult {
            unrecorded: 1,
            unread: vec!["lab".to_owned()],
            unknown: vec!["old".to_owned()],
            ..whole
        };
        let part = remote(Some(&part));
        for told in [
            "1 delivery by an earlier version",
            "the files at lab, which could not be read to the end",
            "the files at old, which is not configured any more",
        ] {
            assert!(part.contains(told), "{part}");
        }
        assert!(remote(Some(&ReadBackResult::default())).contains("No delivered file was read back"));
    }
}
