//! Keys, widths, colours, and what a page costs.

use serde_json::json;

use super::alerts::MONITOR;
use super::console_host::ConsoleHost;
use super::driver::keys;

/// What ends right of its card, or of the screen, where nothing scrolls.
const OUTSIDE: &str = "
    const scrolls = (it) => it && it !== document.body && (getComputedStyle(it).overflowX !== 'visible' || scrolls(it.parentElement));
    return [...document.querySelectorAll('main *')].filter((it) => {
        const box = it.getBoundingClientRect();
        const card = it.closest('.card')?.getBoundingClientRect();
        return box.width > 1 && !it.closest('svg, .unseen') && !scrolls(it.parentElement) && box.right > Math.min(375, card?.right ?? 375) + 1;
    }).map((it) => it.outerHTML.slice(0, 200))";

/// Pages with a login.
const PAGES: [&str; 8] = [
    "/",
    "/windows",
    "/live",
    "/search",
    "/tickets",
    "/alerts",
    "/view",
    "/api/docs",
];

#[test]
fn every_page_fits_a_phone_and_complains_of_nothing() {
    let host = ConsoleHost::start_watched("console-phone", "open: false", MONITOR);
    host.post_a_day();
    host.wait_for_indexed("orders", 1000);
    let browser = host.browser_at("/alerts");
    browser.wait_for(
        "the alert with its chart",
        "if (document.querySelector('#alerts figure.chart .limit')) return true; location.reload(); return false",
    );
    // A line of each kind on the page of tickets.
    browser.open(&host.address("/search?q=status:503&since=24h"));
    browser.wait_for(
        "lines",
        "return document.querySelectorAll('#log > .row').length > 20",
    );
    browser.script(
        "const rows = [...document.querySelectorAll('#log > .row')];
         ['Ticket', 'Pin', 'Hide'].forEach((name, index) => [...rows[index].querySelectorAll('button')].find((it) => it.textContent === name).click())",
    );
    let window = ConsoleHost::full_day();
    browser.wait_for(
        "the marks",
        "return fetch('/api/v1/hidden').then((it) => it.json()).then((it) => it.length === 1)",
    );
    browser.open(&host.address(&window));
    browser.script("document.querySelector('table.windows td.d').click()");
    browser.wait_for("a window", "return document.querySelector('dl.facts') !== null");
    let window = browser.address().replace(&host.address(""), "");
    browser.resize(375, 760);
    let more = [window.as_str(), "/windows?source=198.51.100.1"];
    for page in PAGES.into_iter().chain(more) {
        browser.open(&host.address(page));
        if page == "/api/docs" {
            browser.wait_for(
                "the routes",
                "return document.querySelector('.api-route') !== null",
            );
        }
        let outside = browser.script(OUTSIDE);
        assert_eq!(outside, json!([]), "{page}: this sticks out of its card");
        let width = browser.script("return document.documentElement.scrollWidth");
        assert!(
            width.as_u64().is_some_and(|width| width <= 375),
            "{page} is {width} wide"
        );
        assert_eq!(browser.count("h1"), 1, "{page}");
        let unnamed = browser.script(
            "return [...document.querySelectorAll('input:not([type=hidden]), select, button')]
                .filter((it) => !(it.labels?.length || it.getAttribute('aria-label') || it.textContent.trim()))
                .map((it) => it.outerHTML)",
        );
        assert_eq!(unnamed, json!([]), "{page} has fields without a name");
        assert_eq!(browser.console_log(), Vec::<String>::new(), "{page}");
    }
}

#[test]
fn keys_alone_lead_everywhere() {
    let host = ConsoleHost::start("console-keys");
    let browser = host.browser_at("/");
    for (key, path) in [
        ("w", "/windows"),
        ("l", "/live"),
        ("t", "/tickets"),
        ("a", "/alerts"),
        ("s", "/search"),
        ("o", "/"),
    ] {
        // In the field of the search a letter is a letter.
        browser.press(keys::ESCAPE);
        browser.press("g");
        browser.press(key);
        browser.wait_for(path, &format!("return location.pathname === '{path}'"));
        browser.wait_for(
            "the script",
            "return document.getElementById('zone').textContent.includes('zone')",
        );
    }
    browser.press("?");
    browser.wait_for("the keys", "return document.getElementById('help').open");
    browser.press(keys::ESCAPE);
    browser.press("/");
    browser.press(&format!("needle{}", keys::ENTER));
    browser.wait_for("the search", "return location.search.includes('q=needle')");
    browser.open(&host.address("/"));
    browser.press(keys::TAB);
    assert_eq!(browser.script("return document.activeElement.className"), "skip");
}

#[test]
fn colours_follow_the_system() {
    let host = ConsoleHost::start("console-dark");
    let browser = host.browser_at("/");
    let background = || {
        browser
            .script("return getComputedStyle(document.body).backgroundColor")
            .to_string()
    };
    browser.prefer("light");
    let light = background();
    browser.prefer("dark");
    assert_ne!(background(), light);
}

#[test]
fn pages_work_without_scripts_and_ask_no_other_host() {
    let host = ConsoleHost::start("console-plain");
    host.post_a_day();
    let browser = host.browser_at("/");
    browser.open(&host.address("/"));
    let loaded = browser.script(
        "return [performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]
            .map((it) => [it.name, it.decodedBodySize])",
    );
    let mut bytes = 0;
    for entry in loaded.as_array().unwrap() {
        assert!(
            entry[0].as_str().unwrap().starts_with(&host.address("/")),
            "{entry}"
        );
        bytes += entry[1].as_u64().unwrap();
    }
    assert!(
        bytes > 10_000 && bytes <= 150 << 10,
        "the first page has {bytes} bytes: {loaded}"
    );

    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    for (page, text) in [
        ("/", "198.51.100.1"),
        ("/windows?source=198.51.100.1", "Batches of"),
        ("/tickets", "Tickets"),
    ] {
        browser.open(&host.address(page));
        browser.wait_for(
            text,
            &format!("return document.body.innerText.includes('{text}')"),
        );
    }
    browser.open(&host.address("/?find=203.0.113&sort=-rate"));
    assert_eq!(browser.count("table.sources tbody tr"), 5);
}
