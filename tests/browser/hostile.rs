//! Log lines are written by strangers: none gets out of a page.

use super::console_host::ConsoleHost;
use super::driver::Browser;

/// What lines try. Each has a word of its own, `attackN`.
fn lines() -> Vec<String> {
    let texts = [
        "<script>window.broken = 1</script>",
        "<img src=x onerror='window.broken = 2'>",
        "\"><svg onload=window.broken=3>",
        "'-window.broken=4-'",
        "</pre></div><iframe src='javascript:parent.broken=5'></iframe>",
        "{{7*7}} {% raw %} ${window.broken=6}",
        "data: x\\n\\nevent: evil",
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "\u{202e}txt.exe\u{202c} \u{2066}x\u{2069}",
        "a\u{0}b",
        "<!--",
        "]]></script><script>window.broken=7//",
        "<a href='javascript:window.broken=8'>click</a>",
        "&lt;b&gt;&#x3c;b&#x3e;",
        "<style>body{display:none}</style>",
        "<base href='https://example.com/'>",
        "<form action='https://example.com'><button>",
        "<meta http-equiv=refresh content='0;url=https://example.com'>",
    ];
    let line = |(number, text): (usize, &str)| format!("attack{number} {text} end\n");
    let mut lines: Vec<_> = texts.into_iter().enumerate().map(line).collect();
    lines.push(format!("attack-long {}\n", "x<b>".repeat(100_000)));
    lines
}

fn assert_whole(browser: &Browser, page: &str) {
    assert_eq!(
        browser.script("return window.broken ?? null"),
        serde_json::Value::Null,
        "{page}"
    );
    for selector in [
        "main script",
        "main iframe",
        "main img",
        "main style",
        "main base",
        "main meta",
        "#log a[href^=javascript]",
    ] {
        assert_eq!(browser.count(selector), 0, "{page} has {selector}");
    }
    assert_eq!(
        browser.script("return document.title.includes('logferry')"),
        true,
        "{page}"
    );
    assert_eq!(browser.console_log(), Vec::<String>::new(), "{page}");
}

#[test]
fn hostile_lines_break_out_of_no_page() {
    let host = ConsoleHost::start("console-hostile");
    let browser = host.browser_at("/live");
    browser.wait_for(
        "the stream",
        "return document.getElementById('stream-state').textContent === 'live'",
    );
    for line in lines() {
        host.post("198.51.100.1", &line);
    }
    browser.wait_for(
        "the lines",
        "return document.getElementById('log').innerText.includes('attack17')",
    );
    assert_whole(&browser, "/live");
    browser.picture("hostile-live");

    host.wait_for_indexed("attack17", 1);
    browser.open(&host.address("/search?since=1h"));
    browser.wait_for(
        "the lines",
        "return document.querySelectorAll('#log > .row').length >= 18",
    );
    browser.script("document.activeElement.blur()");
    for _ in 0..6 {
        browser.press("j");
        browser.press(super::driver::keys::ENTER);
    }
    assert_whole(&browser, "/search");
    browser.picture("hostile-search");
    browser.script("for (const row of [...document.querySelectorAll('#log > .row')].slice(0, 8)) row.querySelector('.acts button:nth-child(2)').click()");
    browser.wait_for(
        "a ticket",
        "return document.querySelector('.toast')?.textContent.includes('ticket')",
    );
    browser.open(&host.address("/tickets"));
    browser.wait_for("the tickets", "return document.body.innerText.includes('attack')");
    assert_whole(&browser, "/tickets");
    browser.picture("hostile-tickets");
    for page in [
        "/",
        "/windows",
        "/view",
        "/windows?find=%3Cscript%3Ewindow.broken=9%3C/script%3E",
        "/search?q=%22%3E%3Cscript%3Ewindow.broken=10%3C/script%3E",
    ] {
        browser.open(&host.address(page));
        browser.script("return new Promise((done) => setTimeout(done, 300))");
        assert_eq!(
            browser.script("return window.broken ?? null"),
            serde_json::Value::Null,
            "{page}"
        );
        assert_eq!(browser.count("main script"), 0, "{page}");
    }
}
