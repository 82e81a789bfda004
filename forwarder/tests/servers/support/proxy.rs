//! A TCP proxy that cuts its connections after a number of bytes, as networks do.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// Which bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// Passes bytes on to a server; connection after connection is cut, until none of the cuts is left.
pub(crate) struct CuttingProxy {
    pub(crate) port: u16,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl CuttingProxy {
    /// `cuts`: for one connection after the other, in which direction and after how many bytes it is cut.
    pub(crate) fn start(server: u16, cuts: Vec<(Direction, u64)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accept = move || {
            let mut cuts = cuts.into_iter();
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                pass_on(&client.unwrap(), server, cuts.next()).unwrap();
            }
        };
        Self {
            port,
            stop,
            acceptor: Some(thread::spawn(accept)),
        }
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Passes bytes on to a server, of so many connections at one time; any further one is closed at once.
pub(crate) struct LimitingProxy {
    pub(crate) port: u16,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl LimitingProxy {
    pub(crate) fn start(server: u16, limit: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, inside) = (Arc::clone(&stop), Arc::new(AtomicUsize::new(0)));
        let accept = move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if inside.load(Ordering::SeqCst) < limit {
                    inside.fetch_add(1, Ordering::SeqCst);
                    let inside = Arc::clone(&inside);
                    let client = client.unwrap();
                    thread::spawn(move || {
                        let _ = pass_all(&client, server);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        };
        Self {
            port,
            stop,
            acceptor: Some(thread::spawn(accept)),
        }
    }
}

impl Drop for LimitingProxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Passes everything on until both sides have ended.
fn pass_all(client: &TcpStream, server: u16) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server))?;
    thread::scope(|scope| {
        for (from, to) in [(client, &server), (&server, client)] {
            scope.spawn(move || {
                let _ = copy_up_to(from, to, u64::MAX);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
    Ok(())
}

fn pass_on(client: &TcpStream, server: u16, cut: Option<(Direction, u64)>) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server))?;
    let limit = |direction| match cut {
        Some((cut, bytes)) if cut == direction => bytes,
        _ => u64::MAX,
    };
    for (from, to, limit) in [
        (
            client.try_clone()?,
            server.try_clone()?,
            limit(Direction::ToServer),
        ),
        (server, client.try_clone()?, limit(Direction::ToClient)),
    ] {
        thread::spawn(move || {
            let _ = copy_up_to(&from, &to, limit);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn copy_up_to(mut from: &TcpStream, mut to: &TcpStream, mut left: u64) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(buffer.len()).min(buffer.len());
        let count = from.read(&mut buffer[..room])?;
        if count == 0 {
            break;
        }
        to.write_all(&buffer[..count])?;
        left -= count as u64;
    }
    Ok(())
}
