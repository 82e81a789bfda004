//! A TCP proxy that delays the bytes of each direction, like a long distance, without loss or congestion.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;

/// Bytes read at a time.
const BLOCK: usize = 64 << 10;

/// A running proxy in front of one port of this machine.
#[derive(Debug)]
pub(super) struct DelayProxy {
    pub(super) port: u16,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl DelayProxy {
    pub(super) fn start(server: u16, delay: Duration) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a port for the proxy")?;
        let address = listener.local_addr().context("cannot find the proxy's port")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accept = move || {
            while let Ok((client, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A failure closes the connection, which its client notices.
                let _ = forward_connection(&client, server, delay);
            }
        };
        Ok(Self {
            port: address.port(),
            stop,
            acceptor: Some(thread::spawn(accept)),
        })
    }
}

impl Drop for DelayProxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn forward_connection(client: &TcpStream, server: u16, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    for socket in [client, &server] {
        socket.set_nodelay(true)?;
    }
    for (from, to) in [
        (client.try_clone()?, server.try_clone()?),
        (server, client.try_clone()?),
    ] {
        // Not bounded: the sender's SSH window bounds the bytes in flight.
        let (sender, receiver) = channel();
        thread::spawn(move || write_when_due(&to, &receiver));
        thread::spawn(move || {
            let mut block = vec![0; BLOCK];
            while let Ok(count @ 1..) = (&from).read(&mut block) {
                let bytes = block.get(..count).unwrap_or_default().to_vec();
                if sender.send((Instant::now() + delay, bytes)).is_err() {
                    break;
                }
            }
        });
    }
    Ok(())
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
