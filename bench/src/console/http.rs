//! Requests to the console, each on a connection of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;

/// No answer takes longer.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// An answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageAnswer {
    pub(super) status: u16,
    /// Bytes with the head.
    pub(super) bytes: usize,
}

/// Asks for a path, and reads the answer to its end.
pub(super) fn get(address: SocketAddr, path: &str) -> anyhow::Result<PageAnswer> {
    let mut stream = open(address, path)?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .with_context(|| format!("no whole answer to {path}"))?;
    let head = String::from_utf8_lossy(answer.get(..12).unwrap_or_default());
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(PageAnswer {
        status: status.with_context(|| format!("no status in the answer to {path}"))?,
        bytes: answer.len(),
    })
}

/// Asks for a path; the answer is to be read.
pub(super) fn open(address: SocketAddr, path: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).context("cannot connect to the console")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    Ok(stream)
}
