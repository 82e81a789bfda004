//! Old senders with today's relay, and today's sender with old relays: `tests/data/README.md` says where the bytes are from.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use logferry_test_servers::LoopbackAcceptor;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::recorded::{DATA, FOREIGN_FILE, SPOOL_LINES, UNSHIPPED_LINES, pipeline_on_copy};
use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::network::http_interceptor::read_message;
use crate::support::pipeline::{Pipeline, Role, spool_lines};
use crate::support::{WAIT_LIMIT, wait_for};

/// A recorded message and the offset of its body.
type Message = (Vec<u8>, usize);

fn files(version: &str, kind: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(Path::new(DATA).join(version).join(kind)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// Sends the recorded requests in their order; returns each response with the request's name.
fn replay(version: &str, port: u16) -> Vec<(String, u16, String)> {
    let responses = files(version, "requests").into_iter().map(|file| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
        stream.write_all(&fs::read(&file).unwrap()).unwrap();
        let (bytes, body) = read_message(&mut stream).unwrap().expect("a response");
        let (head, body) = (String::from_utf8_lossy(&bytes), &bytes[body..]);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let name = stem(&file).split_once('-').unwrap().1.to_owned();
        (name, status, String::from_utf8_lossy(body).into_owned())
    });
    responses.collect()
}

fn assert_relay_accepts(version: &str) {
    let mut pipeline = pipeline_on_copy(&format!("requests-{version}"), "relay_stopped");
    pipeline.config.seal_after = "1h";
    pipeline.start(Role::Relay);
    let port = pipeline.config.relay_port;
    wait_for("the relay to listen", WAIT_LIMIT, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    for outcome in ["stored", "duplicate"] {
        let responses = replay(version, port);
        assert!(responses.len() >= 4, "{responses:?}");
        for (name, status, body) in responses {
            match name.as_str() {
                "heartbeat" => assert_eq!(status, 204, "{body}"),
                "streams" => {
                    assert_eq!(status, 200, "{body}");
                    let answer: Value = serde_json::from_str(&body).unwrap();
                    assert_eq!(answer["source"], "127.0.0.1", "{body}");
                }
                "chunks" => {
                    assert_eq!(status, 200, "{body}");
                    let receipt: Value = serde_json::from_str(&body).unwrap();
                    assert_eq!(receipt["outcome"], outcome, "{body}");
                }
                other => panic!("an unknown request was recorded: {other}"),
            }
        }
    }
    // One batch is compressed; its lines are not counted here.
    let lines = spool_lines(&pipeline.config.data_dir).unwrap();
    assert!(
        lines >= SPOOL_LINES - 20 + UNSHIPPED_LINES,
        "{lines} lines in the spool"
    );
    pipeline.stop(Role::Relay, Signal::SIGTERM);

    fs::remove_file(pipeline.config.destination.directory.join(FOREIGN_FILE)).unwrap();
    pipeline.config.seal_after = "1s";
    pipeline.start(Role::Relay);
    pipeline.start(Role::Forwarder);
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WithinWindow);
}

#[test]
fn requests_of_a_sender_of_version_0_1_are_accepted() {
    assert_relay_accepts("version_0_1");
}

#[test]
fn requests_of_a_sender_of_november_2026_are_accepted() {
    assert_relay_accepts("november_2026");
}

/// A relay that answers with recorded bytes, each question as it was answered then, and keeps what it was asked.
struct RecordedRelay {
    acceptor: LoopbackAcceptor,
    asked: Arc<Mutex<BTreeMap<String, Message>>>,
}

impl RecordedRelay {
    fn start(version: &str) -> Self {
        let answers = files(version, "answers").into_iter();
        let answers: BTreeMap<_, _> = answers
            .map(|file| (stem(&file), fs::read(&file).unwrap()))
            .collect();
        let (answers, asked) = (Arc::new(answers), Arc::default());
        let kept = Arc::clone(&asked);
        let acceptor = LoopbackAcceptor::start(move |client| {
            let (answers, kept) = (Arc::clone(&answers), Arc::clone(&kept));
            std::thread::spawn(move || serve(client, &answers, &kept));
        });
        Self { acceptor, asked }
    }

    /// The chunks that came, by their range.
    fn chunks(&self) -> BTreeMap<String, Vec<u8>> {
        let asked = self.asked.lock().unwrap();
        let chunks = asked.iter().filter(|(name, _)| name.starts_with("chunks-"));
        chunks
            .map(|(name, (bytes, body))| (name.clone(), bytes[*body..].to_vec()))
            .collect()
    }
}

fn serve(
    mut client: TcpStream,
    answers: &BTreeMap<String, Vec<u8>>,
    asked: &Mutex<BTreeMap<String, Message>>,
) -> io::Result<()> {
    while let Some(message) = read_message(&mut client)? {
        let name = question(&message);
        let answer = answers
            .get(&name)
            .map_or(&b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n"[..], |it| it);
        asked.lock().unwrap().insert(name, message);
        client.write_all(answer)?;
    }
    Ok(())
}

/// The name under which the answer to a request is kept; as in `tests/data/record.py`.
fn question((bytes, body): &Message) -> String {
    let head = String::from_utf8_lossy(&bytes[..*body]);
    let path = head.split(' ').nth(1).unwrap_or_default();
    match path.rsplit('/').next().unwrap_or_default() {
        "streams" => {
            let question: Value = serde_json::from_slice(&bytes[*body..]).unwrap();
            format!("streams-{}", question["files"].as_array().unwrap().len())
        }
        "chunks" => {
            let range = head.lines().find_map(|line| line.strip_prefix("ferry-range: "));
            format!("chunks-{}", range.unwrap())
        }
        name => name.to_owned(),
    }
}

/// Today's sender ships the rest of the log of version 0.1 to a relay that answers as the recorded one did.
fn assert_sender_is_served(version: &str) {
    let mut pipeline = pipeline_on_copy(&format!("answers-{version}"), "relay_stopped");
    let relay = RecordedRelay::start(version);
    pipeline.config.sender_target_port = relay.acceptor.port;
    pipeline.start(Role::Sender);
    let expected: BTreeMap<_, _> = recorded_chunks();
    wait_for("both chunks", WAIT_LIMIT, || {
        relay.chunks().len() == expected.len()
    });
    assert!(
        relay.chunks() == expected,
        "the same ranges and bytes as an old sender ships"
    );
    let committed = |pipeline: &Pipeline| {
        let text = fs::read_to_string(pipeline.config.state_dir.join("checkpoint")).unwrap();
        let checkpoint: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let streams = checkpoint["streams"].as_array().unwrap();
        let ends = streams
            .iter()
            .map(|stream| stream["stream"]["committed"].as_u64().unwrap());
        ends.collect::<Vec<_>>()
    };
    let ends: Vec<u64> = expected
        .keys()
        .map(|range| range.rsplit('-').next().unwrap().parse().unwrap())
        .collect();
    wait_for("the checkpoint to have what was acknowledged", WAIT_LIMIT, || {
        let known = committed(&pipeline);
        ends.iter().all(|end| known.contains(end))
    });
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    let output = pipeline.output(Role::Sender);
    assert!(!output.contains("WARN") && !output.contains("ERROR"), "{output}");
}

/// The chunks of version 0.1's sender, by their range.
fn recorded_chunks() -> BTreeMap<String, Vec<u8>> {
    let requests = files("version_0_1", "requests").into_iter();
    let messages = requests.map(|file| {
        let bytes = fs::read(file).unwrap();
        let body = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        (bytes, body)
    });
    let chunks = messages.filter(|message| question(message).starts_with("chunks-"));
    chunks
        .map(|message| (question(&message), message.0[message.1..].to_vec()))
        .collect()
}

#[test]
fn todays_sender_is_served_by_a_relay_of_version_0_1() {
    assert_sender_is_served("version_0_1");
}

#[test]
fn todays_sender_is_served_by_a_relay_of_november_2026() {
    assert_sender_is_served("november_2026");
}
