//! TCP proxies with the faults of networks: connections that are cut, refused, or lose a response.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Accepts connections on a free loopback port until it is dropped.
pub struct LoopbackAcceptor {
    /// The port.
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LoopbackAcceptor {
    /// Calls `serve` with each connection. A connection that is open at the drop ends when its peers close it.
    pub fn start(mut serve: impl FnMut(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accept = move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                serve(client.unwrap());
            }
        };
        Self {
            port,
            stop,
            thread: Some(thread::spawn(accept)),
        }
    }
}

impl Drop for LoopbackAcceptor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The direction of the bytes that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A proxy that cuts its connections after a number of bytes. `cuts`: one entry for each connection in turn; later
/// connections are not cut.
pub fn cutting_proxy(server: u16, cuts: Vec<(Direction, u64)>) -> LoopbackAcceptor {
    let mut cuts = cuts.into_iter();
    LoopbackAcceptor::start(move |client| {
        let cut = cuts.next();
        forward(client, server, |direction| {
            let is_counted = cut.is_some_and(|(counted, _)| counted == direction);
            let mut left = cut.filter(|_| is_counted).map_or(u64::MAX, |(_, bytes)| bytes);
            move |piece: &[u8]| {
                let len = left.min(piece.len() as u64);
                left -= len;
                (usize::try_from(len).unwrap(), left > 0)
            }
        });
    })
}

/// A proxy of at most `limit` connections at the same time; it closes every further one at once.
pub fn limiting_proxy(server: u16, limit: usize) -> LoopbackAcceptor {
    let open = Arc::new(());
    LoopbackAcceptor::start(move |client| {
        // Each direction of an open connection holds one clone.
        if Arc::strong_count(&open) < 2 * limit {
            forward(client, server, |_| {
                let open = Arc::clone(&open);
                move |piece: &[u8]| (piece.len(), Arc::strong_count(&open) > 0)
            });
        }
    })
}

/// A proxy, and the number of its faults so far.
pub struct CountingProxy {
    acceptor: LoopbackAcceptor,
    faults: Arc<AtomicUsize>,
}

impl CountingProxy {
    /// The port.
    pub fn port(&self) -> u16 {
        self.acceptor.port
    }

    /// The number of faults so far.
    pub fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }
}

/// A proxy that delivers every request and loses one response in four, with its connection. A response is small and
/// comes as one piece.
pub fn lossy_proxy(server: u16, seed: u64) -> CountingProxy {
    const LOST_SHARE: f64 = 0.25;
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&faults);
    let mut connections = 0;
    let acceptor = LoopbackAcceptor::start(move |client| {
        connections += 1;
        forward(client, server, |direction| {
            let mut random = StdRng::seed_from_u64(seed.wrapping_add(connections));
            let faults = Arc::clone(&counted);
            move |piece: &[u8]| {
                let is_lost = direction == Direction::ToClient && random.random_bool(LOST_SHARE);
                faults.fetch_add(usize::from(is_lost), Ordering::Relaxed);
                if is_lost { (0, false) } else { (piece.len(), true) }
            }
        });
    });
    CountingProxy { acceptor, faults }
}

/// A proxy that delays the bytes of each direction, like a long distance, without loss or congestion.
pub fn delaying_proxy(server: u16, delay: Duration) -> LoopbackAcceptor {
    LoopbackAcceptor::start(move |client| {
        // A server that refuses closes the client's connection, which the client notices.
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
            return;
        };
        let ends = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
        for (from, to) in ends {
            let (from, to) = (from.unwrap(), to.unwrap());
            to.set_nodelay(true).unwrap();
            // Not bounded: the window of the client's protocol bounds the bytes in flight.
            let (sender, delayed) = channel();
            thread::spawn(move || write_when_due(&to, &delayed));
            thread::spawn(move || {
                let mut block = vec![0; 64 << 10];
                while let Ok(count @ 1..) = (&from).read(&mut block) {
                    if sender
                        .send((Instant::now() + delay, block[..count].to_vec()))
                        .is_err()
                    {
                        break;
                    }
                }
            });
        }
    })
}

fn write_when_due(mut to: &TcpStream, delayed: &Receiver<(Instant, Vec<u8>)>) {
    for (due, bytes) in delayed {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Tells the other side that the stream has ended; it may be closed already.
    let _ = to.shutdown(Shutdown::Both);
}

/// Connects a client with a server until one of them ends. For each direction, `filter` makes a function that gets each
/// piece of bytes: it returns the number of bytes to forward, and whether the connection lives on. If the server
/// refuses the connection, the client's is closed.
fn forward<F>(client: TcpStream, server: u16, mut filter: impl FnMut(Direction) -> F)
where
    F: FnMut(&[u8]) -> (usize, bool) + Send + 'static,
{
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
        return;
    };
    for (from, to, direction) in [
        (client.try_clone(), server.try_clone(), Direction::ToServer),
        (Ok(server), Ok(client), Direction::ToClient),
    ] {
        let (from, to, filter) = (from.unwrap(), to.unwrap(), filter(direction));
        to.set_nodelay(true).unwrap();
        thread::spawn(move || {
            let _ = copy(&from, &to, filter);
            // This ends the other direction too.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

fn copy(
    mut from: &TcpStream,
    mut to: &TcpStream,
    mut filter: impl FnMut(&[u8]) -> (usize, bool),
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let (len, lives_on) = filter(&buffer[..count]);
        to.write_all(&buffer[..len])?;
        if !lives_on {
            return Ok(());
        }
    }
}
