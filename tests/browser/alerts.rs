//! An alert of a configured rule, with what the rule measured; and the disk as the monitor saw it.

use super::console_host::ConsoleHost;

/// Nobody is mailed: the rule has a channel of its own. By day there are more than 90 lines in ten minutes, at night fewer.
pub(super) const MONITOR: &str = r#"
monitor:
  interval: 1s
  metrics: null
  smtp: {host: 127.0.0.1, port: 1, from: a@example.com, to: [a@example.com]}
  channels: {told: {command: ["/bin/true"]}}
  rules: [{name: busy, counter: lines, above: 90, over: 10m, channels: [told]}]
"#;

#[test]
fn an_alert_shows_what_its_rule_measured_with_the_limit_and_the_overview_the_disk() {
    let host = ConsoleHost::start_watched("console-alerts", "open: false", MONITOR);
    // A page that was read before the alarm keeps no chart from the pages after it.
    host.browser_at("/alerts");
    host.post_a_day();
    host.wait_for_indexed("orders", 1000);
    let browser = host.browser_at("/alerts");
    browser.wait_for(
        "the alert with its chart",
        "if (document.querySelector('#alerts figure.chart .limit')) return true; location.reload(); return false",
    );
    let title = browser.script("return document.querySelector('#alerts figure.chart title').textContent");
    let title = title.as_str().unwrap_or_default();
    assert!(
        title.starts_with("lines in 10 min, of all:") && title.contains("alarms above 90; highest 1"),
        "{title}"
    );
    assert!(
        browser.count("#alerts figure.chart .alarm") == 1,
        "what is past it is marked"
    );
    assert_eq!(browser.count("#alerts details.hours tbody tr"), 24);
    // The server drew it: the page has it without a script.
    let page = browser.script("const it = new XMLHttpRequest(); it.open('GET', '/alerts', false); it.send(); return it.responseText");
    assert!(page.as_str().is_some_and(|page| page.contains("class=\"limit\"")));
    assert!(
        browser.count("#alerts .body code") > 2 && !browser.text("#alerts").contains('`'),
        "{}",
        browser.text("#alerts")
    );
    browser.script(
        "document.querySelector('#alerts details.hours').open = true;
         document.querySelector('#alerts [name=why]').value = 'half a';
         document.querySelector('#alerts [name=for]').value = '24h';
         document.querySelector('#alerts').dataset.before = 'yes';
         document.dispatchEvent(new Event('visibilitychange'))",
    );
    browser.wait_for(
        "the page of after a refresh",
        "return document.querySelector('#alerts').dataset.before === undefined",
    );
    let kept = browser.script(
        "return [document.querySelector('#alerts details.hours').open, document.querySelector('#alerts [name=why]').value,
                 document.querySelector('#alerts [name=for]').value]",
    );
    assert_eq!(
        kept,
        serde_json::json!([true, "half a", "24h"]),
        "nobody is thrown back"
    );
    browser.picture("alert-table");
    for (scheme, width, height) in [("light", 1280, 900), ("dark", 1280, 900), ("phone", 375, 760)] {
        browser.resize(width, height);
        browser.prefer(if scheme == "dark" { "dark" } else { "light" });
        browser.open(&host.address("/alerts"));
        browser.picture(&format!("alert-{scheme}"));
        browser.open(&host.address("/"));
        // The overview may show a status that was read up to three seconds ago.
        browser.wait_for(
            "the disk's chart, and a status that has the alert",
            "const has_disk = [...document.querySelectorAll('figure.chart title')].some((it) => it.textContent.startsWith('Disk used'));
             if (has_disk && document.querySelector('#verdict h1').textContent.startsWith('Lines: 1')) return true;
             location.reload(); return false",
        );
        let heading = browser.text("#verdict h1");
        assert!(
            heading.starts_with("Lines: 1") && heading.ends_with("above 90."),
            "{heading}"
        );
        assert_eq!(browser.count("#verdict p code"), 2, "what to do is below it");
        browser.picture(&format!("overview-alert-{scheme}"));
    }
    assert_eq!(browser.console_log(), Vec::<String>::new());
}
