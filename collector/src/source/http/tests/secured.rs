//! TLS on the port, with and without certificates of clients.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Answer, RunningSource, send, until};
use crate::source::testing::Certificates;

type SecuredStream = StreamOwned<ClientConnection, TcpStream>;

fn start(certificates: &Certificates, needs_certificates: bool) -> RunningSource {
    let file = |name| certificates.path(name).display().to_string();
    let client_ca = if needs_certificates {
        format!(", client_ca_file: {}", file("ca.pem"))
    } else {
        String::new()
    };
    let tls = format!(
        "cert_file: {}, key_file: {}{client_ca}",
        file("leaf.pem"),
        file("leaf.key")
    );
    RunningSource::start(&format!(", tls: {{{tls}}}"))
}

impl RunningSource {
    fn secured(&self, config: &Arc<ClientConfig>) -> SecuredStream {
        let name = "localhost".try_into().expect("a name");
        let client = ClientConnection::new(Arc::clone(config), name).expect("a client");
        StreamOwned::new(client, self.connect())
    }

    /// What `status` says of the client that was refused last.
    fn told(&self) -> String {
        let error = self.status.report().last_error;
        error.map(|(_, text)| text).unwrap_or_default()
    }
}

fn post(stream: &mut SecuredStream, line: &str) -> u16 {
    send(stream, "/lines", "", line.as_bytes());
    Answer::read(stream).status
}

/// Posts as far as it can: with TLS 1.3 a client learns of a refusal when it reads.
fn refusal(mut stream: SecuredStream) -> String {
    use std::io::{Read, Write};
    let written = stream.write_all(b"POST /lines HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx\n");
    let read = written.and_then(|()| stream.read(&mut [0; 100]));
    read.expect_err("a refusal").to_string()
}

#[test]
fn client_with_a_certificate_posts_and_others_are_refused_by_name() {
    let (certificates, other) = (Certificates::new(), Certificates::new());
    let source = start(&certificates, true);
    let mut stream = source.secured(&certificates.client_config(Some(&certificates)));
    assert_eq!(post(&mut stream, "one\n"), 201);
    assert_eq!(post(&mut stream, "two\n"), 201);

    for (shown, to_client, told) in [
        (None, "CertificateRequired", "peer sent no certificates"),
        (Some(&other), "DecryptError", "invalid peer certificate"),
    ] {
        let alert = refusal(source.secured(&certificates.client_config(shown)));
        assert!(alert.contains(to_client), "{alert}");
        until("the refusal is told", || source.told().contains(told));
        let told = source.told();
        assert!(
            told.starts_with("the client 127.0.0.1:")
                && told.contains("have a certificate if tls.client_ca_file is set"),
            "{told}"
        );
    }
    let mut plain = source.connect();
    send(&mut plain, "/lines", "", b"in plain text\n");
    until("the client without TLS is told", || {
        source.told().contains("corrupt message")
    });
    assert!(source.told().contains("it must speak TLS"), "{}", source.told());
    assert_eq!(source.messages(), ["one", "two"]);
}

#[test]
fn client_needs_no_certificate_unless_authorities_are_set_and_trusts_no_other_server() {
    let (certificates, other) = (Certificates::new(), Certificates::new());
    let source = start(&certificates, false);
    assert_eq!(
        post(&mut source.secured(&certificates.client_config(None)), "one\n"),
        201
    );
    let error = refusal(source.secured(&other.client_config(None)));
    assert!(error.contains("invalid peer certificate"), "{error}");
    until("what the client said is told", || {
        source.told().contains("received fatal alert")
    });
    assert_eq!(source.messages(), ["one"]);
}

#[test]
fn renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_named() {
    let certificates = Certificates::new();
    let source = start(&certificates, true);
    let config = certificates.client_config(Some(&certificates));
    let mut before = source.secured(&config);
    assert_eq!(post(&mut before, "before\n"), 201);
    let first = certificates.certificate("leaf.pem");

    certificates.issue("leaf", &["localhost"]);
    let renewed = certificates.certificate("leaf.pem");
    let shown = |line: &str| {
        let mut stream = source.secured(&config);
        assert_eq!(post(&mut stream, line), 201);
        stream.conn.peer_certificates().expect("a handshake")[0].clone()
    };
    until("the renewed certificate is shown", || {
        let shown = shown("again\n");
        assert!(shown == first || shown == renewed);
        shown == renewed
    });
    // The connection from before goes on.
    assert_eq!(post(&mut before, "on the old connection\n"), 201);

    certificates.write("leaf.pem", "no certificate");
    until("the broken file is told", || {
        source.told().contains("leaf.pem cannot be used")
    });
    let told = source.told();
    assert!(
        told.starts_with("tls.cert_file: ")
            && told.contains("the certificate that was loaded before stays in use"),
        "{told}"
    );
    assert_eq!(shown("still\n"), renewed);
    let messages = source.messages();
    assert_eq!(
        (&*messages[0], &*messages[messages.len() - 1]),
        ("before", "still")
    );
}
