//! Pages to try templates with: an hour with everything, and a day on which nothing came.

use super::{
    PageAttachment, PageAudit, PageDay, PageIncident, PagePicture, PageSource, PageTables, PageTotal,
    PageWindow, PageWindows, SummaryPage,
};

pub(crate) fn pages() -> [SummaryPage; 2] {
    [full(), empty()]
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn full() -> SummaryPage {
    SummaryPage {
        kind: "hour",
        label: text("2026-11-21 08:00-09:00"),
        conclusion: text("1,234 lines, 200 waiting"),
        verdict: text("Not all is well: 200 lines not delivered yet."),
        level: "look",
        problems: vec![text("200 lines not delivered yet")],
        notices: vec![text("This mail is late.")],
        totals: vec![PageTotal {
            name: text("lines"),
            now: text("1,234"),
            before: text("1,100"),
            change: text("+12%"),
        }],
        picture: Some(PagePicture {
            src: text("cid:traffic@logferry"),
            alt: text("Lines a minute"),
        }),
        windows: PageWindows {
            text: text("0 of 1 window are whole"),
            rows: vec![PageWindow {
                label: text("08:00-08:20"),
                is_whole: false,
                text: text("200 lines waiting"),
            }],
        },
        incidents: vec![PageIncident {
            since: text("2026-11-21 08:10:00 +06:00"),
            text: text("destination edw is down"),
        }],
        sources: vec![source()],
        sources_total: text("300"),
        audit: PageAudit {
            is_complete: false,
            text: text("NOT complete: 1 fault"),
            findings: vec![text("198.51.100.1: its streams sent 5 lines, its batches hold 4")],
        },
        days: vec![PageDay {
            label: text("Fri 2026-11-20"),
            lines: text("1,234"),
            bytes: text("120.5 KiB"),
            change: text("+12%"),
            percent: 100,
        }],
        attachments: vec![PageAttachment {
            name: text("sources-2026-11-21T08.csv"),
            text: text("all sources"),
        }],
        ..empty()
    }
}

fn source() -> PageSource {
    PageSource {
        source: text("198.51.100.1"),
        is_troubled: true,
        note: text("waiting"),
        lines: text("1,234"),
        change: text("+12%"),
        bytes: text("120.5 KiB"),
        batches: text("3"),
        delivered: text("1,034"),
        waiting: text("200"),
        failed: text("0"),
        lag: text("0"),
        server_errors: text("0.8%"),
    }
}

fn empty() -> SummaryPage {
    SummaryPage {
        kind: "day",
        label: text("2026-11-21"),
        zone: text("+06:00"),
        conclusion: text("no lines"),
        verdict: text("All is well."),
        level: "well",
        problems: Vec::new(),
        notices: Vec::new(),
        compared: "yesterday",
        totals: Vec::new(),
        picture: None,
        windows: PageWindows {
            text: text("no windows: no lines came"),
            rows: Vec::new(),
        },
        incidents: Vec::new(),
        sources: Vec::new(),
        sources_total: text("0"),
        audit: PageAudit {
            is_complete: true,
            text: text("complete: there was nothing to check"),
            findings: Vec::new(),
        },
        days: Vec::new(),
        attachments: Vec::new(),
        tables: PageTables {
            totals: text("lines  0\n"),
            sources: String::new(),
            days: String::new(),
        },
    }
}
