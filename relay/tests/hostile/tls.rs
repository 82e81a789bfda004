//! TLS and client certificates.

use std::io;

use crate::authority::{CertificateAuthority, CertificateFiles};
use crate::test_relay::{HttpResponse, TestRelay, chunk, read_to_end, request, wait_for};

const LINES: &[u8] = b"one\ntwo\n";

fn settings(pair: &CertificateFiles, more: &str) -> String {
    let (cert, key) = (pair.cert.display(), pair.key.display());
    format!("  tls: {{cert_file: {cert}, key_file: {key}{more}}}\n")
}

/// The error of a client that TLS refuses.
fn refused(answer: io::Result<HttpResponse>) -> String {
    answer.expect_err("refused").to_string()
}

#[tokio::test]
async fn chunks_and_uploads_are_stored_over_tls_and_plain_http_is_refused() {
    let mut site = TestRelay::new();
    let ca = CertificateAuthority::new(site.dir.path(), "ours");
    site.start("", &settings(&ca.issue("relay", &["localhost"], 2500), ""))
        .await;
    let stored = site.answer_tls(ca.client(None), &chunk(1, LINES, "")).await;
    assert_eq!(stored.expect("an answer").status, 200);
    let upload = request("/upload", &[], "", br#"{"log": "three", "host": "198.51.100.1"}"#);
    let stored = site
        .answer_tls(ca.client(None), &upload)
        .await
        .expect("an answer");
    assert_eq!(stored.body, "OK - 1 lines");
    assert_eq!(
        site.stored(),
        [("127.0.0.1".to_owned(), "one\ntwo\nthree\n".to_owned())]
    );

    let told = site.answer(&chunk(2, LINES, "")).await;
    told.assert_refused(400, "this port speaks TLS: write https://");
    assert_eq!(site.rejected(), 1);
    let other = CertificateAuthority::new(site.dir.path(), "other");
    refused(site.answer_tls(other.client(None), b"").await);
}

#[tokio::test]
async fn incomplete_and_invalid_handshakes_end_and_the_next_client_is_served() {
    let mut site = TestRelay::new();
    let ca = CertificateAuthority::new(site.dir.path(), "ours");
    let settings = settings(&ca.issue("relay", &["localhost"], 2500), "");
    site.start("", &settings).await;
    for bytes in [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\0\x01\0",
        b"\x16\x03\x01\xff\xff\0\0",
        &[0x16; 4096],
    ] {
        let mut stream = site.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, bytes)
            .await
            .expect("a relay");
        tokio::io::AsyncWriteExt::shutdown(&mut stream)
            .await
            .expect("a relay");
        read_to_end(stream).await;
    }
    let stored = site.answer_tls(ca.client(None), &chunk(1, LINES, "")).await;
    assert_eq!(stored.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_client_certificate_gives_the_source_of_the_lines() {
    let mut site = TestRelay::new();
    let (ca, clients) = (
        CertificateAuthority::new(site.dir.path(), "ours"),
        CertificateAuthority::new(site.dir.path(), "clients"),
    );
    let pair = ca.issue("relay", &["localhost"], 2500);
    let settings = settings(
        &pair,
        &format!(", client_ca_file: {}", site.path("clients.ca").display()),
    );
    site.start("sources: ['198.51.100.0/24', web-1]", &settings).await;
    let send = async |pair: Option<&CertificateFiles>, inode, more: &str| {
        site.answer_tls(ca.client(pair), &chunk(inode, LINES, more)).await
    };

    let by_address = clients.issue("by-address", &["elsewhere.example.com", "198.51.100.7"], 2500);
    assert_eq!(
        send(Some(&by_address), 1, "").await.expect("an answer").status,
        200
    );
    let by_name = clients.issue("by-name", &["web-1", "198.51.100.8"], 2500);
    assert_eq!(send(Some(&by_name), 2, "").await.expect("an answer").status, 200);
    let upload = request("/upload", &[], "", br#"{"log": "three", "host": "198.51.100.9"}"#);
    let stored = site
        .answer_tls(ca.client(Some(&by_name)), &upload)
        .await
        .expect("an answer");
    assert_eq!(stored.body, "OK - 1 lines");
    let named = send(Some(&by_name), 3, "ferry-source: 198.51.100.8\r\n").await;
    assert_eq!(named.expect("an answer").status, 200);
    let lines = |text: &str, source: &str| (source.to_owned(), text.to_owned());
    let expected = [
        lines("one\ntwo\n", "198.51.100.7"),
        lines("one\ntwo\n", "198.51.100.8"),
        lines("one\ntwo\nthree\n", "web-1"),
    ];
    assert_eq!(site.stored(), expected);

    let other = send(Some(&by_name), 4, "ferry-source: 198.51.100.7\r\n")
        .await
        .expect("an answer");
    other.assert_refused(403, "for web-1, 198.51.100.8, not for 198.51.100.7");
    let stranger = clients.issue("stranger", &["web-2", "203.0.113.1"], 2500);
    let stranger = send(Some(&stranger), 5, "").await.expect("an answer");
    stranger.assert_refused(
        403,
        "is for web-2, 203.0.113.1, which is not among the sources of group a",
    );
    let before = site.rejected();
    for (pair, alert) in [
        (None, "CertificateRequired"),
        (Some(ca.issue("by-other", &["web-1"], 2500)), "UnknownCA"),
        (
            Some(clients.issue("late", &["web-1"], 2021)),
            "CertificateExpired",
        ),
    ] {
        let said = refused(send(pair.as_ref(), 6, "").await);
        assert!(said.contains(alert), "{alert} in {said}");
    }
    wait_for("the refusals to be counted", async || {
        site.rejected() == before + 3
    })
    .await;
    assert_eq!(site.stored(), expected);
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let mut site = TestRelay::new();
    let (old, new) = (
        CertificateAuthority::new(site.dir.path(), "old"),
        CertificateAuthority::new(site.dir.path(), "new"),
    );
    let pair = old.issue("relay", &["localhost"], 2500);
    site.start("", &settings(&pair, "")).await;
    let is_served = async |ca: &CertificateAuthority| site.connect_tls(ca.client(None)).await.is_ok();
    assert!(is_served(&old).await);

    // The certificate is replaced before the key: in between they do not match.
    let next = new.issue("next", &["localhost"], 2500);
    std::fs::copy(&next.cert, &pair.cert).expect("room");
    assert!(is_served(&old).await);
    std::fs::copy(&next.key, &pair.key).expect("room");
    wait_for("the new certificate", async || is_served(&new).await).await;
    assert!(!is_served(&old).await);

    std::fs::write(
        &pair.cert,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .expect("room");
    std::fs::remove_file(&pair.key).expect("ours");
    assert!(is_served(&new).await);
    let last = old.issue("last", &["localhost"], 2500);
    std::fs::copy(&last.key, &pair.key).expect("room");
    std::fs::copy(&last.cert, &pair.cert).expect("room");
    wait_for("the last certificate", async || {
        let (is_new, is_last) = (is_served(&new).await, is_served(&old).await);
        assert!(is_new || is_last, "one of them is always in use");
        is_last
    })
    .await;
}

#[test]
fn invalid_files_are_named() {
    let site = TestRelay::new();
    let ca = CertificateAuthority::new(site.dir.path(), "ours");
    let (relay, other) = (
        ca.issue("relay", &["localhost"], 2500),
        ca.issue("other", &["x"], 2500),
    );
    let empty = site.path("empty");
    std::fs::write(&empty, "no certificate\n").expect("room");
    let pair = |cert: &std::path::Path, key: &std::path::Path| CertificateFiles {
        cert: cert.to_owned(),
        key: key.to_owned(),
    };
    let with_ca = format!(", client_ca_file: {}", empty.display());
    for (pair, more, words) in [
        (
            pair(&empty, &relay.key),
            "",
            ["relay.tls.cert_file: ", "must be PEM"],
        ),
        (
            pair(&relay.cert, &empty),
            "",
            ["relay.tls.key_file: ", "cannot be used"],
        ),
        (
            pair(&relay.cert, &other.key),
            "",
            [
                "relay.tls.cert_file: ",
                "other.key is not the key of this certificate",
            ],
        ),
        (
            pair(&relay.cert, &relay.key),
            &with_ca,
            ["relay.tls.client_ca_file: ", "must be PEM"],
        ),
    ] {
        let found = logferry_relay::check_files(&site.config("", &settings(&pair, more)));
        let [problem] = &found.problems[..] else {
            panic!("{found:?}")
        };
        let said = problem.to_string();
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{words:?} in {said}"
        );
    }
    for (hosts, year, words) in [
        (&["localhost"][..], 2500, None),
        (&["localhost"], 2021, Some("has expired at 2021-12-31")),
        (&[], 2500, Some("no address and no host name")),
    ] {
        let settings = settings(&ca.issue("relay", hosts, year), "");
        let found = logferry_relay::check_files(&site.config("", &settings));
        assert_eq!(found.warnings, [""; 0]);
        let said: Vec<_> = found.problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), usize::from(words.is_some()), "{said:?}");
        assert!(
            said.iter().all(|said| said.contains(words.unwrap_or_default())),
            "{said:?}"
        );
    }
}
