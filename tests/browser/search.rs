//! What a reader does with a search: drags over its bars, cancels it and goes on, keeps it for later.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::console_host::ConsoleHost;
use super::driver::{Browser, keys};

fn host(test: &str) -> ConsoleHost {
    let host = ConsoleHost::start(test);
    host.post_a_day();
    host.wait_for_indexed("orders", 1000);
    host
}

/// A moment in the address of the page.
fn in_address(browser: &Browser, name: &str) -> Timestamp {
    let value = browser.script(&format!(
        "return new URLSearchParams(location.search).get('{name}')"
    ));
    value
        .as_str()
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{name} in {}", browser.address()))
}

fn ids(browser: &Browser) -> Vec<String> {
    let ids =
        browser.script("return [...document.querySelectorAll('#log > .row')].map((it) => it.dataset.id)");
    let ids = ids.as_array().into_iter().flatten();
    ids.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn dragging_over_the_bars_chooses_a_time() {
    let host = host("console-drag");
    let browser = host.browser_at("/search?q=path:/login&since=24h");
    browser.wait_for(
        "lines",
        "return document.querySelectorAll('#log > .row').length > 100",
    );
    let now = Timestamp::now().as_second();
    browser.drag("#histogram svg", 0.25, 0.5);
    browser.wait_for("the time", "return location.search.includes('until=')");
    let [since, until] = ["since", "until"].map(|name| now - in_address(&browser, name).as_second());
    // Of 24 hours the middle of the first half; a bar is a quarter of an hour.
    assert!(
        (since - 64_800).abs() < 2000 && (until - 43_200).abs() < 2000,
        "{since} {until}"
    );
    browser.wait_for(
        "lines",
        "return document.querySelectorAll('#log > .row').length > 20",
    );
    let outside = browser.script(
        "const words = new URLSearchParams(location.search);
         return [...document.querySelectorAll('#log .when')].map((it) => it.dateTime)
             .filter((it) => Date.parse(it) < Date.parse(words.get('since')) || Date.parse(it) > Date.parse(words.get('until')))",
    );
    assert_eq!(outside, json!([]));
    assert_eq!(
        browser.script("return document.getElementById('range').value"),
        "own"
    );
    browser.script("history.back()");
    browser.wait_for(
        "the day again",
        "return document.getElementById('range').value === '24h'",
    );
}

#[test]
fn a_cancelled_search_says_how_far_it_came_and_goes_on_without_a_hole() {
    let host = host("console-cancel");
    let browser = host.browser_at("/search?q=status:503&since=24h");
    browser.wait_for(
        "lines",
        "return document.querySelectorAll('#log > .row').length === 200",
    );
    browser.click("#more");
    browser.wait_for(
        "all lines",
        "return document.getElementById('progress').innerText.includes('all of that time')",
    );
    let all = ids(&browser);
    assert!(all.len() > 200, "{}", all.len());

    let speed = |bytes: i64| {
        let how =
            json!({"offline": false, "latency": 0, "downloadThroughput": bytes, "uploadThroughput": -1});
        browser.devtools("Network.emulateNetworkConditions", &how);
    };
    browser.devtools("Network.enable", &json!({}));
    speed(20_000);
    browser.script("scrollTo(0, 0); document.getElementById('go').click()");
    browser.wait_for(
        "some lines",
        "const rows = document.querySelectorAll('#log > .row').length; return rows > 0 && rows < 150",
    );
    browser.click("#cancel");
    browser.wait_for(
        "the end",
        "return document.getElementById('progress').innerText.includes('cancelled')",
    );
    let some = ids(&browser).len();
    assert!(some > 0 && some < 200, "{some}");
    speed(-1);
    browser.wait_for(
        "all lines",
        "const more = document.getElementById('more');
         if (!more.hidden) more.click();
         return document.getElementById('progress').innerText.includes('all of that time')",
    );
    assert_eq!(ids(&browser), all, "each line once, in the same order");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn a_saved_search_is_found_again() {
    let host = ConsoleHost::start("console-saved");
    let browser = host.browser_at("/search?q=status%3A5xx&since=6h");
    browser.click("#save");
    browser.wait_for(
        "the question",
        "return document.querySelector('dialog.ask')?.open",
    );
    browser.press(keys::ESCAPE);
    browser.wait_for(
        "no question",
        "return document.querySelector('dialog.ask') === null",
    );
    browser.click("#save");
    browser.wait_for(
        "the question",
        "return document.querySelector('dialog.ask')?.open",
    );
    browser.script("document.querySelector('dialog.ask input').value = ''");
    browser.type_into(
        "dialog.ask input",
        &format!("errors <b>of shops</b>{}", keys::ENTER),
    );
    browser.wait_for(
        "the name",
        "return [...document.getElementById('saved').options].some((it) => it.text === 'errors <b>of shops</b>')",
    );
    browser.open(&host.address("/search"));
    browser.wait_for(
        "the name",
        "return document.getElementById('saved').options.length === 2",
    );
    browser.script("const saved = document.getElementById('saved'); saved.selectedIndex = 1; saved.dispatchEvent(new Event('change'))");
    browser.wait_for("the search", "return location.search.includes('since=6h')");
    assert_eq!(
        browser.script("return document.getElementById('q').value"),
        "status:5xx"
    );
}

#[test]
fn times_and_filters_of_an_address_count_as_the_api_reads_them() {
    let host = host("console-address");
    let asked = "return new URL(performance.getEntriesByType('resource').map((it) => it.name)
                     .find((it) => it.includes('/api/v1/search?'))).searchParams";
    let browser = host.browser_at("/search?since=yesterday&q=orders&status=5xx&source=198.51.100.*");
    browser.wait_for("the end", "return document.getElementById('bar').hidden");
    assert_eq!(browser.script(&format!("{asked}.get('since')")), "yesterday");
    assert_eq!(
        browser.script(&format!("{asked}.get('q')")),
        "orders source:198.51.100.* status:5xx"
    );
    browser.script("document.getElementById('go').click()");
    assert_eq!(
        browser.script("return new URLSearchParams(location.search).get('since')"),
        "yesterday"
    );
    browser.open(&host.address("/search?since=garbage"));
    browser.wait_for(
        "the error",
        "return document.getElementById('problem').textContent.includes('`garbage` is no time')",
    );
    assert_eq!(browser.count("#log > .row"), 0);
}
