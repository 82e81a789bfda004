//! Recognises the server at an address by the first bytes of its answer to an HTTP request. Pure.

use std::fmt;

/// Most characters of a server's own words in a text.
const SHOWN_MAX: usize = 80;

/// What answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answerer {
    /// A relay, without TLS.
    Relay,
    /// Any server that wants TLS first.
    Tls,
    /// An SSH server, with its identification.
    Ssh(String),
    /// A server that greets as mail and FTP servers do (`220 …`).
    MailOrFtp(String),
    /// A web server: its name if it tells it, and its status.
    Web { server: Option<String>, status: u16 },
    /// A server that answers with anything else.
    Other(String),
    /// Something that accepts the connection, and closes it or says nothing.
    Mute,
}

impl Answerer {
    pub(super) fn recognise(answer: &[u8]) -> Self {
        let text = String::from_utf8_lossy(answer);
        let first_line = printable(text.lines().next().unwrap_or_default());
        // The TLS records alert and handshake (RFC 8446, section 5.1).
        if matches!(answer, [21 | 22, 3, ..]) {
            return Self::Tls;
        }
        if answer.is_empty() {
            return Self::Mute;
        }
        if first_line.starts_with("SSH-") {
            return Self::Ssh(first_line);
        }
        if first_line.starts_with("220") {
            return Self::MailOrFtp(first_line);
        }
        let status = first_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        let Some(status) = status.and_then(|status| status.parse().ok()) else {
            return Self::Other(first_line);
        };
        if text.contains("this port speaks TLS") || text.contains("plain HTTP request was sent to HTTPS") {
            return Self::Tls;
        }
        let server = header(&text, "server");
        let answers_as_relay = match status {
            200 => text.contains("\"max_chunk\""),
            401 | 403 | 409 | 503 => {
                header(&text, "content-type").as_deref() == Some("text/plain; charset=utf-8")
            }
            _ => false,
        };
        if server.is_none() && answers_as_relay {
            return Self::Relay;
        }
        Self::Web { server, status }
    }
}

impl fmt::Display for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay => f.write_str("a relay without TLS answers there"),
            Self::Tls => f.write_str("a server that wants TLS answers there"),
            Self::Ssh(said) => write!(f, "an SSH server answers there ({said})"),
            Self::MailOrFtp(said) => write!(f, "a mail or FTP server answers there ({said})"),
            Self::Web {
                server: Some(server),
                status,
            } => write!(f, "a web server answers there ({server}, status {status})"),
            Self::Web { server: None, status } => write!(f, "a web server answers there (status {status})"),
            Self::Other(said) => write!(f, "a server that does not speak HTTP answers there ({said:?})"),
            Self::Mute => f.write_str("something accepts the connection there and does not answer"),
        }
    }
}

fn header(answer: &str, name: &str) -> Option<String> {
    let headers = answer.lines().skip(1).take_while(|line| !line.is_empty());
    let mut pairs = headers.filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(printable(value.trim()))
}

fn printable(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_control());
    shown.take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_recognised_by_their_first_bytes() {
        let web = |server: Option<&str>, status| Answerer::Web {
            server: server.map(str::to_owned),
            status,
        };
        for (answer, expected) in [
            (
                &b"SSH-2.0-OpenSSH_9.2p1\r\nInvalid SSH identification string.\r\n"[..],
                Answerer::Ssh("SSH-2.0-OpenSSH_9.2p1".into()),
            ),
            (b"220 mail.example.com ESMTP\r\n", Answerer::MailOrFtp("220 mail.example.com ESMTP".into())),
            (b"\x15\x03\x01\x00\x02\x02\x46", Answerer::Tls),
            (
                b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1\r\n\r\n<html>The plain HTTP request was sent to HTTPS port",
                Answerer::Tls,
            ),
            (
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 48\r\n\r\nthis port speaks TLS: write https:// in its URL\n",
                Answerer::Tls,
            ),
            (
                b"HTTP/1.1 405 Not Allowed\r\nServer: nginx/1.22.1\r\n\r\n<html>",
                web(Some("nginx/1.22.1"), 405),
            ),
            (b"HTTP/1.0 200 OK\r\n\r\nhello", web(None, 200)),
            (
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"source\":\"192.0.2.1\",\"max_chunk\":1}",
                Answerer::Relay,
            ),
            (
                b"HTTP/1.1 401 Unauthorized\r\ncontent-type: text/plain; charset=utf-8\r\n\r\nthis port requires a token",
                Answerer::Relay,
            ),
            (
                b"HTTP/1.1 401 Unauthorized\r\nserver: x\r\ncontent-type: text/plain; charset=utf-8\r\n\r\nno",
                web(Some("x"), 401),
            ),
            (b"", Answerer::Mute),
            (b"hello \x1b[2Jthere\n", Answerer::Other("hello [2Jthere".into())),
            (b"HTTP/1.", Answerer::Other("HTTP/1.".into())),
        ] {
            assert_eq!(Answerer::recognise(answer), expected);
        }
    }

    #[test]
    fn a_long_answer_is_cut_and_never_a_control_character_shown() {
        let shown = Answerer::recognise(&[b'x'; 4096]).to_string();
        assert!(shown.len() < 200, "{shown}");
        assert!(!Answerer::recognise(b"SSH-\x1b[2J").to_string().contains('\x1b'));
    }
}
