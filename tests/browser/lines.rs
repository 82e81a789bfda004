//! Lines as they come, and lines that are looked for.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::console_host::ConsoleHost;
use super::driver::{Browser, keys};
use crate::support::{WAIT_LIMIT, becomes_true};

/// A line of now.
fn line(path: &str, status: u16) -> String {
    let time = Timestamp::now()
        .to_zoned(TimeZone::UTC)
        .strftime("%d/%b/%Y:%H:%M:%S +0000")
        .to_string();
    format!("192.0.2.7 - - [{time}] \"GET {path} HTTP/1.1\" {status} 512 \"-\" \"curl/8\"\n")
}

/// Posts lines until a page shows one of them: a stream begins at the present moment.
fn post_until_seen(host: &ConsoleHost, browser: &Browser, source: &str, path: &str, status: u16) {
    let script = format!("return document.getElementById('log').innerText.includes('{path}')");
    let is_seen = becomes_true(WAIT_LIMIT, || {
        host.post(source, &line(path, status));
        browser.script(&script) == true
    });
    assert!(is_seen, "{path} is not shown");
}

#[test]
fn live_lines_arrive_pause_and_follow_the_filter() {
    let host = ConsoleHost::start("console-live");
    let browser = host.browser_at("/live");
    browser.wait_for(
        "the stream",
        "return document.getElementById('stream-state').textContent === 'live'",
    );
    post_until_seen(&host, &browser, "198.51.100.1", "/first", 200);

    browser.press("p");
    browser.wait_for(
        "the pause",
        "return document.getElementById('pause').textContent === 'Resume'",
    );
    let rows = browser.count("#log .row");
    host.post("198.51.100.1", &line("/while-paused", 200));
    browser.wait_for(
        "a waiting line",
        "return document.getElementById('tally').textContent.includes('wait')",
    );
    assert_eq!(browser.count("#log .row"), rows);
    browser.press("p");
    browser.wait_for(
        "the waiting line",
        "return document.getElementById('log').innerText.includes('/while-paused')",
    );

    browser.press("c");
    browser.type_into("#filter-status", &format!("5xx{}", keys::ENTER));
    browser.wait_for("the filter", "return location.search.includes('status=5xx')");
    browser.wait_for(
        "the stream",
        "return document.getElementById('stream-state').textContent === 'live'",
    );
    host.post("198.51.100.1", &line("/fine", 200));
    post_until_seen(&host, &browser, "198.51.100.1", "/broken", 503);
    assert!(!browser.text("#log").contains("/fine"));
    browser.picture("live-filtered");
    assert_eq!(browser.console_log(), Vec::<String>::new());
}

/// Opens the first line of a page, and chooses among its fields.
fn choose_field(browser: &Browser, title: &str) {
    browser.press("j");
    browser.press(keys::ENTER);
    browser.wait_for(
        "the fields",
        "return document.querySelector('.detail .facts') !== null",
    );
    browser.script(&format!(
        "[...document.querySelectorAll('.detail .facts button')].find((it) => it.title === '{title}').click()"
    ));
}

#[test]
fn a_click_on_a_value_finds_the_lines_with_it_or_those_without_it() {
    let host = ConsoleHost::start("console-values");
    host.post("198.51.100.2", &line("//xmlrpc.php", 404));
    host.wait_for_indexed("xmlrpc", 1);
    let browser = host.browser_at("/search?q=xmlrpc");
    let one_line = "return document.querySelectorAll('#log > .row').length === 1";
    browser.wait_for("one line", one_line);
    choose_field(&browser, "Only lines with this path");
    browser.wait_for("the field", "return location.search.includes('path')");
    browser.wait_for("the same line", one_line);

    browser.open(&host.address("/live"));
    post_until_seen(&host, &browser, "198.51.100.1", "/first", 200);
    choose_field(&browser, "Only lines without this status");
    browser.wait_for(
        "the filter",
        "return document.getElementById('filter-q').value === '-status:200'",
    );
}

#[test]
fn a_search_leads_to_a_line_and_its_context() {
    let host = ConsoleHost::start("console-search");
    let lines: Vec<_> = (0..30)
        .map(|number| line(&format!("/page/{number}"), 200))
        .collect();
    host.post("198.51.100.2", &lines.concat());
    host.post("198.51.100.3", &line("/needle", 503));
    host.wait_for_indexed("needle", 1);
    let browser = host.browser_at("/search?q=path:/page/15");
    browser.wait_for(
        "one line",
        "return document.querySelectorAll('#log > .row').length === 1",
    );

    browser.press("j");
    browser.press(keys::ENTER);
    browser.wait_for(
        "the fields",
        "return document.querySelector('.detail .facts') !== null",
    );
    assert!(browser.text(".detail .facts").contains("/page/15"));
    browser.click(".detail .tools button");
    browser.wait_for(
        "the context",
        "return document.querySelectorAll('.detail .log .row').length > 10",
    );
    let context = browser.text(".detail .log");
    assert!(
        context.contains("/page/14") && context.contains("/page/16"),
        "{context}"
    );
    browser.picture("search-context");

    browser.open(&host.address("/search?since=1h"));
    browser.wait_for(
        "all lines",
        "return document.querySelectorAll('#log > .row').length === 31",
    );
    browser.wait_for(
        "the facets",
        "return document.getElementById('facets').innerText.includes('503')",
    );
    assert!(
        browser.text("#facets").contains("All 31 lines"),
        "{}",
        browser.text("#facets")
    );
    browser.script("[...document.querySelectorAll('#facets button')].find((it) => it.innerText.startsWith('503')).click()");
    browser.wait_for(
        "only the needle",
        "return document.querySelectorAll('#log > .row').length === 1",
    );
    assert!(browser.text("#log").contains("/needle"));
    assert!(
        browser.address().contains("status%3A503"),
        "{}",
        browser.address()
    );
    browser.script("history.back()");
    browser.wait_for(
        "all lines again",
        "return document.querySelectorAll('#log > .row').length === 31",
    );
    assert_eq!(browser.console_log(), Vec::<String>::new());
}

#[test]
fn a_ticket_and_a_hidden_line_survive_a_restart_and_are_undone() {
    let mut host = ConsoleHost::start("console-tickets");
    host.post("198.51.100.2", &(line("/keep", 200) + &line("/noise", 200)));
    host.wait_for_indexed("noise", 1);
    let browser = host.browser_at("/search?since=1h");
    browser.wait_for(
        "both lines",
        "return document.querySelectorAll('#log > .row').length === 2",
    );
    let click = |text: &str, action: &str| {
        let script = format!(
            "const row = [...document.querySelectorAll('#log > .row')].find((it) => it.innerText.includes('{text}'));
             [...row.querySelectorAll('button')].find((it) => it.textContent === '{action}').click()"
        );
        browser.script(&script);
    };
    click("/keep", "Ticket");
    browser.wait_for(
        "the ticket",
        "return document.querySelector('.toast')?.textContent.includes('ticket')",
    );
    browser.wait_for(
        "the ticket's sign",
        "return document.querySelectorAll('#log .from a.ticket').length === 1",
    );
    click("/noise", "Hide");
    browser.wait_for(
        "the undo",
        "return document.querySelector('.toast button')?.textContent === 'Undo'",
    );
    host.restart();

    browser.open(&host.address("/search?since=1h"));
    browser.wait_for(
        "one line",
        "return document.querySelectorAll('#log > .row').length === 1",
    );
    assert!(browser.text("#log").contains("/keep"));
    assert_eq!(browser.count("#log .from a.ticket"), 1);
    // A second click opens the ticket, and takes it not away.
    click("/keep", "Ticket");
    browser.wait_for(
        "the ticket",
        "return location.pathname === '/tickets' && document.querySelector('section.ticket:target')?.innerText.includes('/keep')",
    );
    browser.picture("tickets");
    browser.click("form.unhide button");
    // The page after the form would replace the next one.
    browser.wait_for(
        "no hidden line",
        "return document.body.innerText.includes('No line is hidden')",
    );
    browser.open(&host.address("/search?since=1h"));
    browser.wait_for(
        "both lines again",
        "return document.querySelectorAll('#log > .row').length === 2",
    );
}
