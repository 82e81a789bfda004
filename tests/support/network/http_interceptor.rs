//! A door before the relay that looks at every request and lets it in, answers it itself, or cuts it off.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::support::test_folder::free_port;

/// Ends the headers of a message (RFC 9112).
const HEADERS_END: &[u8] = b"\r\n\r\n";

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Interception {
    /// The relay answers it.
    Pass,
    /// It gets this answer, and the relay hears nothing of it.
    Respond(&'static str),
    /// The relay gets so many bytes of it, then both connections break.
    Cut(usize),
}

/// A request as the sender sent it.
#[derive(Debug)]
pub(crate) struct InterceptedRequest {
    bytes: Vec<u8>,
    body: usize,
}

type Decide = dyn Fn(&InterceptedRequest) -> Interception + Send + Sync;

/// A door at work.
pub(crate) struct HttpInterceptor {
    pub(crate) port: u16,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl InterceptedRequest {
    /// Its path.
    pub(crate) fn path(&self) -> &str {
        let line = self.bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let line = std::str::from_utf8(line).unwrap_or_default();
        line.split(' ').nth(1).unwrap_or_default()
    }

    /// Whether its body has `part` in it.
    pub(crate) fn contains(&self, part: &[u8]) -> bool {
        self.bytes[self.body..]
            .windows(part.len())
            .any(|window| window == part)
    }

    /// All bytes of it.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl HttpInterceptor {
    /// Stands before the port `upstream`; `decide` decides on each request.
    pub(crate) fn start(
        upstream: u16,
        decide: impl Fn(&InterceptedRequest) -> Interception + Send + Sync + 'static,
    ) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (decide, is_over): (Arc<Decide>, _) = (Arc::new(decide), Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&is_over);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), decide) = (client, Arc::clone(&decide)) else {
                    continue;
                };
                // A connection ends with either of its peers, and what it ends with is its own business.
                std::thread::spawn(move || serve(client, upstream, &*decide));
            }
        });
        Self {
            port,
            is_over,
            accepting: Some(accepting),
        }
    }
}

impl Drop for HttpInterceptor {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// One connection: a request, its answer, the next request.
fn serve(mut client: TcpStream, upstream: u16, decide: &Decide) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut relay = None;
    while let Some((bytes, body)) = read_message(&mut client)? {
        let request = InterceptedRequest { bytes, body };
        match decide(&request) {
            Interception::Respond(answer) => client.write_all(answer.as_bytes())?,
            fate => {
                if relay.is_none() {
                    relay = Some(TcpStream::connect((Ipv4Addr::LOCALHOST, upstream))?);
                }
                let Some(relay) = &mut relay else { break };
                if let Interception::Cut(len) = fate {
                    relay.write_all(&request.bytes[..len.min(request.bytes.len())])?;
                    relay.shutdown(Shutdown::Both)?;
                    return client.shutdown(Shutdown::Both);
                }
                relay.write_all(&request.bytes)?;
                let Some((answer, _)) = read_message(relay)? else {
                    break;
                };
                client.write_all(&answer)?;
            }
        }
    }
    Ok(())
}

/// The next message, whose body is as long as its `content-length` says, and where its body starts.
pub(crate) fn read_message(stream: &mut TcpStream) -> io::Result<Option<(Vec<u8>, usize)>> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let mut whole = None;
    loop {
        if whole.is_none()
            && let Some(end) = bytes
                .windows(HEADERS_END.len())
                .position(|window| window == HEADERS_END)
        {
            let body = end + HEADERS_END.len();
            whole = Some((body, body + content_length(&bytes[..end])));
        }
        if let Some((body, end)) = whole
            && bytes.len() >= end
        {
            return Ok(Some((bytes, body)));
        }
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..len]);
    }
}

fn content_length(headers: &[u8]) -> usize {
    let headers = String::from_utf8_lossy(headers).to_ascii_lowercase();
    let length = headers
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    length.map_or(0, |length| length.trim().parse().unwrap())
}
