//! The mail sink, spoken to by a plain TCP client.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use logferry_embedded_servers::{MailRefusal, MailSink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `script` and returns all that the server says until it closes.
async fn talk(sink: &MailSink, script: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", sink.port())).await.unwrap();
    // A server that hangs up may refuse the script.
    let _ = socket.write_all(script.replace('\n', "\r\n").as_bytes()).await;
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

fn codes(said: &str) -> Vec<&str> {
    said.lines()
        .filter(|line| line.as_bytes().get(3) == Some(&b' '))
        .map(|line| &line[..3])
        .collect()
}

const ONE_MAIL: &str = "EHLO me
MAIL FROM:<a@example.com> BODY=8BITMIME
RCPT TO:<b@example.com>
RCPT TO:<c@example.com>
DATA
Subject: dots

..one dot
two
.
QUIT
";

#[tokio::test]
async fn mail_is_kept_without_the_dots_that_smtp_added() {
    let sink = MailSink::start().await.unwrap();
    let said = talk(&sink, ONE_MAIL).await;
    assert_eq!(
        codes(&said),
        ["220", "250", "250", "250", "250", "354", "250", "221"]
    );
    let messages = sink.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].from, "a@example.com");
    assert_eq!(messages[0].to, ["b@example.com", "c@example.com"]);
    assert_eq!(messages[0].data, b"Subject: dots\r\n\r\n.one dot\r\ntwo\r\n");
    sink.stop().await;
}

#[tokio::test]
async fn login_with_any_password_is_accepted() {
    let sink = MailSink::start().await.unwrap();
    let said = talk(
        &sink,
        "EHLO me\nAUTH PLAIN AGEAYg==\nAUTH LOGIN\nYQ==\nYg==\nAUTH X\nQUIT\n",
    )
    .await;
    assert_eq!(
        codes(&said),
        ["220", "250", "235", "334", "334", "235", "504", "221"]
    );
    sink.stop().await;
}

#[tokio::test]
async fn commands_out_of_order_keep_no_mail() {
    let sink = MailSink::start().await.unwrap();
    let said = talk(
        &sink,
        "HELO me\nDATA\nMAIL FROM:<a@b>\nRSET\nRCPT TO:<c@d>\nNOOP\nWHAT\nQUIT\n",
    )
    .await;
    assert_eq!(
        codes(&said),
        ["220", "250", "503", "250", "250", "503", "250", "500", "221"]
    );
    assert_eq!(sink.count(), 0);
    sink.stop().await;
}

#[tokio::test]
async fn connections_are_turned_away_as_told_and_then_served() {
    let sink = MailSink::start().await.unwrap();
    sink.refuse_next(1, MailRefusal::Busy);
    sink.refuse_next(1, MailRefusal::Hangup);
    sink.refuse_next(1, MailRefusal::LocalError);
    assert_eq!(codes(&talk(&sink, "").await), ["421"]);
    assert_eq!(talk(&sink, "").await, "");
    assert!(codes(&talk(&sink, ONE_MAIL).await).contains(&"451"));
    assert_eq!(sink.count(), 0);
    talk(&sink, ONE_MAIL).await;
    assert_eq!(sink.count(), 1);
    sink.stop().await;
}

#[tokio::test]
async fn port_is_closed_when_the_server_has_stopped() {
    let sink = MailSink::start().await.unwrap();
    let port = sink.port();
    let mut idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    sink.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
}
