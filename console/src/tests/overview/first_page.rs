//! What the first page costs on the wire: the overview of a large fleet with all that it loads.

use std::collections::BTreeSet;

use jiff::Timestamp;
use logferry_ledger::{NewBatch, Window};
use logferry_testkit::batches::commit;

use super::super::http::get;
use super::super::relay_host::{RelayFixture, Running};

const SOURCES: u32 = 300;

/// Bytes of page, style sheet, icon and scripts together.
const FIRST_PAGE_MAX: usize = 150 << 10;

/// Sources in ten groups, each with a batch now and lines all day.
fn fleet(host: &mut RelayFixture) {
    let now = Timestamp::now();
    for number in 0..SOURCES {
        let source = format!("web-frontend-{number:03}.example.com");
        let new = NewBatch {
            source: source.parse().expect("valid"),
            group: format!("group-{}", number / 30).parse().expect("valid"),
            log: None,
            window: Window {
                start: now.as_second() - now.as_second().rem_euclid(1200),
                seconds: 1200,
                utc_offset: 0,
            },
            base_name: format!("access_{number}"),
        };
        let batch = host.ledger.open_batch(&new, now).expect("opened");
        commit(&mut host.ledger, &batch, b"a line\n");
        let contact = host.ledger.note_contact(&batch.source, &batch.group, now);
        contact.expect("noted");
    }
    host.count_day((0..SOURCES).map(|number| format!("web-frontend-{number:03}.example.com")));
}

/// The files that a page loads, and what these import.
async fn files(console: &Running, page: &str) -> Vec<(String, usize)> {
    let quoted = |text: &str, before: &str| -> Vec<String> {
        let parts = text.split(before).skip(1);
        parts
            .filter_map(|part| Some(part.split_once('"')?.0.to_owned()))
            .collect()
    };
    let mut due = [
        quoted(page, "<link rel=\"icon\" href=\""),
        quoted(page, "<link rel=\"stylesheet\" href=\""),
        quoted(page, " src=\""),
    ]
    .concat();
    let mut known = BTreeSet::new();
    let mut files = Vec::new();
    while let Some(path) = due.pop() {
        if !known.insert(path.clone()) {
            continue;
        }
        let answer = console.send(get(&path)).await;
        assert_eq!(answer.status, 200, "{path}");
        let folder = path.rsplit_once('/').expect("a path").0;
        for import in quoted(&answer.text(), "from \"./") {
            due.push(format!("{folder}/{import}"));
        }
        for import in quoted(&answer.text(), "from \"../") {
            let above = folder.rsplit_once('/').expect("a path").0;
            due.push(format!("{above}/{import}"));
        }
        files.push((path, answer.body.len()));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn first_page_of_300_sources_has_at_most_150_kib() {
    let mut host = RelayFixture::new();
    fleet(&mut host);
    let console = host.open_console().await;
    let page = console.send(get("/")).await;
    let text = page.text();
    assert_eq!(page.status, 200, "{text}");
    assert_eq!(
        text.matches("<tr><td><a href=\"/windows?source=web-").count(),
        300,
        "all of them are listed"
    );
    assert!(text.contains("290 more"), "the chart is drawn");
    let files = files(&console, &text).await;
    let names: Vec<_> = files
        .iter()
        .map(|(path, _)| path.rsplit('/').next().expect("a name"))
        .collect();
    for expected in ["console.css", "icon.svg", "shell.js", "chart.js", "dom.js"] {
        assert!(names.contains(&expected), "{expected} in {names:?}");
    }
    let bytes = page.body.len() + files.iter().map(|(_, bytes)| bytes).sum::<usize>();
    assert!(
        bytes <= FIRST_PAGE_MAX,
        "{bytes} bytes, {} of them the page: {files:?}",
        page.body.len()
    );
    console.stop().await;
}
