//! Keys, widths, colours, and what a page costs.

use serde_json::json;

use super::console_host::ConsoleHost;
use super::driver::keys;

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
    let host = ConsoleHost::start("console-phone");
    host.post(
        "198.51.100.1",
        "192.0.2.7 - - [21/Nov/2026:08:20:03 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"-\"\n",
    );
    let browser = host.browser_at("/");
    browser.resize(375, 760);
    for page in PAGES {
        browser.open(&host.address(page));
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
