use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use logferry_config::SyslogSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::capture::testing::MemoryCapture;
use crate::source::syslog::{datagrams, listen};
use crate::source::testing::{context, until};
use crate::source::{SourceContext, SourceError};

struct Served {
    udp: SocketAddr,
    tcp: SocketAddr,
    context: SourceContext,
    kept: MemoryCapture,
    source: JoinHandle<Result<(), SourceError>>,
}

async fn serve() -> Served {
    let (context, kept) = context(None);
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let datagrams = datagrams::listen(any).await.expect("a port");
    let listener = TcpListener::bind(any).await.expect("a port");
    let (udp, tcp) = (
        datagrams.local_addr().expect("bound"),
        listener.local_addr().expect("bound"),
    );
    let settings = SyslogSettings {
        listen: any,
        udp: true,
        tcp: true,
        tls: None,
        max_connections: 10,
    };
    let source = tokio::spawn({
        let context = context.clone();
        async move { listen::serve((Some(datagrams), Some(listener)), &settings, &context).await }
    });
    Served {
        udp,
        tcp,
        context,
        kept,
        source,
    }
}

#[tokio::test]
async fn messages_come_by_udp_and_by_tcp_in_both_framings() {
    let served = serve().await;
    let mut client = TcpStream::connect(served.tcp).await.expect("connected");
    client
        .write_all(b"<13>Nov 21 14:20:03 web-1 app: line\n9 <11>a: x\n<14>1 - h b - - - last")
        .await
        .expect("sent");
    client.shutdown().await.expect("closed");
    client
        .read_to_end(&mut Vec::new())
        .await
        .expect("the source closes");
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    client
        .send_to(b"<15>c: by udp\n", served.udp)
        .await
        .expect("sent");
    client.send_to(b"\n", served.udp).await.expect("sent");
    until(|| served.kept.records().len() == 4).await;
    let shown: Vec<String> = served
        .kept
        .records()
        .iter()
        .map(|record| format!("{} {} {}", record["level"], record["source"], record["message"]))
        .collect();
    assert_eq!(
        shown,
        [
            r#""INFO" "app" "line""#,
            r#""ERROR" "a" "x""#,
            r#""INFO" "b" "last""#,
            r#""DEBUG" "c" "by udp""#
        ]
    );
    served.context.shutdown.cancel();
    served.source.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn datagrams_that_find_no_room_are_counted() {
    let served = serve().await;
    served.kept.is_full.store(true, Ordering::Relaxed);
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let sent = 40_000;
    for number in 0..sent {
        client
            .send_to(format!("<13>app: {number}").as_bytes(), served.udp)
            .await
            .expect("sent");
    }
    until(|| served.context.status.report().dropped_records > 0).await;
    served.kept.is_full.store(false, Ordering::Relaxed);
    #[expect(clippy::naive_bytecount, reason = "a test")]
    let accounted = || {
        let kept = served
            .kept
            .lines
            .lock()
            .expect("no panic")
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        kept as u64 + served.context.status.report().dropped_records
    };
    until(|| accounted() == sent).await;
    let (_, error) = served.context.status.report().last_error.expect("told");
    assert!(error.starts_with("the kernel dropped "), "{error}");
    served.context.shutdown.cancel();
    served.source.await.expect("no panic").expect("no error");
    assert_eq!(accounted(), sent);
}
