//! A web server that answers by a table, and keeps what it was asked.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::LoopbackAcceptor;

/// How one request is answered.
#[derive(Debug, Clone)]
pub enum HttpScript {
    /// With this status, these header lines, each with its line end, and this text.
    Answer(u16, &'static [&'static str], &'static str),
    /// The request is read and kept, and the connection is closed without an answer.
    HangUp,
    /// The request is read and kept, and no answer comes until the client closes.
    Silence,
    /// The connection is closed before the request is read.
    Refuse,
}

/// A request as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpRecord {
    /// Method, target and version.
    pub request_line: String,
    /// Names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl HttpRecord {
    /// The value of a header; empty without it.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The server. It answers 200 `ok` once its table is used up.
pub struct ScriptedHttp {
    acceptor: LoopbackAcceptor,
    table: Arc<Mutex<VecDeque<HttpScript>>>,
    requests: Arc<Mutex<Vec<HttpRecord>>>,
}

impl ScriptedHttp {
    /// Starts it with a table, an entry for each connection in turn.
    pub fn start(answers: impl IntoIterator<Item = HttpScript>) -> Self {
        let table: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (next, kept) = (Arc::clone(&table), Arc::clone(&requests));
        let acceptor = LoopbackAcceptor::start(move |client| {
            let answer = next.lock().unwrap().pop_front();
            let answer = answer.unwrap_or(HttpScript::Answer(200, &[], "ok"));
            let kept = Arc::clone(&kept);
            // One thread for each, so that a silent one holds up no other.
            std::thread::spawn(move || serve(client, &answer, &kept));
        });
        Self {
            acceptor,
            table,
            requests,
        }
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.acceptor.port
    }

    /// Adds to the table.
    pub fn then(&self, answers: impl IntoIterator<Item = HttpScript>) {
        self.table.lock().unwrap().extend(answers);
    }

    /// What came so far.
    pub fn requests(&self) -> Vec<HttpRecord> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, answer: &HttpScript, kept: &Mutex<Vec<HttpRecord>>) {
    if matches!(answer, HttpScript::Refuse) {
        return;
    }
    let Some(request) = read_request(&client) else {
        return;
    };
    kept.lock().unwrap().push(request);
    match answer {
        HttpScript::Answer(status, headers, text) => {
            let headers = headers.concat();
            let length = text.len();
            let answer = format!(
                "HTTP/1.1 {status} Answer\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{text}"
            );
            let _ = client.write_all(answer.as_bytes());
        }
        HttpScript::Silence => drop(client.read(&mut [0])),
        HttpScript::HangUp | HttpScript::Refuse => {}
    }
}

/// `None`: the client sent no whole request.
fn read_request(client: &TcpStream) -> Option<HttpRecord> {
    let mut reader = BufReader::new(client);
    let mut request = HttpRecord::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if request.request_line.is_empty() {
            line.clone_into(&mut request.request_line);
        } else if line.is_empty() {
            break;
        } else {
            let (name, value) = line.split_once(':')?;
            request
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}
