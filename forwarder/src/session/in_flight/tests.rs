//! Many items in flight against a server in memory, and a forwarder that is killed at any step, again and again.

#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

#[path = "../../../../crates/sftp/tests/machine/fake.rs"]
#[allow(dead_code, reason = "the machine's own tests use the rest")]
mod fake;

mod sealed;
mod server_kinds;
mod window_manifest;

use std::collections::BTreeMap;

use logferry_config::VerifyMode;
use logferry_ledger::{PublishedFile, PublishingNote};
use logferry_sftp::ClientLimits;
use proptest::prelude::*;

use super::*;
use crate::publish::publish_steps::PublishOutcome;
use fake::{FakeServer, ServerBehaviour, Sizes};
use sealed::Sealed;
use server_kinds::{ServerKind, behaviour, server_kinds};

const LIMITS: ClientLimits = ClientLimits {
    requests: 20,
    bytes: 2000,
    piece: 100,
    open_files: 4,
};

/// How a run of the forwarder ends.
#[derive(Debug, Clone, Copy)]
struct Kill {
    /// The number of sent bytes that reach the server.
    sent: usize,
    /// The number of last replies that do not come back.
    unheard: usize,
    /// The number of last results that are not recorded.
    unrecorded: usize,
}

/// One run: delivers the items `missing`, by number. Returns the results that were recorded before it was killed.
fn run(
    sealed: &mut Sealed,
    missing: &[usize],
    server: &mut FakeServer,
    kill: Option<Kill>,
) -> Vec<(usize, Result<PublishOutcome, DeliveryError>)> {
    let (mut client, mut in_flight, mut completed) =
        (SftpClient::new(LIMITS), AttemptsInFlight::default(), Vec::new());
    for number in missing {
        completed.extend(in_flight.start(sealed.attempt(*number), &mut client));
    }
    let mut left = kill.map_or(usize::MAX, |kill| kill.sent);
    while !in_flight.is_empty() && left > 0 {
        let mut out = Vec::new();
        client.pump(&mut out, 500, &mut in_flight);
        let reaches = out.len().min(left);
        server.receive(&out[..reaches]);
        left -= reaches;
        let mut replies = std::mem::take(&mut server.replies);
        if let (0, Some(kill)) = (left, kill) {
            replies.truncate(replies.len().saturating_sub(kill.unheard));
        }
        client.feed(&replies.concat()).unwrap();
        while let Some(event) = client.poll_event() {
            completed.extend(in_flight.on_event(event, &mut client));
        }
        completed.extend(sealed.provide_needs(&mut in_flight, &mut client));
    }
    // The server closes the open files of a lost connection.
    server.break_off();
    let mut completed: Vec<_> = completed
        .into_iter()
        .map(|(task, result)| (sealed.number(task.id()), result.map(|it| it.outcome)))
        .collect();
    let recorded = completed
        .len()
        .saturating_sub(kill.map_or(0, |kill| kill.unrecorded));
    completed.truncate(recorded);
    completed
}

/// Runs one after the other, the last one not killed, until all results are recorded.
fn run_until_recorded(sealed: &mut Sealed, server: &mut FakeServer, kills: impl IntoIterator<Item = Kill>) {
    let mut missing: Vec<_> = (0..sealed.count()).collect();
    for kill in kills.into_iter().map(Some).chain([None]) {
        let before = server.files.clone();
        let recorded = run(sealed, &missing, server, kill);
        for (path, text) in &before {
            let is_published = path.strip_suffix(".part").is_none();
            let now = server.files.get(path);
            assert!(!is_published || now == Some(text), "{path} was touched");
        }
        for (number, result) in recorded {
            result.unwrap();
            missing.retain(|it| *it != number);
        }
    }
    assert_eq!(missing, Vec::<usize>::new());
}

/// The server after a run that was killed, and one that was not.
fn killed_once(sealed: &mut Sealed, sent: usize, unheard: usize, unrecorded: usize) -> FakeServer {
    sealed.notes.clear();
    let mut server = sealed.server();
    let kill = Kill {
        sent,
        unheard,
        unrecorded,
    };
    run_until_recorded(sealed, &mut server, [kill]);
    server
}

fn kills() -> impl Strategy<Value = Vec<Kill>> {
    let kill = (1usize..12_000, 0usize..12, 0usize..4).prop_map(|(sent, unheard, unrecorded)| Kill {
        sent,
        unheard,
        unrecorded,
    });
    prop::collection::vec(kill, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn forwarder_killed_anywhere_leaves_each_item_once_and_no_temporary_file(
        lens in prop::collection::vec(prop_oneof![0usize..300, 900usize..3000], 2..7),
        kills in kills(),
        kind in prop::sample::select(server_kinds()),
    ) {
        let mut sealed = Sealed::new(&lens, kind.1);
        let mut server = sealed.server();
        run_until_recorded(&mut sealed, &mut server, kills);
        prop_assert_eq!(&server.files, &sealed.published());
    }
}

/// Killed after each request in turn, at each kind of server, with the answer or without it.
#[test]
fn forwarder_killed_after_any_request_leaves_each_item_once_at_any_server() {
    const LENS: [usize; 3] = [150, 1100, 0];
    for (name, kind) in server_kinds() {
        let mut sealed = Sealed::new(&LENS, kind.clone());
        let mut whole = sealed.server();
        run(&mut sealed, &[0, 1, 2, 3], &mut whole, None);
        assert_eq!(whole.files, sealed.published(), "{name}");
        for sent in whole.whole_after {
            for unheard in [0, 1, 100] {
                let server = killed_once(&mut sealed, sent, unheard, 0);
                assert_eq!(
                    server.files,
                    sealed.published(),
                    "{name}, after {sent} bytes, {unheard} answers lost"
                );
            }
        }
    }
}

/// The receiver removes files as soon as they have their final names.
#[test]
fn receiver_that_removes_files_at_once_gets_each_once_whenever_the_forwarder_is_killed() {
    for behaviour in [
        ServerBehaviour::default(),
        behaviour(|it| it.missing_fails = true),
        behaviour(|it| (it.write_only, it.sizes) = (true, Sizes::Forbidden)),
    ] {
        let behaviour = ServerBehaviour {
            receiver_waits: true,
            ..behaviour
        };
        let name = format!("{behaviour:?}");
        let mut sealed = Sealed::new(
            &[150, 1100],
            ServerKind::with_sidecars(behaviour, VerifyMode::Size),
        );
        let mut whole = sealed.server();
        run(&mut sealed, &[0, 1, 2], &mut whole, None);
        for sent in whole.whole_after {
            for unheard in [0, 1, 100] {
                let server = killed_once(&mut sealed, sent, unheard, unheard);
                assert_eq!(server.files, BTreeMap::new(), "{name}, after {sent} bytes");
                let count = server.taken.len();
                let taken: BTreeMap<_, _> = server.taken.into_iter().collect();
                assert_eq!(
                    taken.len(),
                    count,
                    "{name}, after {sent} bytes: a file was sent twice"
                );
                assert_eq!(taken, sealed.published(), "{name}, after {sent} bytes");
            }
        }
    }
}

#[test]
fn note_about_another_server_is_ignored() {
    let kind = ServerKind::with_sidecars(ServerBehaviour::default(), VerifyMode::Size);
    let mut sealed = Sealed::new(&[150], kind);
    let note = PublishingNote {
        file: Some(PublishedFile::Marker),
        batch: None,
        place: "ferry@elsewhere:22 /drop/batch-00.log.part".to_owned(),
    };
    sealed.notes.insert(0, Some(note));
    let mut server = sealed.server();
    run_until_recorded(&mut sealed, &mut server, []);
    assert_eq!(server.files, sealed.published());
    // The same note about this place, from the end of the first run, is believed: nothing is sent again.
    let note = sealed.notes[&0].clone().unwrap();
    assert_eq!(note.file, Some(PublishedFile::Marker));
    let mut emptied = sealed.server();
    let completed = run(&mut sealed, &[0], &mut emptied, None);
    assert!(
        matches!(completed[..], [(0, Ok(PublishOutcome::Published))]),
        "{completed:?}"
    );
    assert_eq!(emptied.files, BTreeMap::new());
}

#[test]
fn manifest_comes_after_its_batch_and_the_marker_last() {
    let kind = ServerKind::with_sidecars(behaviour(|it| it.receiver_waits = true), VerifyMode::Size);
    let mut sealed = Sealed::new(&[150], kind);
    let mut server = sealed.server();
    run(&mut sealed, &[0], &mut server, None);
    let batch = &sealed.batches[0];
    let names: Vec<_> = server.taken.iter().map(|(name, _)| name.clone()).collect();
    let log = format!("/drop/{}", batch.file_name());
    assert_eq!(
        names,
        [
            log.clone(),
            format!("/drop/{}.json", batch.name()),
            format!("{log}.ok")
        ]
    );
}

#[test]
fn file_that_the_server_spoils_is_not_published_and_leaves_nothing() {
    for verify in [VerifyMode::Hash, VerifyMode::ReadBack] {
        let kind = ServerKind::with_sidecars(behaviour(|it| it.spoils = Some(77)), verify);
        let mut sealed = Sealed::new(&[150], kind);
        let mut server = sealed.server();
        let completed = run(&mut sealed, &[0], &mut server, None);
        assert!(
            matches!(&completed[..], [(0, Err(DeliveryError::Spoiled { .. }))]),
            "{completed:?}"
        );
        assert_eq!(server.files, BTreeMap::new());
        // At the next attempt the disk works.
        server.behaviour.spoils = None;
        run_until_recorded(&mut sealed, &mut server, []);
        assert_eq!(server.files, sealed.published());
    }
}

#[test]
fn upload_that_fails_late_leaves_nothing_and_is_tried_again() {
    for behaviour in [
        behaviour(|it| it.quota = Some(100)),
        behaviour(|it| it.close_fails = true),
        behaviour(|it| it.loses_beyond = Some(90)),
    ] {
        let mut sealed = Sealed::new(&[150, 1100], ServerKind::new(behaviour));
        let mut server = sealed.server();
        let completed = run(&mut sealed, &[0, 1], &mut server, None);
        assert!(
            completed
                .iter()
                .all(|(_, result)| matches!(result, Err(DeliveryError::Remote(_)))),
            "{completed:?}"
        );
        assert_eq!(server.files, BTreeMap::new());
        server.behaviour = ServerBehaviour::default();
        run_until_recorded(&mut sealed, &mut server, []);
        assert_eq!(server.files, sealed.published());
    }
}

#[test]
fn destination_that_forbids_reading_gets_its_files() {
    let kind = ServerKind::with_sidecars(
        behaviour(|it| (it.write_only, it.sizes) = (true, Sizes::Forbidden)),
        VerifyMode::Size,
    );
    let mut sealed = Sealed::new(&[150, 1100], kind);
    let mut server = sealed.server();
    run_until_recorded(&mut sealed, &mut server, []);
    assert_eq!(server.files, sealed.published());
}

#[test]
fn verified_beginning_is_not_sent_again() {
    let mut sealed = Sealed::new(&[3000], ServerKind::new(ServerBehaviour::default()));
    let part = format!("/drop/{}.part", sealed.batches[0].file_name());
    let mut sent_for = |left_there: &[u8]| {
        let mut server = sealed.server();
        server.files.insert(part.clone(), left_there.to_vec());
        sealed.notes.clear();
        run(&mut sealed, &[0], &mut server, None);
        assert_eq!(server.files, sealed.published_batches());
        server.received
    };
    let text = Sealed::new(&[3000], ServerKind::new(ServerBehaviour::default()))
        .texts
        .remove(0);
    let mut spoiled = text[..2500].to_vec();
    spoiled[1999] ^= 1;
    let (whole, most, some) = (sent_for(b"x"), sent_for(&text[..2500]), sent_for(&spoiled));
    assert!(most + 1500 < whole, "{most} of {whole}");
    assert!(some > most && some + 1000 < whole, "{some} of {whole}");
}

#[test]
fn foreign_file_under_a_name_is_not_changed_and_other_batches_are_delivered() {
    let kind = ServerKind::with_sidecars(ServerBehaviour::default(), VerifyMode::Size);
    let mut sealed = Sealed::new(&[150, 150, 150], kind);
    let mut server = sealed.server();
    let batch = |number: usize| format!("/drop/{}", sealed.batches[number].file_name());
    // The batch's own name, and the name of a marker.
    let taken = [batch(1), format!("{}.ok", batch(2))];
    for name in &taken {
        server.files.insert(name.clone(), vec![b'x'; 150]);
    }
    let completed = run(&mut sealed, &[0, 1, 2], &mut server, None);
    for (number, result) in completed {
        match result {
            Ok(outcome) => assert_eq!((number, outcome), (0, PublishOutcome::Published)),
            Err(DeliveryError::NameTaken { path }) => assert_eq!(path, taken[number - 1]),
            Err(error) => panic!("{error:?}"),
        }
    }
    let mut expected = sealed.published_batches();
    expected.remove(&format!("/drop/{}.json", sealed.batches[1].name()));
    expected.remove(&format!("{}.ok", taken[0]));
    expected.extend(taken.into_iter().map(|name| (name, vec![b'x'; 150])));
    assert_eq!(server.files, expected);
}

#[test]
fn a_damaged_spool_file_is_named_and_not_the_good_file_of_the_destination() {
    let mut sealed = Sealed::new(&[150], ServerKind::new(ServerBehaviour::default()));
    let mut server = sealed.server();
    server.files = sealed.published_batches();
    sealed.damage(0);
    let completed = run(&mut sealed, &[0], &mut server, None);
    assert!(
        matches!(&completed[..], [(0, Err(DeliveryError::Altered { .. }))]),
        "{completed:?}"
    );
    assert_eq!(server.files, sealed.published_batches());
}

#[test]
fn what_is_at_the_destination_already_needs_no_more_room() {
    let mut sealed = Sealed::new(&[3000], ServerKind::new(ServerBehaviour::default()));
    let (mut server, mut client) = (sealed.server(), SftpClient::new(LIMITS));
    let mut in_flight = AttemptsInFlight::default();
    assert!(in_flight.start(sealed.attempt(0), &mut client).is_none());
    let mut left = Vec::new();
    while !in_flight.is_empty() {
        left.push(in_flight.bytes_left());
        let mut out = Vec::new();
        client.pump(&mut out, 500, &mut in_flight);
        server.receive(&out);
        let replies = std::mem::take(&mut server.replies);
        client.feed(&replies.concat()).unwrap();
        while let Some(event) = client.poll_event() {
            in_flight.on_event(event, &mut client);
        }
        sealed.provide_needs(&mut in_flight, &mut client);
    }
    assert!(left.is_sorted_by(|before, after| before >= after), "{left:?}");
    assert_eq!((left.first(), left.last()), (Some(&3000), Some(&0)));
    assert!(left.iter().any(|left| (1..3000).contains(left)), "{left:?}");
}
