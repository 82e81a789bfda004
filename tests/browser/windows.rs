//! From the grid to a checksum.

use std::process::Command;

use serde_json::json;

use super::console_host::{ConsoleHost, sources};
use super::driver::{Browser, keys};
use crate::support::{WAIT_LIMIT, wait_for};

#[test]
fn the_grid_leads_to_the_checksum_of_what_was_delivered() {
    let host = ConsoleHost::start("console-windows");
    host.post_a_day();
    // Everything before the last windows is sealed and delivered.
    wait_for("the deliveries", WAIT_LIMIT, || {
        let status = host.status();
        status["batches"]["sent"].as_u64().is_some_and(|sent| sent > 600) && status["batches"]["ready"] == 0
    });
    let browser = host.browser_at(&ConsoleHost::full_day());
    browser.wait_for(
        "the grid",
        "return document.querySelectorAll('table.windows td.d').length > 10",
    );
    assert_eq!(
        browser.count("table.windows tbody tr:not(.group)"),
        sources().len() as u64
    );
    browser.picture("windows");

    browser.script("document.querySelector('table.windows td.d').click()");
    browser.wait_for(
        "the window",
        "return document.querySelector('[data-sha256]') !== null",
    );
    let sha256 = browser.text("[data-sha256]");
    let path = browser.text("td code");
    let output = Command::new("sha256sum")
        .arg(host.delivered.join(path.rsplit('/').next().unwrap()))
        .output()
        .unwrap();
    let there = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        sha256.len() == 64 && there.starts_with(&sha256),
        "{sha256} is not {there} of {path}"
    );
    browser.resize(1280, 900);
    browser.prefer("light");
    browser.picture("window-light");
    assert_eq!(browser.console_log(), Vec::<String>::new());

    assert_eq!(browser.count("form [required]"), 0, "with a script a dialog asks");
    let window = browser.address();
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    browser.open(&window);
    assert_eq!(
        browser.count("form[action$='/resend'] input[type=checkbox][required]"),
        1
    );
    browser.click("form[action$='/resend'] button");
    assert_eq!(
        browser.count("form[action$='/resend']:invalid"),
        1,
        "nothing is sent unasked"
    );
    browser.click("form[action$='/resend'] input[required]");
    browser.click("form[action$='/resend'] button");
    wait_for("the trail of the resend", WAIT_LIMIT, || {
        browser.open(&host.address("/tickets"));
        browser.text("table.stacked").contains("resend")
    });
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": false}));

    keys_move_from_the_present(&host, &browser);
}

fn keys_move_from_the_present(host: &ConsoleHost, browser: &Browser) {
    browser.open(&host.address("/windows"));
    browser.wait_for(
        "the present in view",
        "const wrap = document.querySelector('.grid-wrap'), table = document.querySelector('table.windows');
         const { from, step } = table.dataset, row = table.querySelector('tbody tr:not(.group)');
         const cell = row.cells[Math.floor((Date.now() / 1000 - from) / step) + 1];
         const [view, it] = [wrap.getBoundingClientRect(), cell.getBoundingClientRect()];
         return it.left >= view.left && it.right <= view.right",
    );
    browser.script("document.querySelector('.grid-wrap').focus()");
    browser.press(keys::ARROW_LEFT);
    browser.press(keys::ARROW_LEFT);
    browser.wait_for(
        "a cell that says what it is",
        "const it = document.activeElement; return it.tagName === 'TD' && /: \\w+, /.test(it.getAttribute('aria-label'))",
    );
}
