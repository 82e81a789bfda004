//! Log lines are written by strangers: none gets out of a page.

use super::console_host::ConsoleHost;
use super::driver::Browser;

/// What lines try. Each has a word of its own, `attackN`.
fn lines() -> Vec<Vec<u8>> {
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
    let mut texts: Vec<Vec<u8>> = texts.into_iter().map(|text| text.as_bytes().to_vec()).collect();
    texts.push(b"nul \0 in the middle <b>\0</b>".to_vec());
    texts.push(b"broken \xff\xfe\xc3<script>window.broken=20</script>\xed\xa0\x80 utf-8".to_vec());
    // Each byte beside what opens markup, also where it cuts a character off.
    texts.extend((0..=255_u8).filter(|byte| *byte != b'\n').map(|byte| {
        let markup: &[u8] = b"<img src=x onerror=window.broken=21>";
        [&[byte, b'<', byte][..], markup, &[byte]].concat()
    }));
    let line = |(number, text): (usize, Vec<u8>)| {
        [format!("attack{number} ").into_bytes(), text, b" end\n".to_vec()].concat()
    };
    let mut lines: Vec<_> = texts.into_iter().enumerate().map(line).collect();
    let long = "x<b>".repeat((1 << 18) - 8);
    lines.push(format!("attack-long {long}\n").into_bytes());
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
    assert_no_effect(browser, page);
    assert_eq!(browser.console_log(), Vec::<String>::new(), "{page}");
}

/// Nothing that a terminal obeys, or that turns the direction of text, is in what is shown, or can be copied from it.
fn assert_no_effect(browser: &Browser, page: &str) {
    let strange = browser.script(
        "const strange = /[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]/;
         const texts = [...document.querySelectorAll('main *')].flatMap((it) =>
             [it.title, ...[...it.childNodes].map((node) => node.nodeType === 3 ? node.data : '')]);
         return texts.filter((text) => strange.test(text)).map((text) => JSON.stringify(text.slice(0, 80)))",
    );
    assert_eq!(strange, serde_json::json!([]), "{page}");
}

/// The command of a search for a text with control characters has none, and bash reads the text from it.
fn command_has_no_controls(host: &ConsoleHost, browser: &Browser) {
    browser.open(&host.address("/search?since=1h&q=a'b%5C%1B%5B2J%C2%9Bx%E2%80%AE"));
    browser.script(
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { window.copied = text } } });
         document.getElementById('copy-command').click()",
    );
    browser.wait_for("the command", "return window.copied !== undefined");
    let command = browser.script("return window.copied");
    let quoted = r"$'a\'b\\\x1b[2J\u009bx\u202e'";
    let command = command.as_str().unwrap_or_default();
    assert!(command.ends_with(quoted), "{command:?}");
}

/// Finds all lines, and opens each.
fn search_shows_all(host: &ConsoleHost, browser: &Browser, all: usize) {
    host.wait_for_indexed("attack17", 1);
    browser.open(&host.address("/search?since=1h"));
    browser.wait_for(
        "the first page",
        "const more = document.getElementById('more');
         if (!more.hidden) more.click();
         return document.querySelectorAll('#log > .row').length >= 200",
    );
    browser.wait_for(
        "all lines",
        &format!(
            "const more = document.getElementById('more');
             if (!more.hidden) more.click();
             return document.querySelectorAll('#log > .row').length === {all}"
        ),
    );
    // Each is opened, so that its fields are shown, and the longest is whole.
    browser.script("for (const text of document.querySelectorAll('#log > .row .text')) text.click()");
    assert_eq!(browser.count("#log > .detail"), all as u64);
    let longest = browser.script(
        "return Math.max(...[...document.querySelectorAll('#log .text')].map((it) => it.textContent.length))",
    );
    assert!(
        longest.as_u64().is_some_and(|length| length > 1_000_000),
        "{longest}"
    );
    assert_whole(browser, "/search");
    browser.script("document.getElementById('columns').click()");
    assert_whole(browser, "/search with columns");
}

#[test]
fn hostile_lines_break_out_of_no_page() {
    let host = ConsoleHost::start("console-hostile");
    let browser = host.browser_at("/live");
    browser.wait_for(
        "the stream",
        "return document.getElementById('stream-state').textContent === 'live'",
    );
    let lines = lines();
    assert!(lines.len() > 200);
    for some in lines.chunks(20) {
        host.post_bytes("198.51.100.1", &some.concat());
    }
    browser.wait_for(
        "the last line",
        "return document.getElementById('log').textContent.includes('attack-long')",
    );
    assert_whole(&browser, "/live");
    browser.picture("hostile-live");

    search_shows_all(&host, &browser, lines.len());
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
        assert_no_effect(&browser, page);
    }
    command_has_no_controls(&host, &browser);
}
