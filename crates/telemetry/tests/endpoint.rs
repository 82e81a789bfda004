//! The endpoint as a probe sees it, over a plain socket.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use logferry_telemetry::{HealthEndpoint, HealthEndpointError, Metrics, Readiness};
use tokio_util::sync::CancellationToken;

/// A running endpoint.
struct Running {
    addr: SocketAddr,
    metrics: Metrics,
    ready: Readiness,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let endpoint = HealthEndpoint::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (addr, metrics, ready) = (endpoint.addr(), Metrics::new(), Readiness::default());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(endpoint.serve(metrics.clone(), ready.clone(), shutdown.clone()));
        Self {
            addr,
            metrics,
            ready,
            shutdown,
            task,
        }
    }

    async fn ask(&self, request: &'static str) -> String {
        self.ask_with(request, "").await
    }

    /// Asks with further header lines.
    async fn ask_with(&self, request: &'static str, headers: &'static str) -> String {
        let addr = self.addr;
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            write!(stream, "{request} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
        .await
        .unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn healthz_is_503_until_the_role_serves() {
    let running = Running::start().await;
    let before = running.ask("GET /healthz").await;
    assert!(before.starts_with("HTTP/1.1 503 "), "{before}");
    running.ready.set();
    let after = running.ask("GET /healthz").await;
    assert!(
        after.starts_with("HTTP/1.1 200 ") && after.ends_with("\r\n\r\nok\n"),
        "{after}"
    );
    running.stop().await;
}

#[tokio::test]
async fn healthz_says_what_keeps_a_role_from_its_work() {
    let running = Running::start().await;
    let trouble = Arc::new(Mutex::new(Some(
        "group a takes no lines: the disk is full".to_owned(),
    )));
    let shown = Arc::clone(&trouble);
    running.ready.set_unless(move || shown.lock().unwrap().clone());
    let ill = running.ask("GET /healthz").await;
    assert!(ill.starts_with("HTTP/1.1 503 "), "{ill}");
    assert!(
        ill.ends_with("\r\n\r\ngroup a takes no lines: the disk is full\n"),
        "{ill}"
    );
    *trouble.lock().unwrap() = None;
    let well = running.ask("GET /healthz").await;
    assert!(well.starts_with("HTTP/1.1 200 "), "{well}");
    running.stop().await;
}

#[tokio::test]
async fn metrics_shows_the_numbers() {
    let running = Running::start().await;
    running.metrics.forwarder("edw").delivered(7);
    let page = running.ask("GET /metrics").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(
        page.contains("logferry_forwarder_delivered_bytes_total{destination=\"edw\"} 7\n"),
        "{page}"
    );
    running.stop().await;
}

#[tokio::test]
async fn open_metrics_are_for_clients_that_name_them() {
    let running = Running::start().await;
    running.metrics.forwarder("edw").delivered(7);
    for headers in ["", "Accept: */*\r\n", "Accept: text/plain;version=0.0.4\r\n"] {
        let page = running.ask_with("GET /metrics", headers).await;
        assert!(
            page.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{page}"
        );
        assert!(
            page.contains("# TYPE logferry_forwarder_delivered_bytes_total counter\n"),
            "{page}"
        );
        assert!(!page.contains("# EOF"), "{page}");
    }
    let prometheus =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5\r\n";
    let page = running.ask_with("GET /metrics", prometheus).await;
    assert!(
        page.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{page}"
    );
    assert!(page.ends_with("# EOF\n"), "{page}");
    running.stop().await;
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let running = Running::start().await;
    assert!(running.ask("GET /secrets").await.starts_with("HTTP/1.1 404 "));
    assert!(running.ask("DELETE /metrics").await.starts_with("HTTP/1.1 405 "));
    assert!(running.ask("nonsense").await.starts_with("HTTP/1.1 400 "));
    running.stop().await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_silent_probe() {
    let running = Running::start().await;
    let silent = TcpStream::connect(running.addr).unwrap();
    // A second, answered probe proves that the first was accepted.
    running.ask("GET /healthz").await;
    running.stop().await;
    drop(silent);
}

#[tokio::test]
async fn taken_address_is_named() {
    let first = HealthEndpoint::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let HealthEndpointError::Listen { addr, .. } = HealthEndpoint::bind(first.addr()).await.unwrap_err();
    assert_eq!(addr, first.addr());
}
