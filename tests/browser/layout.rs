//! What a page does while it loads: nothing moves, and times are the reader's.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::console_host::ConsoleHost;
use super::driver::Browser;

/// How far the contents of the page have moved since it was opened, as Core Web Vitals measure it, and what has moved.
const SHIFTS: &str = "
    return new Promise((done) => {
        let sum = 0;
        const moved = [];
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) {
                sum += entry.value;
                for (const it of entry.sources) moved.push(`${it.node?.outerHTML?.slice(0, 120) ?? it.node?.textContent} ${JSON.stringify(it.previousRect)} ${JSON.stringify(it.currentRect)}`);
            }
        }).observe({ type: 'layout-shift', buffered: true });
        setTimeout(() => done([sum, moved]), 900);
    })";

fn shift(browser: &Browser) -> (f64, Value) {
    let mut found = browser.script(SHIFTS);
    (found[0].as_f64().expect("a number"), found[1].take())
}

#[test]
fn nothing_moves_while_a_page_loads() {
    let host = ConsoleHost::start("console-layout");
    host.post_a_day();
    host.wait_for_indexed("orders", 1000);
    let browser = host.browser_at("/");
    let windows = ConsoleHost::full_day();
    for (width, height) in [(1280, 860), (375, 760)] {
        browser.resize(width, height);
        for page in [
            "/",
            &windows,
            "/search?q=status:5xx&since=24h",
            "/live",
            "/tickets",
            "/alerts",
        ] {
            browser.open(&host.address(page));
            let (sum, moved) = shift(&browser);
            // People do not see less than this; 0.1 counts as good.
            assert!(sum < 0.02, "{page} at {width}: {sum}: {moved:#}");
        }
    }
    browser.script("document.querySelector('main').style.paddingTop = '300px'");
    assert!(shift(&browser).0 > 0.02, "a jump is seen");
}

#[test]
fn times_are_of_the_readers_zone_with_utc_on_hover() {
    let host = ConsoleHost::start("console-zone");
    let zone = TimeZone::get("America/St_Johns").unwrap();
    let at = Timestamp::now();
    let time = at.to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S +0000");
    host.post(
        "198.51.100.1",
        &format!("192.0.2.7 - - [{time}] \"GET /zoned HTTP/1.1\" 200 512 \"-\" \"curl/8\"\n"),
    );
    host.wait_for_indexed("zoned", 1);
    let browser = host.browser_at("/");
    browser.devtools(
        "Emulation.setTimezoneOverride",
        &json!({"timezoneId": "America/St_Johns"}),
    );
    browser.open(&host.address("/search?q=zoned&since=1h"));
    browser.wait_for("the line", "return document.querySelector('#log .row') !== null");
    let here = at.to_zoned(zone);
    assert_eq!(browser.text("#log .when"), here.strftime("%H:%M:%S").to_string());
    let hover = browser.script("return document.querySelector('#log .when').title");
    let utc = at.to_zoned(TimeZone::UTC).strftime("%F %T UTC").to_string();
    assert!(
        hover.as_str().is_some_and(|hover| hover.ends_with(&utc)),
        "{hover}"
    );
    assert!(
        browser.text("#zone").contains("UTC-"),
        "{}",
        browser.text("#zone")
    );

    // The browser has told its zone: the server begins the day there.
    browser.open(&host.address("/windows"));
    assert!(
        browser.text(".key").contains("hours of America/St_Johns"),
        "{}",
        browser.text(".key")
    );
    let day = browser.script("return document.querySelector('[name=day]').value");
    assert_eq!(day, json!(here.strftime("%F").to_string()));
    browser.script("document.querySelector('table.windows td:not(.n)').click()");
    browser.wait_for(
        "the window",
        "return document.querySelector('main time') !== null",
    );
    let utc = browser.script("return document.querySelector('main time').dateTime");
    let start: Timestamp = utc.as_str().unwrap_or_default().parse().expect("a time in UTC");
    let start = start.to_zoned(here.time_zone().clone());
    let shown = browser.text("main time");
    assert_eq!(shown, start.strftime("%F %T").to_string());
}
