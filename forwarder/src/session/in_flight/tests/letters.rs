//! A letter where an earlier attempt connection_lost off.

use jiff::Timestamp;
use logferry_ledger::{Ledger, NewManifest};

use super::*;
use crate::schedule::plan::tests::batches;
use crate::session::letter::Letter;

#[test]
fn letter_comes_whole_whatever_was_left_under_its_temporary_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open_or_create(dir.path()).unwrap();
    let edw = "edw".parse().unwrap();
    let new = NewManifest {
        window: batches(&[0])[0].window,
        revision: 1,
        name: "W.json".to_owned(),
        content: "{}".to_owned(),
        batches: Vec::new(),
    };
    ledger.add_manifest(&edw, &new, Timestamp::UNIX_EPOCH).unwrap();
    let letter = Letter {
        id: ledger.waiting_manifests(&edw).unwrap()[0].id,
        path: "/drop/W.json".to_owned(),
        temporary: "/drop/W.json.part".to_owned(),
        content: b"{}".to_vec(),
    };
    let (mut client, mut in_flight) = (SftpClient::new(LIMITS), AttemptsInFlight::default());
    let mut server = FakeServer::new(Ways::default());
    server
        .files
        .insert(letter.temporary.clone(), b"left behind".to_vec());
    in_flight.letters.post(letter, &mut client);
    while !in_flight.is_empty() {
        let mut out = Vec::new();
        client.pump(&mut out, 500, &mut in_flight);
        server.receive(&out);
        let replies = std::mem::take(&mut server.replies);
        client.feed(&replies.concat()).unwrap();
        while let Some(event) = client.poll_event() {
            in_flight.on_event(event, &mut client);
        }
    }
    let posted = in_flight.letters.take_posted();
    assert!(
        matches!(&posted[..], [(_, Ok(path))] if path == "/drop/W.json"),
        "{posted:?}"
    );
    let expected = [("/drop/W.json".to_owned(), b"{}".to_vec())];
    assert_eq!(server.files, BTreeMap::from(expected));
}
