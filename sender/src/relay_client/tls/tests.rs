//! Against a TLS server on a loopback port, with authorities made for each test.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::io;
use std::path::PathBuf;

use logferry_config::ClientIdentity;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const RELAY: &str = "https://localhost:1";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca"), certificate.pem()).expect("room");
        let issuer = Issuer::new(params, key);
        Self { issuer, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tls(&self) -> ClientTls {
        ClientTls {
            ca_file: Some(self.path("ca")),
            identity: None,
        }
    }

    /// A certificate for `name` until the end of `year`.
    fn certificate(&self, name: &str, year: i32) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }

    fn identity(&self) -> ClientIdentity {
        let (certificate, key) = self.certificate("web-1", 2500);
        let (cert_file, key_file) = (self.path("cert"), self.path("key"));
        std::fs::write(&cert_file, certificate.pem()).expect("room");
        std::fs::write(&key_file, key.serialize_pem()).expect("room");
        ClientIdentity { cert_file, key_file }
    }

    /// A server that echoes one byte to each client; `clients` have to show a certificate of that authority.
    async fn serve(&self, name: &str, year: i32, clients: Option<&Self>) -> TcpStream {
        let (certificate, key) = self.certificate(name, year);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let roots = Arc::new(authorities(Some(&clients.path("ca"))).expect("an authority"));
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("its own key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            // The test looks at the error on the client's side.
            let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else {
                return;
            };
            let byte = stream.read_u8().await.expect("a byte");
            stream.write_u8(byte).await.expect("a client");
            stream.shutdown().await.expect("a client");
        });
        TcpStream::connect(address).await.expect("a server")
    }
}

async fn exchange(tls: &ClientTls, server: TcpStream) -> Result<u8, RequestError> {
    let mut stream = connect(tls, RELAY, "localhost", server).await?;
    let exchanged = async {
        stream.write_u8(7).await?;
        stream.read_u8().await
    };
    exchanged.await.map_err(|error: io::Error| {
        refusal(&error, tls, RELAY).unwrap_or(RequestError::Connect(RELAY.into(), error))
    })
}

async fn error_text(tls: &ClientTls, server: TcpStream) -> String {
    exchange(tls, server).await.expect_err("refused").to_string()
}

fn assert_contains(text: &str, words: [&str; 2]) {
    assert!(
        words.iter().all(|word| text.contains(word)),
        "{words:?} in {text}"
    );
}

#[tokio::test]
async fn a_relay_with_a_certificate_of_the_authority_is_trusted() {
    let ca = Authority::new();
    let server = ca.serve("localhost", 2500, None).await;
    assert_eq!(exchange(&ca.tls(), server).await.expect("trusted"), 7);
}

#[tokio::test]
async fn a_relay_that_cannot_be_trusted_is_refused_with_the_remedy() {
    let (ca, other) = (Authority::new(), Authority::new());
    let (system, name) = (ClientTls::default(), "other.example.com");
    for (name, year, tls, words) in [
        (
            "localhost",
            2500,
            other.tls(),
            ["no authority in", "set sender.tls.ca_file"],
        ),
        (
            "localhost",
            2500,
            system,
            ["no authority that this system knows", "ca_file"],
        ),
        ("localhost", 2021, ca.tls(), ["has expired", "renew it"]),
        (name, 2500, ca.tls(), ["for another name", name]),
    ] {
        let text = error_text(&tls, ca.serve(name, year, None).await).await;
        assert!(
            text.starts_with("no safe connection to https://localhost:1: "),
            "{text}"
        );
        assert_contains(&text, words);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_distinguished_from_a_broken_connection() {
    let ca = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    for (answer, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not use TLS"),
        (&b""[..], "cannot connect"),
    ] {
        let server = TcpStream::connect(address).await.expect("a server");
        let (mut client, _) = listener.accept().await.expect("a client");
        client.write_all(answer).await.expect("a client");
        client.shutdown().await.expect("a client");
        let text = error_text(&ca.tls(), server).await;
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_sent_if_it_is_required() {
    let (ca, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    for (identity, refusal) in [
        (Some(clients.identity()), None),
        (None, Some("requires a certificate of this host")),
        (Some(other.identity()), Some("refuses the certificate of")),
    ] {
        let server = ca.serve("localhost", 2500, Some(&clients)).await;
        let tls = ClientTls { identity, ..ca.tls() };
        match (exchange(&tls, server).await, refusal) {
            (Ok(byte), None) => assert_eq!(byte, 7),
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (result, _) => panic!("{refusal:?}: {result:?}"),
        }
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (ca, other) = (Authority::new(), Authority::new());
    std::fs::write(ca.path("empty"), "no certificate\n").expect("room");
    let (mut mixed, mut keyless) = (ca.identity(), ca.identity());
    mixed.key_file = other.identity().key_file;
    keyless.key_file = ca.path("empty");
    let with = |ca_file: &str, identity| ClientTls {
        ca_file: Some(ca.path(ca_file)),
        identity,
    };
    for (tls, words) in [
        (with("none", None), ["none of sender.tls.ca_file", "No such file"]),
        (
            with("empty", None),
            ["empty of sender.tls.ca_file", "must be PEM"],
        ),
        (
            with("ca", Some(keyless)),
            ["empty of sender.tls.key_file", "cannot be used"],
        ),
        (
            with("ca", Some(mixed)),
            ["cert of sender.tls.cert_file", "it does not work"],
        ),
    ] {
        assert_contains(&client_config(&tls).expect_err("unusable").to_string(), words);
    }
}
