//! Over TLS the session's cookie is for this host alone.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http::{get, post};
use super::relay_host::RelayFixture;
use crate::access::scope::AccessScope;

#[tokio::test(flavor = "multi_thread")]
async fn login_over_tls_gives_a_cookie_that_only_this_host_gets() {
    let host = RelayFixture::new();
    let made = rcgen::generate_simple_self_signed(vec!["console.test".to_owned()]).expect("made");
    let path = |name: &str| host.dir.path().join(name);
    std::fs::write(path("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("written");
    let settings = format!(
        "  tls: {{cert_file: {}, key_file: {}}}\n",
        path("cert.pem").display(),
        path("key.pem").display()
    );
    let console = host.console(&settings).await;
    console
        .accounts()
        .put_user("ops", "correct horse battery", AccessScope::Act)
        .expect("added");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let connect = async || {
        let stream = TcpStream::connect(console.address).await.expect("connected");
        let name = ServerName::try_from("console.test").expect("a name");
        connector.connect(name, stream).await.expect("a handshake")
    };
    let login = post("/login").form("user=ops&password=correct+horse+battery");
    let answer = login.send_over(connect().await).await;
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.starts_with("__Host-logferry="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=31536000")
    );
    let pair = cookie.split(';').next().expect("a pair");
    let me = get("/api/v1/me")
        .with("cookie", pair)
        .send_over(connect().await)
        .await;
    assert_eq!(me.status, 200, "{}", me.text());
    let plain = pair.replace("__Host-", "");
    let me = get("/api/v1/me")
        .with("cookie", &plain)
        .send_over(connect().await)
        .await;
    assert_eq!(
        me.status, 401,
        "a cookie that another page could set does not count"
    );
    console.stop().await;
}
