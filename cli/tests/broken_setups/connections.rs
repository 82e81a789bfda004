//! `check --connect`: hosts that do not answer, or are not what the configuration says.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use logferry_test_servers::{Postfix, ran_as_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{FORWARDER, HOST_KEY, Host, RELAY, SENDER, authority, certificate};

/// A relay in a process of its own; it ends with the value.
struct Relay {
    process: Child,
    port: String,
}

impl Relay {
    fn start(host: &Host, more: &str) -> Self {
        let text = format!(
            "{}  limits: {{min_free_disk: 0}}\n{more}",
            RELAY.replace(":7001", ":0")
        );
        host.write("relay.yaml", &text.replace("DIR", &host.shown()));
        let mut process = Command::new(env!("CARGO_BIN_EXE_logferry"))
            .arg("-c")
            .arg(host.path("relay.yaml"))
            .arg("relay")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let port =
            lines.find_map(|line| Some(line.ok()?.split_once("listening on 127.0.0.1:")?.1.to_owned()));
        // The rest of its log is read, so that it can write.
        std::thread::spawn(move || lines.count());
        Self {
            process,
            port: port.expect("it listens"),
        }
    }

    /// What `check --connect` says of a sender with this relay; the port is `PORT`.
    fn check(&self, host: &Host, scheme: &str, more: &str) -> String {
        let relay = format!("{scheme}://127.0.0.1:{}", self.port);
        let sender = SENDER.replace("http://127.0.0.1:1", &relay);
        let said = host.check_connect(&format!("{sender}  logs: [{{path: DIR/access.log}}]\n{more}"));
        said.replace(&format!(":{}", self.port), ":PORT")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// `ours.pem`, and `other.pem`; `cert.pem` by the first.
fn host_with_authorities() -> Host {
    let host = Host::new();
    let folder: &Path = host.0.path();
    authority(folder, "ours");
    authority(folder, "other");
    certificate(folder, "ours", 30);
    host
}

const TLS: &str = "  tls: {cert_file: DIR/cert.pem, key_file: DIR/key.pem}\n";

#[test]
fn the_relays_certificate_is_by_another_authority() {
    let host = host_with_authorities();
    let relay = Relay::start(&host, TLS);
    assert_eq!(
        relay.check(&host, "https", "  tls: {ca_file: DIR/other.pem}\n"),
        "✗ relay https://127.0.0.1:PORT: no safe connection: no authority in DIR/other.pem has signed its certificate; set \
         sender.tls.ca_file to the one that has\n\
         exit code 1\n"
    );
}

#[test]
fn tls_and_plain_http_meet() {
    let host = host_with_authorities();
    let relay = Relay::start(&host, TLS);
    assert_eq!(
        relay.check(&host, "http", ""),
        "✗ relay http://127.0.0.1:PORT: a server that wants TLS answers there: write https:// in sender.relay\n\
         exit code 1\n"
    );
    drop(relay);
    let relay = Relay::start(&host, "");
    assert_eq!(
        relay.check(&host, "https", "  tls: {ca_file: DIR/ours.pem}\n"),
        "✗ relay https://127.0.0.1:PORT: a relay answers there, but without TLS: write http:// in sender.relay, or give the relay a \
         certificate\n\
         exit code 1\n"
    );
}

#[test]
fn the_senders_token_is_not_the_relays() {
    let host = Host::new();
    host.write("tokens", "0123456789abcdef0123456789abcdef *\n");
    host.write("token", "another-one-0123456789abcdef0123\n");
    let relay = Relay::start(&host, "  tokens_file: DIR/tokens\n");
    assert_eq!(
        relay.check(&host, "http", "  token_file: DIR/token\n"),
        "! configuration: sender.token_file: the token goes over http and can be read on the network; use https\n\
         ✗ relay http://127.0.0.1:PORT: the relay refuses the token in DIR/token: the token is not in the relay's tokens file\n\
         exit code 1\n"
    );
}

#[test]
fn nobody_listens_where_relay_destination_and_mail_server_should() {
    let host = Host::new();
    host.write("known_hosts", &format!("127.0.0.1 ssh-ed25519 {HOST_KEY}\n"));
    let text = format!(
        "{SENDER}  logs: [{{path: DIR/access.log}}]\n{FORWARDER}      known_hosts: DIR/known_hosts\n      password: p\nmonitor:\n  \
         data_dir: DIR/relay\n  metrics: null\n  smtp: {{host: 127.0.0.1, port: 1, from: a@b.c, to: [a@b.c]}}\n"
    );
    assert_eq!(
        host.check_connect(&text),
        "✗ relay http://127.0.0.1:1: cannot connect; check that the relay runs and listens there, and the firewalls between: \
         Connection refused (os error 111)\n\
         ✗ destination edw: cannot connect to 127.0.0.1:1: Connection refused (os error 111); check `host`, `port` and the network\n\
         ✗ mail server 127.0.0.1:1: cannot be reached: 127.0.0.1:1: Connection error: Connection refused (os error 111); check \
         monitor.smtp.host, port and tls\n\
         exit code 1\n"
    );
}

#[test]
fn a_name_has_no_address_and_this_host_not_the_address_to_listen_on() {
    let host = Host::new();
    let sender = SENDER.replace("127.0.0.1:1", "no-such-host.invalid:5001");
    let relay = RELAY.replace("127.0.0.1:7001", "192.0.2.1:7001");
    let said = host.check_connect(&format!("{sender}  logs: [{{path: DIR/access.log}}]\n{relay}"));
    // What the resolver says differs from system to system.
    let (before, rest) = said.split_once("DNS: ").expect(&said);
    let (_, after) = rest.split_once('\n').expect(&said);
    assert_eq!(
        format!("{before}DNS: REASON\n{after}"),
        "✗ relay http://no-such-host.invalid:5001: cannot find the address of no-such-host.invalid; check sender.relay and this host's \
         DNS: REASON\n\
         ✗ port of group web-1 192.0.2.1:7001: this host does not have the address 192.0.2.1; write one of those that `ip address` \
         shows, or 0.0.0.0 for all\n\
         exit code 1\n"
    );
}

#[test]
fn the_port_of_a_group_is_taken() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let said = Host::new().check_connect(&RELAY.replace("7001", &port));
    let (before, rest) = said.split_once(" (").expect(&said);
    let (_, after) = rest.split_once("); ").expect(&said);
    assert_eq!(
        format!("{before} (COMMAND); {after}")
            .replace(&port, "PORT")
            .replace(&std::process::id().to_string(), "PID"),
        "✗ port of group web-1 127.0.0.1:PORT: is taken by pid PID (COMMAND); stop that one, or set another port than PORT\n\
         exit code 1\n"
    );
}

#[test]
fn the_mail_servers_certificate_is_by_another_authority_and_a_recipient_is_dead() {
    if ran_as_root(
        "connections::the_mail_servers_certificate_is_by_another_authority_and_a_recipient_is_dead",
    ) {
        return;
    }
    let host = host_with_authorities();
    let server = Postfix::start(
        &["ops"],
        (0, 0),
        Some((&host.path("cert.pem"), &host.path("key.pem"))),
    );
    let check = |ca: &str| {
        let text = format!(
            "monitor:\n  data_dir: DIR/relay\n  metrics: null\n  smtp: {{host: 127.0.0.1, port: {}, from: relay@example.org, to: \
             [ops@example.com, dead@example.com], tls: starttls, ca_file: DIR/{ca}.pem}}\n",
            server.port
        );
        host.check_connect(&text)
            .replace(&server.port.to_string(), "PORT")
    };
    assert_eq!(
        check("other"),
        "✗ mail server 127.0.0.1:PORT: has a certificate that is not trusted: no authority in DIR/other.pem has signed it; set \
         monitor.smtp.ca_file to the one that has\n\
         exit code 1\n"
    );
    assert_eq!(
        check("ours"),
        "✗ mail server 127.0.0.1:PORT: refuses the recipient dead@example.com: permanent error (550): 5.1.1 <dead@example.com>: Recipient address \
         rejected: User unknown in virtual mailbox table; correct or remove it in monitor.smtp.to\n\
         exit code 1\n"
    );
}
