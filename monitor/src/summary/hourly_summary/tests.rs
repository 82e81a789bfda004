use jiff::tz::Offset;
use logferry_ledger::BatchFilter;

use super::*;
use crate::tests::relay_host::{RelayHost, at};

const NOW: &str = "2026-11-21T03:15:00Z";

fn mail(host: &RelayHost) -> NewMail {
    let hour = SummaryHour::starting_at(at("2026-11-21T02:00:00Z"));
    let sources = host.ledger.sources().expect("sources");
    let batches = host.ledger.batches(&BatchFilter::default()).expect("batches");
    let totals = host.ledger.source_line_totals().expect("totals");
    let names = sources.iter().map(|record| &record.source);
    HourlySummary::new(hour, names, &batches, &totals).mail(&TimeZone::fixed(Offset::constant(6)))
}

/// One batch of that many lines of 100 bytes.
fn take(host: &mut RelayHost, name: &str, window_start: &str, lines: usize) -> Batch {
    let text = format!("{}\n", "x".repeat(99)).repeat(lines);
    let open = host.take(name, window_start, &text, at(NOW));
    host.seal(&open, at(NOW))
}

#[test]
fn an_hour_with_all_lines_delivered_says_so() {
    let mut host = RelayHost::new();
    for (name, start, lines) in [
        ("198.51.100.1", "2026-11-21T01:40:00Z", 7),
        ("198.51.100.1", "2026-11-21T02:00:00Z", 1200),
        ("198.51.100.1", "2026-11-21T02:40:00Z", 34),
        ("198.51.100.2", "2026-11-21T03:00:00Z", 9),
    ] {
        let ready = take(&mut host, name, start, lines);
        host.deliver(&ready, "edw", at(NOW));
    }
    let mail = mail(&host);
    assert_eq!(mail.subject, "2026-11-21 08:00-09:00: 1,234 lines, all delivered");
    assert_eq!(
        mail.text,
        "2026-11-21 08:00-09:00 (+06:00)\n\
         1,234 lines, all delivered\n\
         \n\
         source        files  lines      bytes  delivered  waiting  failed\n\
         198.51.100.1      2  1,234  120.5 KiB      1,234        0       0\n\
         198.51.100.2      0      0        0 B          0        0       0\n\
         all               2  1,234  120.5 KiB      1,234        0       0\n"
    );
    assert!(!mail.html.expect("HTML").contains("#b00020"), "nothing is red");
}

#[test]
fn waiting_failed_and_miscounted_lines_are_marked_red() {
    let mut host = RelayHost::new();
    take(&mut host, "198.51.100.1", "2026-11-21T02:00:00Z", 2000);
    let ready = take(&mut host, "198.51.100.2", "2026-11-21T02:20:00Z", 3);
    host.give_up(&ready, "edw", at(NOW));
    let ready = take(&mut host, "198.51.100.3", "2026-11-21T02:20:00Z", 1);
    host.deliver(&ready, "edw", at(NOW));
    host.claim("198.51.100.3", 5, 0, at(NOW));
    let mail = mail(&host);
    assert_eq!(
        mail.subject,
        "2026-11-21 08:00-09:00: 2,004 lines, 2,000 waiting, 3 failed, counts differ"
    );
    assert_eq!(
        mail.text,
        "2026-11-21 08:00-09:00 (+06:00)\n\
         2,004 lines, 2,000 waiting, 3 failed, counts differ\n\
         \n\
         source        files  lines      bytes  delivered  waiting  failed\n\
         198.51.100.1      1  2,000  195.3 KiB          0    2,000       0  !\n\
         198.51.100.2      1      3      300 B          0        0       3  !\n\
         198.51.100.3      1      1      100 B          1        0       0  ! counts differ since the beginning: \
         6 lines sent, 1 stored\n\
         all               3  2,004  195.7 KiB          1    2,000       3  !\n"
    );
    let html = mail.html.expect("HTML");
    let red = |text: &str| {
        let cell = html.lines().find(|line| line.contains(&format!(">{text}<")));
        cell.expect("there is such a cell").contains("color:#b00020")
    };
    assert!(red("198.51.100.1") && red("198.51.100.2") && red("198.51.100.3") && red("all"));
}

#[test]
fn an_hour_without_lines_says_so() {
    let mut host = RelayHost::new();
    host.make_contact("198.51.100.1", at(NOW));
    let mail = mail(&host);
    assert_eq!(mail.subject, "2026-11-21 08:00-09:00: no lines");
    assert_eq!(
        mail.html.expect("HTML"),
        "<h2 style=\"margin:0 0 8px;font-size:18px;\">2026-11-21 08:00-09:00 (+06:00)</h2>\n\
         <p style=\"margin:0 0 12px;\">no lines</p>\n\
         <table style=\"border-collapse:collapse;\">\n"
            .to_owned()
            + &html_row(
                "th",
                "font-weight:bold;",
                &TITLES.map(|title| title.trim_start_matches('>'))
            )
            + &html_row("td", "", &["198.51.100.1", "0", "0", "0 B", "0", "0", "0", ""])
            + &html_row(
                "td",
                "font-weight:bold;",
                &["all", "0", "0", "0 B", "0", "0", "0", ""]
            )
            + "</table>\n"
    );
}

fn html_row(tag: &str, style: &str, cells: &[&str; 8]) -> String {
    let cell = |(column, text): (usize, &&str)| {
        let side = if (1..7).contains(&column) { "right" } else { "left" };
        format!(
            "<{tag} style=\"padding:4px 10px;border:1px solid #cccccc;text-align:{side};{style}\">{text}</{tag}>\n"
        )
    };
    let cells: Vec<_> = cells.iter().enumerate().map(cell).collect();
    format!("<tr>\n{}</tr>\n", cells.concat())
}
