//! Mails by a real server, Debian's postfix: what it refuses, and what is in the mailbox in the end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_config::MonitorSettings;
use logferry_ledger::{Ledger, NewMail, SummaryKey};
use logferry_monitor::{once, probe_mail, test_mail};
use logferry_test_servers::{Postfix, ran_as_root};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// More than the 30 s after which many clients give up, and the seconds that issue 12 names.
const SLOW: (u32, u32) = (36, 40);

/// A data folder with a mail that waits, and the settings of a monitor.
struct Host {
    _dir: TempDir,
    config: MonitorSettings,
}

impl Host {
    /// `smtp`: settings of the mail server beside host, port and sender.
    fn new(port: u16, smtp: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("relay");
        fs::create_dir(&data_dir).unwrap();
        // How full the disk of the tests is is not their subject.
        let text = format!(
            "monitor:\n  data_dir: {}\n  metrics: null\n  limits: {{disk: 100%}}\n  smtp: {{host: 127.0.0.1, port: {port}, from: relay@example.org, {smtp}}}\n",
            data_dir.display()
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).unwrap();
        let config = config.monitor.unwrap();
        let now = Timestamp::now();
        let mail = NewMail {
            subject: "silent: 198.51.100.1".to_owned(),
            text: "198.51.100.1 is silent.\n.\nA line that is only a dot stands above.\n".to_owned(),
            html: Some("<p>198.51.100.1 is silent: häßlich</p>\n".to_owned()),
        };
        let mut ledger = Ledger::open_or_create(&data_dir).unwrap();
        ledger
            .queue_summary_mail(SummaryKey::Hour(now), &mail, &[], now)
            .unwrap();
        Self { _dir: dir, config }
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.config.data_dir).unwrap()
    }
}

/// A new authority, and a certificate of it for 127.0.0.1: its own file, and those of certificate and key.
fn certificate(dir: &Path, name: &str) -> (PathBuf, PathBuf, PathBuf) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();
    let files = ["ca", "cert", "key"].map(|kind| dir.join(format!("{name}.{kind}.pem")));
    let texts = [authority_certificate.pem(), server.pem(), key.serialize_pem()];
    for (file, text) in files.iter().zip(texts) {
        fs::write(file, text).unwrap();
    }
    files.into()
}

/// The reply of the server to a line.
fn reply(port: u16, line: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let mut text = String::new();
    stream.read_line(&mut text).unwrap();
    stream.get_mut().write_all(line.as_bytes()).unwrap();
    text.clear();
    stream.read_line(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_recipient_is_noted_and_the_others_get_the_mail_once() {
    if ran_as_root("a_dead_recipient_is_noted_and_the_others_get_the_mail_once") {
        return;
    }
    let server = Postfix::start(&["ops", "night"], (0, 0), None);
    let short_name = reply(server.port, "EHLO relay\r\n");
    assert!(
        short_name.starts_with("504 5.5.2"),
        "the server is strict: {short_name}"
    );
    let host = Host::new(
        server.port,
        "to: [ops@example.com, dead@example.com, night@example.com]",
    );
    for _ in 0..2 {
        once(&host.config).await.unwrap();
    }
    for user in ["ops", "night"] {
        // The second one says that a recipient is refused.
        let mails = server.mails(user, 2);
        assert_eq!(mails.len(), 2, "once each, not again with each attempt");
        let is_first = |mail: &&String| mail.contains("\nSubject: [logferry] silent: ");
        let mail = mails.iter().find(is_first).expect("the first one");
        let refusal = mails
            .iter()
            .any(|mail| mail.contains("\nSubject: [logferry] warning: recipient dead@example.com\n"));
        assert!(refusal, "{mails:?}");
        for part in [
            "\nSubject: [logferry] silent: 198.51.100.1\n",
            "\nFrom: relay@example.org\n",
            "\nTo: ops@example.com, dead@example.com, night@example.com\n",
            "\nDelivered-To: ",
            "\nMessage-ID: <logferry-",
            "198.51.100.1 is silent.\n.\nA line that is only a dot stands above.\n",
            "h=C3=A4=C3=9Flich",
        ] {
            assert!(mail.contains(part), "no {part:?} in {mail}");
        }
    }
    let refused = host.ledger().refused_recipients().unwrap();
    let [dead] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert_eq!(dead.recipient, "dead@example.com");
    assert!(
        dead.reason.contains("User unknown in virtual mailbox table"),
        "{}",
        dead.reason
    );
    // The commands for people say the same.
    let answers = probe_mail(&host.config.smtp).await.unwrap();
    let accepted: Vec<_> = answers
        .iter()
        .map(|(to, answer)| (to.as_str(), answer.is_ok()))
        .collect();
    assert_eq!(
        accepted,
        [
            ("ops@example.com", true),
            ("dead@example.com", false),
            ("night@example.com", true)
        ]
    );
    let error = test_mail(&host.config).await.unwrap_err().to_string();
    assert!(
        error.contains("dead@example.com") && error.contains("User unknown"),
        "{error}"
    );
    assert_eq!(server.mails("ops", 3).len(), 3, "the others got the test mail");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_companys_own_authority_is_trusted_by_its_file_and_no_other_is() {
    if ran_as_root("the_companys_own_authority_is_trusted_by_its_file_and_no_other_is") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (authority, certificate_file, key) = certificate(dir.path(), "ours");
    let (other, ..) = certificate(dir.path(), "other");
    let server = Postfix::start(&["ops"], (0, 0), Some((&certificate_file, &key)));
    let settings = |ca: &str| format!("to: [ops@example.com], tls: starttls{ca}");
    let host = Host::new(
        server.port,
        &settings(&format!(", ca_file: {}", authority.display())),
    );
    once(&host.config).await.unwrap();
    let mail = server.mails("ops", 1).remove(0);
    assert!(mail.contains("(using TLSv1."), "{mail}");
    for ca in [format!(", ca_file: {}", other.display()), String::new()] {
        let refused = Host::new(server.port, &settings(&ca));
        let error = probe_mail(&refused.config.smtp).await.unwrap_err().to_string();
        assert!(
            error.contains("certificate") && error.contains("smtp.ca_file"),
            "{error}"
        );
        once(&refused.config).await.unwrap_err();
        assert_eq!(
            refused.ledger().mail_backlog().unwrap().waiting,
            1,
            "the mail waits"
        );
    }
    assert_eq!(server.mails("ops", 1).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_greets_after_36_s_or_takes_the_mail_after_40_s_gets_it_once() {
    if ran_as_root("a_server_that_greets_after_36_s_or_takes_the_mail_after_40_s_gets_it_once") {
        return;
    }
    let server = Postfix::start(&["greeting", "answer"], SLOW, None);
    let greeting = Host::new(server.slow_greeting_port, "to: [greeting@example.com]");
    let answer = Host::new(server.slow_answer_port, "to: [answer@example.com]");
    let (greeted, answered) = tokio::join!(once(&greeting.config), once(&answer.config));
    greeted.unwrap();
    answered.unwrap();
    for (host, user) in [(&greeting, "greeting"), (&answer, "answer")] {
        assert_eq!(server.mails(user, 1).len(), 1, "{user}");
        assert_eq!(host.ledger().mail_backlog().unwrap().waiting, 0, "{user}");
    }
}
