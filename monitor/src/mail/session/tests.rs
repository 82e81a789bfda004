//! Connections to mail servers that hang, that are slow, and that want a full name.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use lettre::Message;
use logferry_embedded_servers::MailSink;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;

use super::*;
use crate::tests::settings::MonitoredHost as _;
use logferry_testkit::relay_host::RelayHost;

const LIMITS: ReplyLimits = ReplyLimits {
    next_address: Duration::from_millis(50),
    ..ReplyLimits::STANDARD
};

/// A limit for replies that never come.
const AT_ONCE: Duration = Duration::from_millis(100);

fn server(port: u16, limits: ReplyLimits) -> MailServer {
    let smtp = RelayHost::new().config(port).smtp;
    MailServer::new(&smtp, limits).expect("valid")
}

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

#[test]
fn replies_are_awaited_as_long_as_rfc_5321_asks() {
    let ReplyLimits {
        command,
        data,
        data_end,
        ..
    } = ReplyLimits::STANDARD;
    assert_eq!(
        [command, data, data_end].map(|limit| limit.as_secs() / 60),
        [5, 2, 10]
    );
}

#[tokio::test]
async fn the_next_address_is_tried_while_the_first_does_not_answer() {
    // The system accepts connections for it, and nobody ever greets.
    let hole = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr().map(|at| (it, at)));
    let (_hole, hole) = hole.expect("a port");
    let sink = MailSink::start().await.expect("a server");
    let server = server(sink.port(), LIMITS);
    let addresses = vec![hole, SocketAddr::from(([127, 0, 0, 1], sink.port()))];
    let connected = server.first_connection(addresses, None).await;
    assert!(connected.is_ok());
    assert_eq!(sink.hello_names(), ["[127.0.0.1]"]);
}

#[tokio::test]
async fn a_server_that_never_greets_is_given_up_with_the_step_and_the_time() {
    let hole = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = hole.local_addr().expect("bound").port();
    let limits = ReplyLimits {
        command: AT_ONCE,
        ..LIMITS
    };
    let error = server(port, limits).connect().await.err().expect("no greeting");
    let text = error.to_string();
    assert!(
        text.contains("did not answer") && text.contains("its greeting"),
        "{text}"
    );
}

#[tokio::test]
async fn a_slow_greeting_and_a_slow_answer_to_the_mail_are_awaited() {
    let sink = MailSink::start().await.expect("a server");
    sink.set_script(|script| {
        script.greeting_delay = Duration::from_millis(300);
        script.data_delay = Duration::from_millis(300);
    });
    let server = server(sink.port(), LIMITS);
    let mut session = server.connect().await.expect("greeted");
    session.mail_from(&address("a@example.com")).await.expect("taken");
    let accepted = session.recipient(&address("b@example.com")).await;
    assert_eq!(accepted.expect("answered"), Ok(()));
    session.begin_data().await.expect("announced");
    session.data(&message()).await.expect("taken");
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn a_missing_answer_to_the_mail_itself_is_told_apart() {
    let sink = MailSink::start().await.expect("a server");
    sink.set_script(|script| script.data_delay = Duration::from_hours(1));
    let limits = ReplyLimits {
        data_end: AT_ONCE,
        ..LIMITS
    };
    let server = server(sink.port(), limits);
    let mut session = server.connect().await.expect("greeted");
    session.mail_from(&address("a@example.com")).await.expect("taken");
    let accepted = session.recipient(&address("b@example.com")).await;
    accepted.expect("answered").expect("accepted");
    session.begin_data().await.expect("announced");
    let error = session.data(&message()).await.expect_err("no answer");
    assert!(matches!(error, SendError::Unconfirmed { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_wants_a_full_name_gets_the_configured_one_and_otherwise_a_name_it_takes() {
    let sink = MailSink::start().await.expect("a server");
    sink.set_script(|script| script.wants_full_name = true);
    let found = server(sink.port(), LIMITS);
    drop(found.connect().await.expect("an address literal or a full name"));
    let smtp = Smtp {
        hello_name: Some("relay.example.com".to_owned()),
        ..RelayHost::new().config(sink.port()).smtp
    };
    let configured = MailServer::new(&smtp, LIMITS).expect("valid");
    drop(configured.connect().await.expect("a full name"));
    assert_eq!(sink.hello_names()[1], "relay.example.com");

    let smtp = Smtp {
        hello_name: Some("relay".to_owned()),
        ..smtp
    };
    let short = MailServer::new(&smtp, LIMITS).expect("valid");
    let error = short.connect().await.err().expect("refused").to_string();
    assert!(
        error.contains("(504)") && error.contains("set monitor.smtp.hello_name"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_without_starttls_gets_no_password() {
    let sink = MailSink::start().await.expect("a server");
    let smtp = Smtp {
        tls: SmtpTls::StartTls,
        ..RelayHost::new().config(sink.port()).smtp
    };
    let server = MailServer::new(&smtp, LIMITS).expect("valid");
    let error = server.connect().await.err().expect("refused").to_string();
    assert!(error.contains("does not offer STARTTLS"), "{error}");
}

#[test]
fn a_ca_file_without_a_certificate_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("ca.pem");
    logferry_testkit::relay_host::write(&path, "no certificate");
    for path in [path, dir.path().join("none.pem")] {
        let smtp = Smtp {
            tls: SmtpTls::StartTls,
            ca_file: Some(path.clone()),
            ..RelayHost::new().config(25).smtp
        };
        let error = MailServer::new(&smtp, LIMITS).expect_err("unusable").to_string();
        assert!(
            error.contains(&path.display().to_string()) && error.contains("PEM"),
            "{error}"
        );
    }
}

fn message() -> Vec<u8> {
    let message = Message::builder()
        .from("a@example.com".parse().expect("a mailbox"))
        .to("b@example.com".parse().expect("a mailbox"))
        .body("text".to_owned());
    message.expect("complete").formatted()
}

/// An authority of its own, in a file, and the TLS of a server whose certificate it signed.
fn own_authority() -> (TempDir, PathBuf, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("randomness");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("ca.pem");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    logferry_testkit::relay_host::write(&path, &pem);
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("randomness");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = builder.with_single_cert(vec![certificate.der().clone()], key);
    (dir, path, Arc::new(config.expect("its own key")))
}

#[tokio::test]
async fn starttls_with_a_companys_own_authority_works_and_without_it_the_error_says_what_to_set() {
    let (_dir, ca_file, tls) = own_authority();
    let sink = MailSink::start().await.expect("a server");
    sink.set_script(|script| script.tls = Some(tls));
    let smtp = Smtp {
        tls: SmtpTls::StartTls,
        ca_file: Some(ca_file),
        ..RelayHost::new().config(sink.port()).smtp
    };
    let server = MailServer::new(&smtp, LIMITS).expect("valid");
    drop(server.connect().await.expect("trusted"));
    assert_eq!(sink.hello_names().len(), 2, "EHLO again in TLS (RFC 3207, 4.2)");

    let smtp = Smtp {
        ca_file: None,
        ..smtp
    };
    let server = MailServer::new(&smtp, LIMITS).expect("valid");
    let error = server.connect().await.err().expect("not trusted");
    assert!(matches!(error, SendError::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains("monitor.smtp.ca_file"), "{error}");
}
