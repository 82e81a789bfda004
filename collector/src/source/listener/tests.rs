//! Clients by TCP and TLS, through the source `tcp`.

use std::sync::atomic::Ordering;

use logferry_config::{ServerTls, TcpSettings};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::ServerCertificates;
use crate::capture::testing::MemoryCapture;
use crate::source::read_problem::ReadProblem;
use crate::source::tcp;
use crate::source::testing::{Certificates, context, until};
use crate::source::{SourceContext, SourceError};

struct Served {
    address: std::net::SocketAddr,
    context: SourceContext,
    kept: MemoryCapture,
    source: JoinHandle<Result<(), SourceError>>,
}

async fn serve(max_connections: usize, tls: Option<ServerTls>) -> Served {
    let (context, kept) = context(None);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let settings = TcpSettings {
        listen: address,
        tls,
        max_connections,
    };
    let source = tokio::spawn({
        let context = context.clone();
        async move { tcp::serve(listener, &settings, &context).await }
    });
    Served {
        address,
        context,
        kept,
        source,
    }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// Writes all of it, and returns when the source says that it has it.
    async fn send(&self, bytes: &[u8]) {
        let mut client = self.connect().await;
        client.write_all(bytes).await.expect("sent");
        finish(client).await;
    }

    fn messages(&self) -> Vec<String> {
        let text = |record: &Value| record["message"].as_str().unwrap_or_default().to_owned();
        self.kept.records().iter().map(text).collect()
    }

    async fn stop(self) -> MemoryCapture {
        self.context.shutdown.cancel();
        self.source.await.expect("no panic").expect("no error");
        self.kept
    }
}

/// Closes the client's side, and waits for the end of the source's.
async fn finish(mut client: TcpStream) {
    client.shutdown().await.expect("closed");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("the source closes");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn text_and_json_lines_are_durable_when_the_source_closes() {
    let served = serve(10, None).await;
    served
        .send(b"plain\r\n\n{\"message\":\"m\",\"a\":1}\nlast without newline")
        .await;
    let records = served.stop().await.records();
    let shown: Vec<_> = records
        .iter()
        .map(|record| (&record["message"], &record["source"], &record["a"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&"plain".into(), &"127.0.0.1".into(), &Value::Null),
            (&"m".into(), &"127.0.0.1".into(), &1.into()),
            (&"last without newline".into(), &"127.0.0.1".into(), &Value::Null),
        ]
    );
}

#[tokio::test]
async fn very_short_lines_are_taken_in_parts_and_none_is_lost() {
    let served = serve(10, None).await;
    // Reads of up to 256 KiB, whose records need many times as much as one part may.
    served.send(&b"a\n".repeat(200_000)).await;
    assert_eq!(served.stop().await.records().len(), 200_000);
}

#[tokio::test]
async fn line_over_the_limit_is_cut_marked_and_counted() {
    let served = serve(10, None).await;
    served
        .send(format!("{}\nshort\n", "x".repeat(100_000)).as_bytes())
        .await;
    assert_eq!(served.context.status.report().cut_records, 1);
    let records = served.stop().await.records();
    let message = records[0]["message"].as_str().expect("text");
    assert!(message.starts_with("xxx") && message.ends_with('…'), "{message}");
    let cut = records[0]["cut_bytes"].as_u64().expect("a number");
    assert!((96_000..97_000).contains(&cut), "{cut}");
    assert_eq!(
        (&records[1]["message"], &records[1]["cut_bytes"]),
        (&"short".into(), &Value::Null)
    );
}

#[tokio::test]
async fn full_disk_holds_the_client_and_loses_nothing() {
    let served = serve(10, None).await;
    served.kept.is_full.store(true, Ordering::Relaxed);
    let mut client = served.connect().await;
    client.write_all(b"1\n").await.expect("sent");
    let finished = tokio::spawn(async move {
        client.write_all(b"2\n3\n").await.expect("sent");
        finish(client).await;
    });
    // While the disk is full, others connect and wait, too.
    let mut other = served.connect().await;
    other.write_all(b"other\n").await.expect("sent");
    until(|| served.kept.refusals.load(Ordering::Relaxed) > 2).await;
    assert!(!finished.is_finished() && served.messages().is_empty());
    served.kept.is_full.store(false, Ordering::Relaxed);
    finished.await.expect("no panic");
    finish(other).await;
    let mut messages = served.messages();
    messages.retain(|message| message != "other");
    assert_eq!(messages, ["1", "2", "3"]);
    assert_eq!(served.stop().await.records().len(), 4);
}

#[tokio::test]
async fn clients_that_stall_in_a_record_keep_nobody_from_writing() {
    let served = serve(120, None).await;
    let mut stalled = Vec::new();
    for number in 0..100 {
        let mut client = served.connect().await;
        client
            .write_all(format!("half of {number}").as_bytes())
            .await
            .expect("sent");
        stalled.push(client);
    }
    for number in 0..60 {
        let lines: Vec<_> = (0..20)
            .map(|line| format!("client {number} line {line}\n"))
            .collect();
        served.send(lines.concat().as_bytes()).await;
    }
    let messages = served.messages();
    assert_eq!(messages.len(), 60 * 20);
    assert!(messages.iter().all(|message| message.starts_with("client ")));
    // When the source stops, what had begun is kept and marked.
    let records = served.stop().await.records();
    let unfinished = records.iter().filter(|record| record["unfinished"] == true);
    assert_eq!(unfinished.count(), 100);
    drop(stalled);
}

#[tokio::test]
async fn client_that_vanishes_in_a_record_leaves_it_marked() {
    let served = serve(10, None).await;
    let mut client = served.connect().await;
    client.write_all(b"whole\nhal").await.expect("sent");
    until(|| served.messages().len() == 1).await;
    // The kernel resets the connection.
    client.set_zero_linger().expect("set");
    drop(client);
    until(|| served.messages().len() == 2).await;
    let records = served.kept.records();
    assert_eq!(
        (&records[1]["message"], &records[1]["unfinished"]),
        (&"hal".into(), &true.into())
    );
    served.stop().await;
}

#[tokio::test]
async fn tls_client_needs_a_certificate_of_the_authority() {
    let certificates = Certificates::new();
    let served = serve(10, Some(certificates.server())).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = certificates.client(true);
    let mut client = connector
        .connect(name.clone(), served.connect().await)
        .await
        .expect("a handshake");
    client.write_all(b"by tls\n").await.expect("sent");
    client.shutdown().await.expect("closed");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("the source closes");
    assert_eq!(served.messages(), ["by tls"]);

    let refused = certificates
        .client(false)
        .connect(name, served.connect().await)
        .await;
    // In TLS 1.3 the client learns of the refusal when it reads.
    if let Ok(mut client) = refused {
        let _ = client.write_all(b"without\n").await;
        assert!(client.read_to_end(&mut rest).await.is_err());
    }
    until(|| served.context.status.report().last_error.is_some()).await;
    let (_, error) = served.context.status.report().last_error.expect("an error");
    assert!(
        error.contains("127.0.0.1") && error.contains("certificate"),
        "{error}"
    );
    let mut plain = served.connect().await;
    plain.write_all(b"not tls at all\n").await.expect("sent");
    // What comes back is an alert of TLS, or nothing.
    let _ = plain.read_to_end(&mut rest).await;
    assert_eq!(served.stop().await.records().len(), 1);
}

#[tokio::test]
async fn renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let certificates = Certificates::new();
    let tls = certificates.server();
    let loaded = ServerCertificates::load(&tls, &[]).expect("valid files");
    assert_eq!(loaded.renew(), Ok(false));
    certificates.issue("leaf", &["localhost"]);
    assert_eq!(loaded.renew(), Ok(true));
    certificates.write("leaf.key", "no key");
    let error = loaded.renew().expect_err("a broken key").to_string();
    assert!(
        error.starts_with("tls.key_file: ") && error.contains("leaf.key"),
        "{error}"
    );
    certificates.write("leaf.pem", "");
    let error = ServerCertificates::load(&tls, &[])
        .expect_err("no certificate")
        .to_string();
    assert!(
        error.starts_with("tls.cert_file: ") && error.contains("BEGIN CERTIFICATE"),
        "{error}"
    );
}

#[tokio::test]
async fn port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address");
    let (context, _) = context(None);
    let settings = TcpSettings {
        listen: address,
        tls: None,
        max_connections: 1,
    };
    let error = tcp::run(&settings, &context)
        .await
        .expect_err("taken")
        .to_string();
    assert_eq!(
        error,
        format!("cannot listen on {address} (tcp); free the port, or change `listen` of the source")
    );
}

#[tokio::test]
async fn file_that_cannot_be_used_is_logged_once_until_it_changes() {
    let (context, _kept) = context(None);
    let mut problem = ReadProblem::default();
    let mut note = |text: Option<&str>| problem.note(text.map(str::to_owned), &context);
    let noted = [Some("a"), Some("a"), Some("b"), None, Some("b")].map(&mut note);
    assert_eq!(noted, [true, false, true, false, true]);
}
