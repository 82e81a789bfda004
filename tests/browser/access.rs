//! Who gets in.

use super::console_host::{ConsoleHost, PASSWORD, USER};
use super::driver::Browser;

#[test]
fn a_login_leads_to_the_page_that_was_asked_for_and_a_logout_ends_it() {
    let host = ConsoleHost::start("console-login");
    let browser = Browser::start(1280, 800);
    browser.open(&host.address("/windows?day=2026-11-20"));
    browser.wait_for("the login", "return location.pathname === '/login'");

    assert_eq!(
        browser.count(".bar nav, .bar input, footer a"),
        0,
        "nothing leads anywhere yet"
    );
    browser.type_into("[name=user]", USER);
    browser.type_into("[name=password]", "wrong");
    browser.click("form.login button");
    browser.wait_for(
        "the refusal",
        "return document.querySelector('[role=alert]') !== null",
    );
    browser.picture("login-refused");

    browser.type_into("[name=user]", USER);
    browser.type_into("[name=password]", PASSWORD);
    browser.click("form.login button");
    browser.wait_for("the windows", "return location.pathname === '/windows'");
    assert!(
        browser.address().ends_with("/windows?day=2026-11-20"),
        "{}",
        browser.address()
    );

    browser.click(".bar form[action='/logout'] button");
    browser.wait_for("the login", "return location.pathname === '/login'");
    browser.open(&host.address("/"));
    browser.wait_for("the login again", "return location.pathname === '/login'");
    assert_eq!(browser.console_log(), Vec::<String>::new());
}

#[test]
fn an_open_console_needs_no_login() {
    let host = ConsoleHost::start_with("console-open", "open: true");
    let browser = Browser::start(1280, 800);
    browser.open(&host.address("/"));
    browser.wait_for(
        "the overview",
        "return document.querySelector('.verdict') !== null",
    );
    assert_eq!(browser.count(".bar form[action='/logout']"), 0);
    browser.open(&host.address("/nothing-here"));
    browser.wait_for("the error page", "return document.body.innerText.includes('404')");
}
