//! A server that answers as OpenSearch does: bulk requests with `create`, single documents, counts, the index
//! template. Documents stay in memory.
//! Tests order what it does with the next requests.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::acceptor::Acceptor;

const BODY_MAX: u64 = 256 << 20;

/// What the server does with a bulk request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkFault {
    /// It closes the connection and takes nothing.
    CloseBefore,
    /// It takes it, and closes the connection without an answer.
    CloseAfter,
    /// It takes it, and closes the connection in the middle of the answer.
    Truncate,
    /// It takes it, and answers with something else.
    Garbage,
    /// It takes nothing, and answers with this status.
    Refuse(u16),
    /// It takes all but each second document, which gets this status.
    RefuseHalf(u16),
    /// It takes it, and answers so much later.
    Slow(Duration),
}

/// How the server behaves until it is told otherwise.
#[derive(Debug, Clone, Default)]
pub struct SearchScript {
    /// Longer requests are answered with 413.
    pub max_bytes: Option<usize>,
    /// The value of `Authorization` that it wants.
    pub login: Option<String>,
    /// Documents with this text are refused with 400.
    pub unwanted: Option<String>,
    /// Whether nobody may put an index template.
    pub is_template_forbidden: bool,
    /// Whether each request is answered with 503.
    pub is_down: bool,
    /// Whether documents are counted and not kept, so that none is there already.
    pub is_counting_only: bool,
}

/// The server.
#[derive(Debug)]
pub struct SearchServer {
    acceptor: Acceptor,
    state: Arc<Mutex<SearchState>>,
}

#[derive(Debug, Default)]
struct SearchState {
    script: SearchScript,
    faults: VecDeque<BulkFault>,
    /// Each index: its documents by id.
    indices: BTreeMap<String, BTreeMap<String, Value>>,
    /// Documents that were counted and not kept.
    counted: usize,
    /// Documents that were there already when they were sent.
    repeated: u64,
    bulk_requests: u64,
    template: Option<(String, Value)>,
}

struct SearchRequest {
    method: String,
    path: String,
    login: Option<String>,
    body: Vec<u8>,
}

struct SearchAnswer {
    status: u16,
    body: String,
    fault: Option<BulkFault>,
}

impl SearchServer {
    /// Starts a server on a free port of 127.0.0.1.
    pub async fn start() -> io::Result<Self> {
        let state = Arc::new(Mutex::new(SearchState::default()));
        let shared = Arc::clone(&state);
        let acceptor = Acceptor::start(move |socket| {
            let state = Arc::clone(&shared);
            async move {
                // A connection that breaks is no error of the server.
                let _ = serve(socket, &state).await;
            }
        })
        .await?;
        Ok(Self { acceptor, state })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.acceptor.port())
    }

    /// Changes how the server behaves from now on.
    pub fn set_script(&self, change: impl FnOnce(&mut SearchScript)) {
        change(&mut lock(&self.state).script);
    }

    /// What it does with the next bulk requests, one each. What was ordered before and not met yet is dropped.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = BulkFault>) {
        lock(&self.state).faults = faults.into_iter().collect();
    }

    /// The faults that no request has met yet.
    pub fn faults_left(&self) -> usize {
        lock(&self.state).faults.len()
    }

    /// All documents, by index and id.
    pub fn indices(&self) -> BTreeMap<String, BTreeMap<String, Value>> {
        lock(&self.state).indices.clone()
    }

    /// Changes the documents, as a person could.
    pub fn change_indices(&self, change: impl FnOnce(&mut BTreeMap<String, BTreeMap<String, Value>>)) {
        change(&mut lock(&self.state).indices);
    }

    /// How many documents it has.
    pub fn count(&self) -> usize {
        let state = lock(&self.state);
        state.counted + state.indices.values().map(BTreeMap::len).sum::<usize>()
    }

    /// How many documents were there already when they were sent.
    pub fn repeated(&self) -> u64 {
        lock(&self.state).repeated
    }

    /// How many bulk requests it has read.
    pub fn bulk_requests(&self) -> u64 {
        lock(&self.state).bulk_requests
    }

    /// The name of the index template and itself.
    pub fn template(&self) -> Option<(String, Value)> {
        lock(&self.state).template.clone()
    }

    /// Closes the port and all connections.
    pub async fn stop(self) {
        self.acceptor.stop().await;
    }
}

/// The state is consistent between statements, so a panic elsewhere leaves nothing half done.
fn lock(state: &Mutex<SearchState>) -> MutexGuard<'_, SearchState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: TcpStream, state: &Mutex<SearchState>) -> io::Result<()> {
    let mut connection = BufReader::new(socket);
    while let Some(request) = read(&mut connection).await? {
        let SearchAnswer { status, body, fault } = lock(state).answer(&request);
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: ");
        let mut answer = format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes();
        match fault {
            Some(BulkFault::CloseBefore | BulkFault::CloseAfter) => return Ok(()),
            Some(BulkFault::Truncate) => {
                answer.truncate(answer.len() - body.len() / 2 - 1);
                connection.write_all(&answer).await?;
                return connection.shutdown().await;
            }
            Some(BulkFault::Slow(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        connection.write_all(&answer).await?;
        connection.flush().await?;
    }
    Ok(())
}

/// The next request; `None` at the end of the connection.
async fn read(connection: &mut BufReader<TcpStream>) -> io::Result<Option<SearchRequest>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let mut words = head.first().map_or("", String::as_str).split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header = |wanted: &str| {
        let mut pairs = head.iter().filter_map(|line| line.split_once(": "));
        pairs.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.to_owned()))
    };
    let length = header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut request = SearchRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        login: header("authorization"),
        body: Vec::new(),
    };
    let mut body = connection.take(BODY_MAX.min(length));
    body.read_to_end(&mut request.body).await?;
    if u64::try_from(request.body.len()).unwrap_or(0) < length {
        return Ok(None);
    }
    Ok(Some(request))
}

impl SearchState {
    fn answer(&mut self, request: &SearchRequest) -> SearchAnswer {
        let plain = |(status, body): (u16, Value)| SearchAnswer {
            status,
            body: body.to_string(),
            fault: None,
        };
        let (path, _) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if self.script.is_down {
            return plain((503, error("unavailable", "no node")));
        }
        if self.script.login.is_some() && self.script.login != request.login {
            return plain((
                401,
                error("security_exception", "missing authentication credentials"),
            ));
        }
        match (
            request.method.as_str(),
            path.split('/').collect::<Vec<_>>().as_slice(),
        ) {
            ("POST", ["", "_bulk"]) => self.bulk(&request.body),
            ("GET", ["", ""]) => plain((
                200,
                json!({"version": {"number": "2.19.1", "distribution": "opensearch"}}),
            )),
            ("PUT", ["", "_index_template", name]) => plain(self.put_template(name, &request.body)),
            ("GET", ["", index, "_doc", id]) => plain(self.document(index, id)),
            ("POST", ["", _, "_refresh"]) => plain((200, json!({}))),
            ("POST", ["", indices, "_count"]) => plain(self.count(indices, &request.body)),
            _ => plain((405, error("method", "not known"))),
        }
    }

    fn put_template(&mut self, name: &str, body: &[u8]) -> (u16, Value) {
        if self.script.is_template_forbidden {
            return (
                403,
                error("security_exception", "no permissions for [put_index_template]"),
            );
        }
        if self.template.is_some() {
            return (
                400,
                error("illegal_argument_exception", "index template already exists"),
            );
        }
        self.template = serde_json::from_slice(body)
            .ok()
            .map(|template| (name.to_owned(), template));
        (200, json!({"acknowledged": true}))
    }

    fn document(&self, index: &str, id: &str) -> (u16, Value) {
        // The only sign of an id that is written as its byte.
        let id = id.replace("%40", "@");
        let Some(documents) = self.indices.get(index) else {
            return (404, error("index_not_found_exception", "no such index"));
        };
        let found = documents.contains_key(&id);
        let status = if found { 200 } else { 404 };
        (status, json!({"_index": index, "_id": id, "found": found}))
    }

    fn count(&self, indices: &str, body: &[u8]) -> (u16, Value) {
        let query: Value = serde_json::from_slice(body).unwrap_or_default();
        let batch = &query["query"]["bool"]["should"][0]["term"]["batch"];
        let is_wanted = |name: &str| {
            indices.split(',').any(|pattern| {
                let start = pattern.split('*').next().unwrap_or(pattern);
                name == pattern || (pattern.contains('*') && name.starts_with(start))
            })
        };
        let documents = self.indices.iter().filter(|(name, _)| is_wanted(name));
        let documents = documents.flat_map(|(_, documents)| documents.values());
        let count = documents.filter(|document| document["batch"] == *batch).count();
        (200, json!({"count": count, "_shards": {"failed": 0}}))
    }

    fn bulk(&mut self, body: &[u8]) -> SearchAnswer {
        self.bulk_requests += 1;
        let refused = |status: u16| SearchAnswer {
            status,
            body: error("test_exception", "as ordered").to_string(),
            fault: None,
        };
        if self.script.max_bytes.is_some_and(|max| body.len() > max) {
            return refused(413);
        }
        let fault = self.faults.pop_front();
        match fault {
            Some(BulkFault::Refuse(status)) => return refused(status),
            Some(BulkFault::CloseBefore) => {
                return SearchAnswer {
                    fault,
                    ..refused(500)
                };
            }
            _ => {}
        }
        let text = String::from_utf8_lossy(body).into_owned();
        let lines: Vec<_> = text.lines().collect();
        let items: Vec<Value> = lines
            .chunks(2)
            .enumerate()
            .map(|(number, pair)| self.item(number, pair, fault.as_ref()))
            .collect();
        let body = match fault {
            Some(BulkFault::Garbage) => "<html>it works</html>".to_owned(),
            _ => json!({"took": 1, "errors": true, "items": items}).to_string(),
        };
        SearchAnswer {
            status: 200,
            body,
            fault,
        }
    }

    fn item(&mut self, number: usize, pair: &[&str], fault: Option<&BulkFault>) -> Value {
        let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        let [action, document] = *pair else {
            return json!({"create": {"_id": "", "status": 400, "error": error("illegal_argument_exception", "half")["error"]}});
        };
        let create = &parsed(action)["create"];
        let [index, id] = ["_index", "_id"].map(|key| create[key].as_str().unwrap_or_default().to_owned());
        let outcome = |status: u16, kind: &str, reason: &str| {
            let error = error(kind, reason)["error"].clone();
            json!({"create": {"_index": index, "_id": id, "status": status, "error": error}})
        };
        if create["require_alias"] == true {
            return outcome(404, "index_not_found_exception", "is not an alias");
        }
        if let Some(BulkFault::RefuseHalf(status)) = fault
            && number % 2 == 1
        {
            return outcome(*status, "test_exception", "as ordered");
        }
        let unwanted = self.script.unwanted.as_ref();
        if unwanted.is_some_and(|text| document.contains(text)) {
            return outcome(400, "mapper_parsing_exception", "failed to parse field");
        }
        let created = json!({"create": {"_index": index, "_id": id, "status": 201, "result": "created"}});
        if self.script.is_counting_only {
            self.counted += 1;
            return created;
        }
        let documents = self.indices.entry(index.clone()).or_default();
        if documents.contains_key(&id) {
            self.repeated += 1;
            return outcome(
                409,
                "version_conflict_engine_exception",
                "document already exists",
            );
        }
        documents.insert(id, parsed(document));
        created
    }
}

fn error(kind: &str, reason: &str) -> Value {
    json!({"error": {"type": kind, "reason": reason}, "status": 0})
}
