//! With `--all`: programs that write no files. Three threads send records to the collector of one more host, by HTTP, TCP and
//! syslog, each with numbers of its own, as the log writers number their lines.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use super::demo_folder::RecordPorts;

/// The ways to the collector; the names of its sources too.
pub(crate) const WAYS: [&str; 3] = ["http", "tcp", "syslog"];

/// Time between two sends.
const SEND_INTERVAL: Duration = Duration::from_millis(200);

/// How long a program waits for the collector to listen.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);

/// The programs, and how many records each has sent.
pub(crate) struct RecordWriters {
    sent: [Arc<AtomicU64>; WAYS.len()],
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
    stop: Arc<AtomicBool>,
}

impl RecordWriters {
    /// Starts the programs. `rate`: records a second of each.
    pub(crate) fn start(ports: RecordPorts, rate: NonZeroU32) -> Self {
        let mut writers = Self {
            sent: Default::default(),
            threads: Vec::new(),
            stop: Arc::default(),
        };
        for (way, sent) in WAYS.into_iter().zip(&writers.sent) {
            let program = Program {
                way,
                address: ports.of(way),
                sent: Arc::clone(sent),
                stop: Arc::clone(&writers.stop),
                records: (rate.get() / 5).max(1),
            };
            writers.threads.push(thread::spawn(move || program.run()));
        }
        writers
    }

    /// Each way with the number of records that were sent by it.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let sent = self.sent.iter().map(|sent| sent.load(Ordering::Acquire));
        WAYS.into_iter().zip(sent)
    }

    /// Stops the programs. After it returns, nothing more is sent.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a program crashed"))??;
        }
        Ok(())
    }
}

struct Program {
    way: &'static str,
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    /// In each send.
    records: u32,
}

impl Program {
    fn run(self) -> anyhow::Result<()> {
        let way = self.way;
        self.send_all()
            .with_context(|| format!("the demo's records cannot be sent by {way}"))
    }

    fn send_all(&self) -> anyhow::Result<()> {
        let mut stream = self.connect()?;
        while !self.stop.load(Ordering::Acquire) {
            let first = self.sent.load(Ordering::Acquire);
            let numbers = first..first + u64::from(self.records);
            let end = numbers.end;
            match self.way {
                "http" => post(&mut stream, &lines(self.way, numbers))?,
                "tcp" => stream.write_all(lines(self.way, numbers).as_bytes())?,
                _ => stream.write_all(syslog(self.way, numbers).as_bytes())?,
            }
            self.sent.store(end, Ordering::Release);
            thread::sleep(SEND_INTERVAL);
        }
        Ok(())
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let start = Instant::now();
        loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => return Ok(stream),
                Err(error) if start.elapsed() >= CONNECT_TIME_MAX => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Objects a line. The number stands in the message, where the count of delivered lines looks for it.
fn lines(way: &str, numbers: impl Iterator<Item = u64>) -> String {
    let mut text = String::new();
    for number in numbers {
        let _ = writeln!(
            text,
            "{{\"level\":\"INFO\",\"service\":\"payment-service\",\"message\":\"Payment completed /pay?id={way}-{number:012} \"}}"
        );
    }
    text
}

/// Messages of RFC 5424, each with its length before it (RFC 6587, section 3.4.1).
fn syslog(way: &str, numbers: impl Iterator<Item = u64>) -> String {
    let mut text = String::new();
    for number in numbers {
        let now = jiff::Timestamp::now();
        let message = format!(
            "<134>1 {now:.3} demo shop {} - - Order created /order?id={way}-{number:012} ",
            std::process::id()
        );
        let _ = write!(text, "{} {message}", message.len());
    }
    text
}

/// Posts lines and reads the answer, which says that they are on stable storage.
fn post(stream: &mut TcpStream, lines: &str) -> anyhow::Result<()> {
    write!(
        stream,
        "POST /lines HTTP/1.1\r\nhost: demo\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{lines}",
        lines.len()
    )?;
    let mut answer = Vec::new();
    let mut next = [0; 512];
    // The answer is one line of JSON.
    while !answer.ends_with(b"}") {
        let read = stream.read(&mut next)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        answer.extend_from_slice(next.get(..read).unwrap_or_default());
    }
    if !answer.starts_with(b"HTTP/1.1 201") {
        bail!("the collector answers {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}
