//! One address of the relay: it passes everything on, and fails when the test says so.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::StopOnDrop;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyMode {
    Open,
    /// Passes on half of the next answer, and is dead afterwards.
    DiesAnswering,
    Dead,
}

pub(super) struct RelayProxy {
    address: SocketAddr,
    shared: Arc<ProxyState>,
    _stop: StopOnDrop,
}

struct ProxyState {
    upstream: Mutex<SocketAddr>,
    mode: Mutex<ProxyMode>,
    answers: AtomicUsize,
}

impl RelayProxy {
    /// A proxy of `upstream`.
    pub(super) async fn open(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(ProxyState {
            upstream: Mutex::new(upstream),
            mode: Mutex::new(ProxyMode::Open),
            answers: AtomicUsize::new(0),
        });
        let (serving, stop) = (Arc::clone(&shared), CancellationToken::new());
        let stopped = stop.clone();
        tokio::spawn(async move {
            while let Some(Ok((client, _))) = stopped.run_until_cancelled(listener.accept()).await {
                let (shared, stopped) = (Arc::clone(&serving), stopped.clone());
                tokio::spawn(async move { stopped.run_until_cancelled(pass(client, &shared)).await });
            }
        });
        Self {
            address,
            shared,
            _stop: StopOnDrop(stop),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn set_mode(&self, mode: ProxyMode) {
        *self.shared.mode.lock().expect("no panic") = mode;
    }

    /// Changes the upstream; open connections are closed with their next answer.
    pub(super) fn set_upstream(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().expect("no panic") = upstream;
    }

    /// Answers that came through.
    pub(super) fn answers(&self) -> usize {
        self.shared.answers.load(Ordering::Relaxed)
    }
}

async fn pass(client: TcpStream, shared: &ProxyState) {
    if *shared.mode.lock().expect("no panic") == ProxyMode::Dead {
        return;
    }
    let upstream = *shared.upstream.lock().expect("no panic");
    let relay = TcpStream::connect(upstream).await.expect("a relay");
    let (client_reads, client_writes) = client.into_split();
    let (relay_reads, relay_writes) = relay.into_split();
    tokio::select! {
        () = requests(client_reads, relay_writes) => {}
        () = answers(relay_reads, client_writes, upstream, shared) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // An end of either side ends the connection.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, upstream: SocketAddr, shared: &ProxyState) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let mode = {
            let mut mode = shared.mode.lock().expect("no panic");
            if *mode == ProxyMode::DiesAnswering {
                *mode = ProxyMode::Dead;
                ProxyMode::DiesAnswering
            } else {
                *mode
            }
        };
        let is_moved = *shared.upstream.lock().expect("no panic") != upstream;
        let passed = match mode {
            ProxyMode::Dead => 0,
            _ if is_moved => 0,
            ProxyMode::DiesAnswering => len / 2,
            ProxyMode::Open => len,
        };
        if to.write_all(&buffer[..passed]).await.is_err() || passed < len {
            return;
        }
        shared.answers.fetch_add(1, Ordering::Relaxed);
    }
}
