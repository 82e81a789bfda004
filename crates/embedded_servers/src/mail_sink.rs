//! A mail server that keeps received mails in memory (RFC 5321, with PLAIN and LOGIN of RFC 4954, any password, and
//! STARTTLS of RFC 3207).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::acceptor::Acceptor;
use crate::mail_script::MailScript;

/// The longest accepted line, in bytes; RFC 5321 requires 1000.
const LINE_LEN_MAX: u64 = 64 << 10;
const MESSAGE_LEN_MAX: usize = 16 << 20;

/// One mail as the client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The address of `MAIL FROM`.
    pub from: String,
    /// The addresses of `RCPT TO`, in order.
    pub to: Vec<String>,
    /// Header and body with CRLF, without SMTP's added dots.
    pub data: Vec<u8>,
}

/// How a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailRefusal {
    /// It is closed without a greeting.
    Hangup,
    /// It is greeted with 421 and closed.
    Busy,
    /// Each mail on it gets 451 after its data.
    LocalError,
}

/// The server.
#[derive(Debug)]
pub struct MailSink {
    acceptor: Acceptor,
    mailbox: Arc<Mutex<Mailbox>>,
}

#[derive(Debug, Default)]
struct Mailbox {
    messages: Vec<ReceivedMail>,
    /// For the next connections.
    refusals: VecDeque<MailRefusal>,
    script: MailScript,
    hello_names: Vec<String>,
}

impl MailSink {
    /// Starts a server on a free port of 127.0.0.1.
    pub async fn start() -> io::Result<Self> {
        let mailbox = Arc::new(Mutex::new(Mailbox::default()));
        let shared = Arc::clone(&mailbox);
        let acceptor = Acceptor::start(move |socket| {
            let mailbox = Arc::clone(&shared);
            async move {
                // A connection that breaks is no error of the server.
                let _ = serve(socket, &mailbox).await;
            }
        })
        .await?;
        Ok(Self { acceptor, mailbox })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.acceptor.port()
    }

    /// All mails received so far, in order.
    pub fn messages(&self) -> Vec<ReceivedMail> {
        lock(&self.mailbox).messages.clone()
    }

    /// The number of mails received so far.
    pub fn count(&self) -> usize {
        lock(&self.mailbox).messages.len()
    }

    /// Refuses the next `connections`.
    pub fn refuse_next(&self, connections: usize, refusal: MailRefusal) {
        let refusals = std::iter::repeat_n(refusal, connections);
        lock(&self.mailbox).refusals.extend(refusals);
    }

    /// Changes how the server behaves from now on.
    pub fn set_script(&self, change: impl FnOnce(&mut MailScript)) {
        change(&mut lock(&self.mailbox).script);
    }

    /// The names that clients gave in EHLO, in order.
    pub fn hello_names(&self) -> Vec<String> {
        lock(&self.mailbox).hello_names.clone()
    }

    /// Closes the port and all connections.
    pub async fn stop(self) {
        self.acceptor.stop().await;
    }
}

/// The mailbox is consistent between statements, so a panic elsewhere leaves nothing half done.
fn lock(mailbox: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection, plain or in TLS.
trait MailStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> MailStream for T {}

struct MailConnection(BufReader<Box<dyn MailStream>>);

impl MailConnection {
    /// The next line with its CRLF; an error when the connection ends or the line is too long.
    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut input = (&mut self.0).take(LINE_LEN_MAX);
        input.read_until(b'\n', &mut line).await?;
        if !line.ends_with(b"\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    async fn reply(&mut self, reply: &str) -> io::Result<()> {
        self.0.write_all(format!("{reply}\r\n").as_bytes()).await?;
        self.0.flush().await
    }

    /// Reads the message up to the line with a single dot; `None` when it is too long.
    async fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut data = Vec::new();
        let mut too_long = false;
        loop {
            let line = self.line().await?;
            if line == b".\r\n" {
                return Ok((!too_long).then_some(data));
            }
            data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            if data.len() > MESSAGE_LEN_MAX {
                too_long = true;
                data.clear();
            }
        }
    }

    /// Runs an AUTH exchange and accepts every user.
    async fn authenticate(&mut self, argument: &str) -> io::Result<()> {
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        // The prompts of LOGIN are "Username:" and "Password:" in base64.
        let prompts: &[&str] = match (mechanism.to_ascii_uppercase().as_str(), initial) {
            ("PLAIN", "") => &["334 "],
            ("PLAIN", _) => &[],
            ("LOGIN", "") => &["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"],
            ("LOGIN", _) => &["334 UGFzc3dvcmQ6"],
            _ => return self.reply("504 mechanism not known").await,
        };
        for prompt in prompts {
            self.reply(prompt).await?;
            self.line().await?;
        }
        self.reply("235 welcome").await
    }
}

async fn serve(socket: TcpStream, mailbox: &Mutex<Mailbox>) -> io::Result<()> {
    let (refusal, script) = {
        let mut mailbox = lock(mailbox);
        (mailbox.refusals.pop_front(), mailbox.script.clone())
    };
    let mut connection = MailConnection(BufReader::new(Box::new(socket)));
    match refusal {
        Some(MailRefusal::Hangup) => return Ok(()),
        Some(MailRefusal::Busy) => return connection.reply("421 busy, try again later").await,
        Some(MailRefusal::LocalError) | None => {
            tokio::time::sleep(script.greeting_delay).await;
            connection.reply("220 mail-sink ESMTP").await?;
        }
    }
    let mut tls = script.tls.clone();
    // Sender and recipients, until the data has come.
    let mut envelope = (None, Vec::new());
    loop {
        let line = connection.line().await?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "HELO" => connection.reply("250 mail-sink").await?,
            "EHLO" => {
                lock(mailbox).hello_names.push(argument.to_owned());
                let reply = script.hello_reply(argument, tls.is_some());
                connection.reply(&reply).await?;
            }
            "STARTTLS" if let Some(config) = tls.take() => {
                connection.reply("220 go ahead").await?;
                let stream = TlsAcceptor::from(config)
                    .accept(connection.0.into_inner())
                    .await?;
                connection = MailConnection(BufReader::new(Box::new(stream)));
            }
            "AUTH" => connection.authenticate(argument).await?,
            "MAIL" => {
                envelope = (Some(address(argument)), Vec::new());
                connection.reply("250 ok").await?;
            }
            "RCPT" if envelope.0.is_some() => {
                let recipient = address(argument);
                let refusal = lock(mailbox).script.recipient_refusal(&recipient);
                connection.reply(refusal.unwrap_or("250 ok")).await?;
                if refusal.is_none() {
                    envelope.1.push(recipient);
                }
            }
            "DATA" if !envelope.1.is_empty() => {
                connection.reply("354 go ahead").await?;
                let data = connection.message().await?;
                let reply = take_mail(mailbox, refusal, std::mem::take(&mut envelope), data);
                if lock(mailbox).script.takes_silently() {
                    return Ok(());
                }
                tokio::time::sleep(script.data_delay).await;
                connection.reply(reply).await?;
            }
            "RCPT" | "DATA" => connection.reply("503 not now").await?,
            "RSET" => {
                envelope = (None, Vec::new());
                connection.reply("250 ok").await?;
            }
            "NOOP" => connection.reply("250 ok").await?,
            "QUIT" => return connection.reply("221 bye").await,
            _ => connection.reply("500 what?").await?,
        }
    }
}

fn take_mail(
    mailbox: &Mutex<Mailbox>,
    refusal: Option<MailRefusal>,
    (from, to): (Option<String>, Vec<String>),
    data: Option<Vec<u8>>,
) -> &'static str {
    let Some(data) = data else { return "552 too long" };
    if refusal == Some(MailRefusal::LocalError) {
        return "451 local error, try again later";
    }
    let from = from.unwrap_or_default();
    lock(mailbox).messages.push(ReceivedMail { from, to, data });
    "250 kept"
}

/// The address in `FROM:<a@b> BODY=8BITMIME`.
fn address(argument: &str) -> String {
    let rest = argument.split_once('<').map(|(_, rest)| rest);
    let address = rest.and_then(|rest| rest.split_once('>'));
    address.map_or_else(String::new, |(address, _)| address.to_owned())
}
