//! The client over TLS, with a good and with a wrong authority, and logged in.
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::path::Path;
use std::sync::Arc;

use logferry_config::{OpenSearchSettings, parse};
use logferry_embedded_servers::SearchServer;
use logferry_opensearch::OpenSearchClient;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A port that speaks TLS for `localhost` before that of the server, and the PEM of its certificate.
async fn tls_before(server: &SearchServer) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate");
    let (acceptor, listener) = (
        TlsAcceptor::from(Arc::new(config)),
        TcpListener::bind("localhost:0").await.expect("a port"),
    );
    let port = listener.local_addr().expect("bound").port();
    let upstream = server.url().replace("http://", "");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let mut upstream = TcpStream::connect(&upstream).await.expect("the server");
            if let Ok(mut client) = acceptor.accept(client).await {
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut upstream).await });
            }
        }
    });
    (port, made.cert.pem())
}

fn settings(text: &str) -> OpenSearchSettings {
    let text = format!("indexer:\n  opensearch: {{{text}}}\n");
    let config = parse(&text, Path::new("c.yaml"), &|_| None).expect("valid");
    config
        .indexer
        .and_then(|indexer| indexer.opensearch)
        .expect("a sink")
}

#[tokio::test]
async fn server_is_trusted_by_its_authority_only_and_gets_the_api_key() {
    let server = SearchServer::start().await.expect("a server");
    server.set_script(|script| script.login = Some("ApiKey a2V5".to_owned()));
    let (port, certificate) = tls_before(&server).await;
    let (_, other) = tls_before(&server).await;
    let dir = tempfile::tempdir().expect("a folder");
    let ca_file = dir.path().join("ca.pem");
    let probe = async |certificate: &str| {
        std::fs::write(&ca_file, certificate).expect("written");
        let ca = ca_file.display();
        let settings = settings(&format!(
            "url: \"https://localhost:{port}\", ca_file: \"{ca}\", api_key: a2V5"
        ));
        OpenSearchClient::new(settings).probe("logferry-check").await
    };
    assert_eq!(
        probe(&certificate).await.expect("trusted").name,
        "OpenSearch 2.19.1"
    );
    let refused = probe(&other).await.expect_err("not trusted").to_string();
    let advice = "set ca_file to the one that has";
    assert!(refused.contains(advice), "{refused}");
    let unusable = probe("no certificate")
        .await
        .expect_err("no authority")
        .to_string();
    assert!(unusable.contains("there is no certificate in it"), "{unusable}");
}
