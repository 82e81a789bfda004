//! One of a relay's addresses: passes everything on, and dies at will.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Stop;

/// What a door does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Open,
    /// Passes on half of the next answer, and is dead from then on.
    DiesAnswering,
    Dead,
}

pub(super) struct Door {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: Stop,
}

struct Shared {
    upstream: Mutex<SocketAddr>,
    manner: Mutex<Manner>,
    answers: AtomicUsize,
}

impl Door {
    /// A door that leads to `upstream`.
    pub(super) async fn open(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            manner: Mutex::new(Manner::Open),
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
            _stop: Stop(stop),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn is_now(&self, manner: Manner) {
        *self.shared.manner.lock().expect("no panic") = manner;
    }

    /// From now on it leads elsewhere; open connections are cut with their next answer.
    pub(super) fn leads_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().expect("no panic") = upstream;
    }

    /// Answers that came through.
    pub(super) fn answers(&self) -> usize {
        self.shared.answers.load(Ordering::Relaxed)
    }
}

async fn pass(client: TcpStream, shared: &Shared) {
    if *shared.manner.lock().expect("no panic") == Manner::Dead {
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

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, upstream: SocketAddr, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let manner = {
            let mut manner = shared.manner.lock().expect("no panic");
            if *manner == Manner::DiesAnswering {
                *manner = Manner::Dead;
                Manner::DiesAnswering
            } else {
                *manner
            }
        };
        let is_moved = *shared.upstream.lock().expect("no panic") != upstream;
        let passed = match manner {
            Manner::Dead => 0,
            _ if is_moved => 0,
            Manner::DiesAnswering => len / 2,
            Manner::Open => len,
        };
        if to.write_all(&buffer[..passed]).await.is_err() || passed < len {
            return;
        }
        shared.answers.fetch_add(1, Ordering::Relaxed);
    }
}
