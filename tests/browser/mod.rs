//! The console in a real browser: Debian's chromium, driven by chromedriver over W3C WebDriver.
//!
//! `driver` speaks WebDriver, `console_host` runs a relay host with lines of a day. The tests keep a picture of each page in
//! `target/screenshots/`.

mod access;
mod alerts;
mod console_host;
mod driver;
mod hostile;
mod layout;
mod lines;
mod manners;
mod pictures;
mod search;
mod windows;
