//! Against a web server that answers by a table, and a TLS server with an authority made for the test.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logferry_config::WebEndpoint;
use logferry_test_servers::{HttpScript, ScriptedHttp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const LONG: Duration = Duration::from_mins(1);
const SECRET: &str = "/services/T0/s3cr3ts3cr3t?key=0123456789";

fn endpoint(url: &str, ca_file: Option<PathBuf>) -> WebEndpoint {
    WebEndpoint {
        address: url.parse().expect("an address"),
        ca_file,
    }
}

fn request(endpoint: &WebEndpoint) -> HttpRequest<'_> {
    HttpRequest {
        endpoint,
        method: HttpMethod::PostJson,
        key: Some("logferry-1"),
        body: Bytes::from_static(b"{\"a\":1}"),
    }
}

#[tokio::test]
async fn a_request_has_its_key_and_body_and_the_answer_its_wait() {
    let server = ScriptedHttp::start([HttpScript::Answer(
        429,
        &["Retry-After: 7\r\n"],
        "slow down\nplease",
    )]);
    let to = endpoint(&format!("http://127.0.0.1:{}{SECRET}", server.port()), None);
    let answer = send(&request(&to), LONG).await.expect("an answer");
    let expected = HttpAnswer {
        status: 429,
        retry_after: Some(Duration::from_secs(7)),
        text: "slow down".to_owned(),
    };
    assert_eq!(answer, expected);
    let came = server.requests();
    assert_eq!(came[0].request_line, format!("POST {SECRET} HTTP/1.1"));
    assert_eq!(
        (came[0].header("idempotency-key"), &*came[0].body),
        ("logferry-1", "{\"a\":1}")
    );
    assert_eq!(came[0].header("content-type"), "application/json");
    assert_eq!(came[0].header("host"), format!("127.0.0.1:{}", server.port()));
}

#[tokio::test]
async fn a_failure_says_whether_the_request_may_have_arrived_and_no_secret() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|it| it.local_addr())
        .expect("a port");
    let server = ScriptedHttp::start([
        HttpScript::HangUp,
        HttpScript::Silence,
        HttpScript::Answer(
            404,
            &[],
            "no /services/T0/s3cr3ts3cr3t?key=0123456789 here, s3cr3ts3cr3t",
        ),
    ]);
    let url = |port| format!("http://127.0.0.1:{port}{SECRET}");
    let (to, nobody) = (
        endpoint(&url(server.port()), None),
        endpoint(&url(closed.port()), None),
    );
    let refused = send(&request(&nobody), LONG).await.expect_err("nobody listens");
    assert!(!refused.may_be_taken(), "{refused}");
    let hung_up = send(&request(&to), LONG).await.expect_err("no answer");
    assert!(hung_up.may_be_taken(), "{hung_up}");
    let silent = send(&request(&to), Duration::from_millis(200))
        .await
        .expect_err("no answer");
    assert!(silent.may_be_taken(), "{silent}");
    let answer = send(&request(&to), LONG).await.expect("an answer");
    assert_eq!(answer.text, "no … here, …");
    for error in [refused, hung_up, silent] {
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
    }
}

struct TlsServer {
    dir: tempfile::TempDir,
    port: u16,
}

impl TlsServer {
    /// A server with a certificate for this name. It answers 204 to anything.
    async fn start(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("randomness");
        let authority = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca"), authority.pem()).expect("room");
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("randomness");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .expect("a key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client that does not trust it goes away.
                if let Ok(mut client) = acceptor.accept(client).await {
                    let _ = client.read(&mut [0; 4096]).await;
                    let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                    let _ = client.write_all(answer).await;
                    let _ = client.shutdown().await;
                }
            }
        });
        Self { dir, port }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca")
    }
}

#[tokio::test]
async fn tls_is_checked_and_what_is_wrong_is_told() {
    let server = TlsServer::start("localhost").await;
    let url = format!("https://localhost:{}{SECRET}", server.port);
    let answer = send(&request(&endpoint(&url, Some(server.ca()))), LONG)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 204);

    let other = TlsServer::start("other.example").await;
    let plain = ScriptedHttp::start([]);
    let unknown = Path::new("/nonexistent/ca").to_owned();
    for (port, ca_file, expected) in [
        (
            server.port,
            Some(other.ca()),
            "has signed its certificate; set ca_file to the one that has",
        ),
        (
            other.port,
            Some(other.ca()),
            "its certificate is for another name",
        ),
        (
            plain.port(),
            Some(server.ca()),
            "the server ended the connection before TLS began",
        ),
        (
            server.port,
            Some(unknown),
            "ca_file /nonexistent/ca cannot be used",
        ),
    ] {
        let to = endpoint(&format!("https://localhost:{port}{SECRET}"), ca_file);
        let error = send(&request(&to), LONG).await.expect_err(expected);
        let told = error.to_string();
        assert!(told.contains(expected) && !told.contains("s3cr3t"), "{told}");
        assert!(!error.may_be_taken());
    }
}
