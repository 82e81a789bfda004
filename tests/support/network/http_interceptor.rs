//! An HTTP proxy before the relay. For each request a test decides: forward it, answer it, or cut the connection.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;

use logferry_test_servers::LoopbackAcceptor;

/// Ends the headers of a message (RFC 9112).
const HEADERS_END: &[u8] = b"\r\n\r\n";

/// The handling of a request.
#[derive(Debug, Clone)]
pub(crate) enum Interception {
    /// Forward it to the relay.
    Pass,
    /// Send this response; the relay does not get the request.
    Respond(&'static str),
    /// Forward this many bytes of it to the relay, then close both connections.
    Cut(usize),
}

/// A request of the sender.
#[derive(Debug)]
pub(crate) struct InterceptedRequest {
    bytes: Vec<u8>,
    body: usize,
}

impl InterceptedRequest {
    /// The path.
    pub(crate) fn path(&self) -> &str {
        let line = self.bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let line = std::str::from_utf8(line).unwrap_or_default();
        line.split(' ').nth(1).unwrap_or_default()
    }

    /// Whether the body contains `part`.
    pub(crate) fn contains(&self, part: &[u8]) -> bool {
        self.bytes[self.body..]
            .windows(part.len())
            .any(|window| window == part)
    }

    /// The number of its bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Starts the proxy before the port `upstream`. `decide` chooses the handling of each request.
pub(crate) fn intercept_http<F>(upstream: u16, decide: F) -> LoopbackAcceptor
where
    F: Fn(&InterceptedRequest) -> Interception + Send + Sync + 'static,
{
    let decide = Arc::new(decide);
    LoopbackAcceptor::start(move |client| {
        let decide = Arc::clone(&decide);
        // A connection ends when one of its peers closes it; that is no error here.
        std::thread::spawn(move || serve(client, upstream, &*decide));
    })
}

/// Serves one connection: a request, its response, the next request.
fn serve(
    mut client: TcpStream,
    upstream: u16,
    decide: &dyn Fn(&InterceptedRequest) -> Interception,
) -> io::Result<()> {
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

/// Reads the next message up to its `content-length`. Returns it with the offset of its body.
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
