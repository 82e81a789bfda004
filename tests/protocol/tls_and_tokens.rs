//! Authentication between senders and relays: https, client certificates, tokens. The certificates are made with the
//! commands of docs/security.md.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::network::http_client::{request, send};
use crate::support::process::{Process, run_tool};
use crate::support::servers::relay::RelayProcess;
use crate::support::test_folder::{OUTPUT, TestFolder, free_port};
use crate::support::{WAIT_LIMIT, logferry, wait_for};

const LINES: &str = "one\ntwo\nthree\n";

/// A relay with TLS, and its sender.
struct TlsSetup {
    test_folder: TestFolder,
    port: u16,
    running: Vec<Process>,
}

impl TlsSetup {
    /// Makes a certificate authority, and certificates for the relay and for a host named web-1.
    fn new(test: &str) -> Self {
        let setup = Self {
            test_folder: TestFolder::new(test),
            port: free_port(),
            running: Vec::new(),
        };
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"];
        let authority = [
            "-x509",
            "-days",
            "3650",
            "-subj",
            "/CN=logferry CA",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        setup.openssl(&[&["req"], &curve[..], &authority].concat());
        setup.issue("relay", "DNS:localhost,IP:127.0.0.1");
        setup.issue("web-1", "DNS:web-1");
        setup.test_folder.write("access.log", LINES);
        setup
    }

    fn openssl(&self, arguments: &[&str]) {
        run_tool(
            Command::new("openssl")
                .args(arguments)
                .current_dir(self.test_folder.path("")),
            "openssl",
        );
    }

    fn issue(&self, name: &str, names: &str) {
        let [key, request, certificate] = ["key", "csr", "pem"].map(|kind| format!("{name}.{kind}"));
        let (subject, names) = (format!("/CN={name}"), format!("subjectAltName={names}"));
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
            "-subj",
            &subject,
            "-addext",
            &names,
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-days",
            "825",
            "-copy_extensions",
            "copy",
            "-out",
            &certificate,
        ]);
    }

    /// A path in the form of the configuration.
    fn at(&self, name: &str) -> String {
        format!("{:?}", self.test_folder.path(name))
    }

    /// Writes the configuration with these settings of sender and relay.
    fn configure(&self, scheme: &str, sender: &str, relay: &str) -> PathBuf {
        let binds = relay.contains("tokens_file") || relay.contains("client_ca_file");
        let source = if binds { "web-1" } else { "127.0.0.1" };
        let text = format!(
            "sender:\n  relay: \"{scheme}://127.0.0.1:{port}\"\n  state_dir: {state}\n  logs: [{{path: {log}}}]\n  \
             retry: {{initial: 50ms, max: 500ms}}\n{sender}relay:\n  data_dir: {data}\n  groups: [{{name: web, listen: \
             \"127.0.0.1:{port}\", sources: [{source}]}}]\n  batch: {{window: 60m}}\n  limits: {{min_free_disk: 1MiB}}\n  \
             metrics: null\n{relay}",
            port = self.port,
            state = self.at("sender"),
            log = self.at("access.log"),
            data = self.at("relay"),
        );
        self.test_folder.write("logferry.yaml", &text)
    }

    /// Starts the relay, then the sender when the relay listens. The sender logs only the first reason of a failure.
    fn start(&mut self, config: &Path) {
        for role in ["relay", "sender"] {
            let mut command = logferry();
            let process = Process::start(&self.test_folder, role, command.arg("-c").arg(config).arg(role));
            self.running.push(process);
            wait_for("the relay to listen", WAIT_LIMIT, || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            });
        }
    }

    fn output(&self, role: &str) -> String {
        let path = self.test_folder.path(OUTPUT).join(format!("{role}.log"));
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    fn wait_for_output(&self, role: &str, text: &str) {
        wait_for(text, WAIT_LIMIT, || self.output(role).contains(text));
    }

    /// Waits until the relay has stored all lines under web-1.
    fn wait_for_lines(&self) {
        let stored = || {
            let files = fs::read_dir(self.test_folder.path("relay/open/web-1"))
                .into_iter()
                .flatten();
            let lines = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
            lines.collect::<String>()
        };
        wait_for("the lines", WAIT_LIMIT, || stored() == LINES);
    }
}

#[test]
fn lines_of_a_host_with_token_and_certificate_arrive_over_https() {
    let mut setup = TlsSetup::new("setup");
    setup.test_folder.write("token", "s3cret\n");
    setup.test_folder.write("tokens", "# the hosts\ns3cret web-1\n");
    let [ca, cert, key, token, tokens] =
        ["ca.pem", "web-1.pem", "web-1.key", "token", "tokens"].map(|name| setup.at(name));
    let [relay_cert, relay_key] = ["relay.pem", "relay.key"].map(|name| setup.at(name));
    let (by_token, asks_token) = (
        format!("  token_file: {token}\n"),
        format!("  tokens_file: {tokens}\n"),
    );
    let tls = |shown: &str| format!("  tls: {{ca_file: {ca}{shown}}}\n");
    let asks_tls =
        |asked: &str| format!("  tls: {{cert_file: {relay_cert}, key_file: {relay_key}{asked}}}\n");
    let (shown, asked) = (
        format!(", cert_file: {cert}, key_file: {key}"),
        format!(", client_ca_file: {ca}"),
    );
    for (sender, relay) in [
        (tls("") + &by_token, asks_tls("") + &asks_token),
        (tls(&shown), asks_tls(&asked)),
        (tls(&shown) + &by_token, asks_tls(&asked) + &asks_token),
    ] {
        let config = setup.configure("https", &sender, &relay);
        setup.start(&config);
        setup.wait_for_lines();
        setup.running.clear();
        for folder in ["relay", "sender"] {
            fs::remove_dir_all(setup.test_folder.path(folder)).unwrap();
        }
    }
}

#[test]
fn unauthorized_sender_is_logged_once_and_continues_when_authorized() {
    let mut setup = TlsSetup::new("setup-refused");
    setup.test_folder.write("token", "s3cret\n");
    setup.test_folder.write("tokens", "another web-1\n");
    let sender = format!(
        "  tls: {{ca_file: {}}}\n  token_file: {}\n",
        setup.at("ca.pem"),
        setup.at("token")
    );
    let relay = format!(
        "  tls: {{cert_file: {}, key_file: {}}}\n  tokens_file: {}\n",
        setup.at("relay.pem"),
        setup.at("relay.key"),
        setup.at("tokens")
    );
    let config = setup.configure("https", &sender, &relay);
    setup.start(&config);
    setup.wait_for_output(
        "sender",
        "refused with status 401: the token is not in the relay's tokens file",
    );
    setup.wait_for_output("relay", "the token is not in the relay's tokens file");
    setup.test_folder.write("tokens", "another web-2\ns3cret web-1\n");
    setup.wait_for_lines();
    let output = setup.output("relay");
    assert_eq!(output.matches("a source is refused").count(), 1, "{output}");
    assert!(
        !output.contains("s3cret") && !setup.output("sender").contains("s3cret"),
        "{output}"
    );
}

#[test]
fn sender_without_https_is_logged_with_the_cause() {
    let mut setup = TlsSetup::new("setup-plain");
    let relay = format!(
        "  tls: {{cert_file: {}, key_file: {}}}\n",
        setup.at("relay.pem"),
        setup.at("relay.key")
    );
    let config = setup.configure("http", "", &relay);
    setup.start(&config);
    setup.wait_for_output("relay", "the client does not speak TLS; write https://");
    setup.wait_for_output("sender", "this port speaks TLS");
}

#[test]
fn check_reads_certificates_and_tokens() {
    let setup = TlsSetup::new("setup-check");
    setup.test_folder.write("tokens", "s3cret\n");
    let settings = |key: &str, tokens: &str| {
        let (cert, key) = (setup.at("relay.pem"), setup.at(key));
        format!("  tls: {{cert_file: {cert}, key_file: {key}}}\n{tokens}")
    };
    let tokens = format!("  tokens_file: {}\n", setup.at("tokens"));
    for (relay, code, expected) in [
        (settings("relay.key", ""), 0, &[][..]),
        (
            settings("web-1.key", ""),
            1,
            &[
                "relay.tls.cert_file: ",
                "web-1.key is not the key of this certificate",
            ],
        ),
        (
            settings("relay.key", &tokens),
            1,
            &["relay.tokens_file: ", "line 1: "],
        ),
    ] {
        let sender = format!("  tls: {{ca_file: {}}}\n", setup.at("ca.pem"));
        let config = setup.configure("https", &sender, &relay);
        let output = logferry().arg("check").arg("-c").arg(config).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{printed}");
        assert!(
            expected.iter().all(|word| printed.contains(word)),
            "{expected:?} in {printed}"
        );
        assert!(!printed.contains("s3cret"), "{printed}");
    }
}

#[test]
fn client_input_reaches_no_path_and_no_terminal_unescaped() {
    let relay = RelayProcess::start("unescaped", "sources: [\"127.0.0.1\", web-1], trust_source: true");
    let nasty = r"\u001b[2J\r\nBcc: x@example.com\u0007\u009b1m";
    let stream = "0123456789abcdef0123456789abcdef";
    let report = format!(
        r#"{{"version": "{nasty}", "unreadable": ["/log/{nasty}"], "streams": [{{"stream": "{stream}", "log": "access",
            "path": "/{nasty}", "acked": 0, "size": 9, "rotated": true}}], "gaps": [{{"stream": "{stream}", "log": "access",
            "path": "/{nasty}", "from": 0, "until": 9, "noticed_at": 0}}]}}"#
    );
    let response = send(
        relay.port,
        &request("POST", "/v1/heartbeat", &[], report.as_bytes()),
    );
    assert_eq!(response.status, 204, "{response:?}");
    for host in [nasty, "../../../etc", "web-1/..", "..", "a b"] {
        let body = format!(r#"{{"log": "line", "host": "{host}"}}"#);
        let response = send(relay.port, &request("POST", "/upload", &[], body.as_bytes()));
        assert_eq!(response.status, 200, "{response:?}");
        let named = ("ferry-source", host.replace(char::is_control, ""));
        let response = send(
            relay.port,
            &request("POST", "/v1/heartbeat", &[named], report.as_bytes()),
        );
        assert!([204, 400, 403].contains(&response.status), "{response:?}");
    }
    let sources: Vec<_> = fs::read_dir(relay.test_folder.path("relay/open"))
        .unwrap()
        .collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    let log = fs::read(relay.test_folder.path(OUTPUT).join("relay.log")).unwrap();
    let mut shown = vec![String::from_utf8(log).unwrap()];
    for command in ["status", "audit"] {
        let output = relay.command(&[command]).output().unwrap();
        shown.extend([output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()));
    }
    for text in &shown {
        let is_safe = |c: char| !c.is_control() || c == '\n';
        assert!(text.chars().all(is_safe), "{text:?}");
        assert!(!text.contains("\nBcc"), "{text}");
    }
    assert!(
        shown.iter().any(|text| text.contains(r"\u{1b}[2J")),
        "it is shown at all: {shown:?}"
    );
}
