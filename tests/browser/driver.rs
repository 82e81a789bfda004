//! A small client of W3C WebDriver (<https://www.w3.org/TR/webdriver2/>): JSON over HTTP/1.1 to chromedriver on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{WAIT_LIMIT, becomes_true};

/// The key of an element's reference in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. It ends with this.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts chromedriver and a browser of this size.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is missing: apt-get install chromium chromium-driver");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                let line = line.ok()?;
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver says its port");
        // What it prints later must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
        };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
        ];
        let options = json!({"args": arguments, "prefs": {"intl.accept_languages": "en"}});
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"}, "timeouts": {"script": 20_000, "pageLoad": 60_000}}}});
        let answer = browser.send("POST", "/session", &wanted);
        answer["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut browser.session);
        browser.resize(width, height);
        browser
    }

    /// Gives the page another size.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Makes the system dark or light.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// A command of the DevTools protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    /// Opens an address.
    pub(crate) fn open(&self, address: &str) {
        self.post("/url", &json!({"url": address}));
    }

    /// The address of the page.
    pub(crate) fn address(&self) -> String {
        self.script("return location.href")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// What a script returns.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script returns something true.
    pub(crate) fn wait_for(&self, what: &str, script: &str) {
        let is_true = |value: Value| {
            !matches!(value, Value::Null | Value::Bool(false)) && value != json!(0) && value != json!("")
        };
        if !becomes_true(WAIT_LIMIT, || is_true(self.try_script(script))) {
            let text = self.script("return document.body?.innerText.slice(0, 3000)");
            let log = self.console_log().join("\n");
            panic!(
                "waited {WAIT_LIMIT:?} for {what} at {}\n{}\n{log}",
                self.address(),
                text.as_str().unwrap_or_default()
            );
        }
    }

    /// The text of the first element that a selector finds; empty without one.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!(
            "return document.querySelector({})?.innerText ?? ''",
            json!(selector)
        );
        self.script(&script).as_str().unwrap_or_default().to_owned()
    }

    /// How many elements a selector finds.
    pub(crate) fn count(&self, selector: &str) -> u64 {
        let script = format!("return document.querySelectorAll({}).length", json!(selector));
        self.script(&script).as_u64().unwrap_or(0)
    }

    /// Clicks the first element that a selector finds, as a person does: it must be seen.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into the first element that a selector finds.
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// Presses keys, wherever the focus is. [`keys`] has those without a letter.
    pub(crate) fn press(&self, text: &str) {
        let actions = text
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})));
        let actions: Vec<_> = actions.collect();
        self.post(
            "/actions",
            &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}),
        );
    }

    /// Drags with the pointer over an element, from one share of its width to another.
    pub(crate) fn drag(&self, selector: &str, from: f64, to: f64) {
        let script = format!(
            "const box = document.querySelector({}).getBoundingClientRect(); return [box.left, box.top, box.width, box.height]",
            json!(selector)
        );
        let found = self.script(&script);
        let at = |index: usize| found[index].as_f64().expect("a number");
        let y = (at(1) + at(3) / 2.0).round();
        let x = |share: f64| (at(0) + at(2) * share).round();
        let step = |x: f64, length: u32| json!({"type": "pointerMove", "origin": "viewport", "x": x, "y": y, "duration": length});
        let actions = [
            step(x(from), 0),
            json!({"type": "pointerDown", "button": 0}),
            step(x(f64::midpoint(from, to)), 50),
            step(x(to), 50),
            json!({"type": "pointerUp", "button": 0}),
        ];
        self.post(
            "/actions",
            &json!({"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}]}),
        );
    }

    /// Keeps a picture of the whole page in `target/screenshots/`.
    pub(crate) fn picture(&self, name: &str) {
        let picture = self.get("/screenshot");
        let png = STANDARD
            .decode(picture.as_str().unwrap_or_default())
            .expect("a picture");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }

    /// What the browser has complained of since the last call: errors of scripts, blocked contents.
    pub(crate) fn console_log(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        let texts = entries.as_array().into_iter().flatten();
        texts
            .map(|entry| format!("{}: {}", entry["level"], entry["message"]))
            .collect()
    }

    fn try_script(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.request("POST", &format!("/session/{}/execute/sync", self.session), &body)
            .1
    }

    fn element(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({}) !== null", json!(selector));
        self.wait_for(selector, &script);
        let found = self.post("/element", &json!({"using": "css selector", "value": selector}));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn get(&self, path: &str) -> Value {
        self.send("GET", &format!("/session/{}{path}", self.session), &Value::Null)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, value) = self.request(method, path, body);
        assert_eq!(status, 200, "{method} {path} {body}: {value}");
        value
    }

    /// The status and the `value` of an answer.
    fn request(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut connection =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("chromedriver listens");
        connection
            .set_read_timeout(Some(WAIT_LIMIT + Duration::from_secs(10)))
            .unwrap();
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        let mut reader = BufReader::new(connection);
        let mut length = None;
        let mut status = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
                break;
            }
            if let Some(code) = line.strip_prefix("HTTP/1.1 ") {
                status = code
                    .split(' ')
                    .next()
                    .and_then(|code| code.trim().parse().ok())
                    .unwrap_or(0);
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<u64>().ok();
            }
        }
        reader
            .take(length.unwrap_or(u64::MAX))
            .read_to_end(&mut answer)
            .unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        (status, answer["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.request("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Keys without a letter (W3C WebDriver, section 17.4.2).
pub(crate) mod keys {
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ARROW_LEFT: &str = "\u{e012}";
}
