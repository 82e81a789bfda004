//! TLS to a real MariaDB, with an authority and certificates of the test.

use std::path::PathBuf;

use logferry_config::{ClientIdentity, DatabaseTls, MysqlSettings};
use logferry_test_servers::{MARIADB_PASSWORD, MARIADB_USER, MariaDb};

use super::{TABLE, messages, settings, start, started, until_marked};
use crate::source::mysql::follow::probe;
use crate::source::testing::Certificates;

/// A server whose user needs TLS, or a client certificate, as `needs` says.
async fn secured(certificates: &Certificates, needs: &str) -> MariaDb {
    let options = [("ca", "ca.pem"), ("cert", "leaf.pem"), ("key", "leaf.key")];
    let options = options.map(|(name, file)| format!("--ssl-{name}={}", certificates.path(file).display()));
    let server = tokio::task::spawn_blocking(move || MariaDb::start_with(options.into()));
    let server = server.await.expect("a server");
    server.sql(TABLE);
    server.sql(&format!("ALTER USER {MARIADB_USER}@'%' REQUIRE {needs}"));
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('by TLS')");
    server
}

fn trusting(server: &MariaDb, ca_file: PathBuf) -> MysqlSettings {
    MysqlSettings {
        tls: Some(DatabaseTls {
            ca_file: Some(ca_file),
            verify: true,
            identity: None,
        }),
        ..settings(server)
    }
}

async fn refused(settings: &MysqlSettings) -> String {
    let error = probe(settings).await.expect_err("a refusal");
    let error = logferry_text::error_chain(error.as_ref());
    // The source says the same as the probe.
    assert_eq!(start(settings, None).error().await, error);
    assert!(!error.contains(MARIADB_PASSWORD), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_by_tls_from_a_server_that_the_authority_has_signed() {
    let certificates = Certificates::new();
    let server = secured(&certificates, "SSL").await;
    let settings = trusting(&server, certificates.path("ca.pem"));
    let found = probe(&settings).await.expect("all is well");
    assert_eq!(
        (found.may_mark, found.waiting, found.reader),
        (true, Some(1), None)
    );
    let source = start(&settings, None);
    assert_eq!(messages(&source.until_captured(1).await), ["by TLS"]);
    until_marked(&server).await;
    let found = probe(&settings).await.expect("all is well");
    assert!(found.waiting == Some(0) && found.reader.is_some(), "{found:?}");
    source.stop().await;

    // Whoever does not check the certificate gets the rows as well.
    server.sql("UPDATE clientdb.logs SET sent = 0");
    let mut unchecked = settings;
    unchecked.tls = Some(DatabaseTls {
        ca_file: None,
        verify: false,
        identity: None,
    });
    let source = start(&unchecked, None);
    assert_eq!(source.until_captured(1).await.len(), 1);
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_not_trusted_is_told_with_what_to_do() {
    let certificates = Certificates::new();
    let server = secured(&certificates, "SSL").await;
    let other = Certificates::new();
    let error = refused(&trusting(&server, other.path("ca.pem"))).await;
    let expected = format!(
        "no safe connection to the MySQL server 127.0.0.1:{}: no authority in {} has signed its certificate; set tls.ca_file to \
         the one that has",
        server.port,
        other.path("ca.pem").display()
    );
    assert_eq!(error, expected);

    let mut plain = settings(&server);
    let error = refused(&plain).await;
    assert!(
        error.contains("refuses the user ferry") && error.contains("REQUIRE SSL"),
        "{error}"
    );
    plain.tls = Some(DatabaseTls {
        ca_file: None,
        verify: true,
        identity: None,
    });
    let error = refused(&plain).await;
    assert!(error.contains("set tls.ca_file"), "{error}");
    let error = refused(&trusting(&server, other.path("nothing.pem"))).await;
    assert!(
        error.contains("tls.ca_file: ") && error.contains("nothing.pem cannot be used: "),
        "{error}"
    );
    assert_eq!(
        server.sql("SELECT COUNT(*) FROM clientdb.logs WHERE sent = 0"),
        "1"
    );

    // The certificate is the right authority's, but another host's; the server takes it in use without a restart.
    certificates.issue("leaf", &["db.example.com"]);
    server.sql("FLUSH SSL");
    let error = refused(&trusting(&server, certificates.path("ca.pem"))).await;
    assert!(
        error.contains("is for another name") && error.contains("in `host`"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_tls_is_never_read_in_plain_text_instead() {
    let server = started().await;
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('x')");
    let certificates = Certificates::new();
    let has_tls = server.sql("SELECT @@have_ssl") == "YES";
    let error = refused(&trusting(&server, certificates.path("ca.pem"))).await;
    // From 11.4 on the server makes itself a certificate.
    assert!(
        has_tls || error.contains("the server has no TLS; set ssl_cert"),
        "{error}"
    );
    assert_eq!(
        server.sql("SELECT COUNT(*) FROM clientdb.logs WHERE sent = 0"),
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificate_is_shown_and_a_wrong_one_is_named() {
    let certificates = Certificates::new();
    let server = secured(&certificates, "X509").await;
    let mut settings = trusting(&server, certificates.path("ca.pem"));
    let error = refused(&settings).await;
    assert!(error.contains("refuses the user ferry"), "{error}");
    let identity = |of: &Certificates| ClientIdentity {
        cert_file: of.path("leaf.pem"),
        key_file: of.path("leaf.key"),
    };
    let other = Certificates::new();
    let mut show = |identity| {
        let tls = settings.tls.as_mut().expect("TLS");
        tls.identity = Some(identity);
        settings.clone()
    };
    let error = refused(&show(identity(&other))).await;
    assert!(
        error.contains("it refuses the handshake")
            && error.contains(&other.path("leaf.pem").display().to_string()),
        "{error}"
    );
    let mixed = ClientIdentity {
        key_file: other.path("leaf.key"),
        ..identity(&certificates)
    };
    let error = refused(&show(mixed)).await;
    assert!(error.contains("put both of one pair there"), "{error}");
    let good = show(identity(&certificates));
    probe(&good).await.expect("all is well");
    let source = start(&good, None);
    assert_eq!(messages(&source.until_captured(1).await), ["by TLS"]);
    source.stop().await;
}
