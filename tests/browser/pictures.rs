//! A picture of each page, light, dark and on a phone, for people to look at: `target/screenshots/`.

use super::console_host::ConsoleHost;

#[test]
fn pictures_of_all_pages_are_kept() {
    let host = ConsoleHost::start("console-pictures");
    host.post_a_day();
    host.wait_for_indexed("orders", 1000);
    let browser = host.browser_at("/");
    let windows = ConsoleHost::full_day();
    let pages = [
        (
            "overview",
            "/",
            "return document.querySelectorAll('figure.chart').length > 3",
        ),
        (
            "windows",
            &windows,
            "return document.querySelector('table.windows td.d') !== null",
        ),
        (
            "search",
            "/search?q=status:5xx&since=24h",
            "return document.querySelectorAll('#log > .row').length > 20",
        ),
        (
            "live",
            "/live",
            "return document.getElementById('stream-state').textContent === 'live'",
        ),
        ("tickets", "/tickets", "return true"),
        (
            "alerts",
            "/alerts",
            "return document.querySelector('#alerts') !== null",
        ),
        (
            "view",
            "/view",
            "return document.querySelector('#levels div') !== null",
        ),
        (
            "api",
            "/api/docs",
            "return document.querySelector('.api-route') !== null",
        ),
    ];
    for (scheme, width, height) in [("light", 1280, 900), ("dark", 1280, 900), ("light", 375, 760)] {
        browser.resize(width, height);
        browser.prefer(scheme);
        for (name, path, is_there) in pages {
            browser.open(&host.address(path));
            browser.wait_for(name, is_there);
            if name == "live" {
                host.post_moments(20);
                browser.wait_for(
                    "lines",
                    "return document.querySelectorAll('#log .row').length > 60",
                );
            }
            let kind = if width < 500 { "phone" } else { scheme };
            browser.picture(&format!("{name}-{kind}"));
            if name == "search" {
                browser.script("document.querySelector('#log .row .text').click()");
                browser.picture(&format!("search-open-{kind}"));
            }
        }
    }
}
