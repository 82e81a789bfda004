//! A network that delivers every request and loses some of the answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::test_folder::free_port;

/// How many of the answers are lost.
const LOST: f64 = 0.25;

/// A proxy at work.
pub(crate) struct LossyProxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: u16,
    seed: u64,
    lost: AtomicUsize,
    is_over: AtomicBool,
}

impl LossyProxy {
    /// Stands before the port `upstream`.
    pub(crate) fn start(upstream: u16, seed: u64) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let shared = Arc::new(Shared {
            upstream,
            seed,
            lost: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let accepting = Some(std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        }));
        Self {
            port,
            shared,
            accepting,
        }
    }

    /// Answers lost so far.
    pub(crate) fn lost_responses(&self) -> usize {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for LossyProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Serves connections until the end; those under way end with their peers.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, client) in (0..).zip(listener.incoming()) {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        // Where the relay is down, the client's connection is dropped: refused a little later.
        let Ok(relay) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.upstream)) else {
            continue;
        };
        for stream in [&client, &relay] {
            stream.set_nodelay(true).unwrap();
        }
        let requests = (client.try_clone().unwrap(), relay.try_clone().unwrap());
        std::thread::spawn(move || forward(requests.0, requests.1, || false));
        let mut chance = StdRng::seed_from_u64(shared.seed.wrapping_add(number));
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            forward(relay, client, || {
                let is_lost = chance.random_bool(LOST);
                shared.lost.fetch_add(usize::from(is_lost), Ordering::Relaxed);
                is_lost
            });
        });
    }
}

/// Passes bytes on until an end, or until a piece (an answer, as they are small) `is_lost`; then both sides are cut.
fn forward(mut from: TcpStream, mut to: TcpStream, mut is_lost: impl FnMut() -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if is_lost() || to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    // The other direction's thread ends by this; a side that has gone already is what is wanted.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
