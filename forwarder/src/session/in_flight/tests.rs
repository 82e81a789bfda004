//! Many batches in in_flight against a server in memory, and a forwarder that dies anywhere, again and again.

#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

#[path = "../../../../crates/sftp/tests/machine/fake.rs"]
#[allow(dead_code, reason = "the machine's own tests use the rest")]
mod fake;
mod letters;
mod places;
mod sealed;

use std::collections::BTreeMap;

use logferry_config::VerifyMode;
use logferry_ledger::{PublishedFile, PublishingNote};
use logferry_sftp::ClientLimits;
use proptest::prelude::*;

use super::*;
use crate::publish::publish_steps::PublishOutcome;
use fake::{FakeServer, Sizes, Ways};
use places::{Place, places};
use sealed::Sealed;

const LIMITS: ClientLimits = ClientLimits {
    requests: 20,
    bytes: 2000,
    piece: 100,
    open_files: 4,
};

/// How a forwarder's life ends.
#[derive(Debug, Clone, Copy)]
struct Death {
    /// So many bytes of what it sends reach the server.
    sent: usize,
    /// So many of the last replies do not come back.
    unheard: usize,
    /// So many of the last records did not reach the ledger.
    unrecorded: usize,
}

/// One life: all that is not recorded is sent on its publish_method. Returns what was recorded, by number, before it died.
fn live(
    sealed: &mut Sealed,
    missing: &[usize],
    server: &mut FakeServer,
    death: Option<Death>,
) -> Vec<(usize, Result<PublishOutcome, DeliveryError>)> {
    let (mut client, mut in_flight, mut completed) =
        (SftpClient::new(LIMITS), AttemptsInFlight::default(), Vec::new());
    for number in missing {
        completed.extend(in_flight.start(sealed.attempt(*number), &mut client));
    }
    let mut left = death.map_or(usize::MAX, |death| death.sent);
    while !in_flight.is_empty() && left > 0 {
        let mut out = Vec::new();
        client.pump(&mut out, 500, &mut in_flight);
        let reaches = out.len().min(left);
        server.receive(&out[..reaches]);
        left -= reaches;
        let mut replies = std::mem::take(&mut server.replies);
        if let (0, Some(death)) = (left, death) {
            replies.truncate(replies.len().saturating_sub(death.unheard));
        }
        client.feed(&replies.concat()).unwrap();
        while let Some(event) = client.poll_event() {
            completed.extend(in_flight.on_event(event, &mut client));
        }
        completed.extend(sealed.fulfil_all(&mut in_flight, &mut client));
    }
    // The server closes what a lost connection had open.
    server.break_off();
    let mut completed: Vec<_> = completed
        .into_iter()
        .map(|(task, result)| (sealed.number(task.batch.id), result.map(|it| it.ending)))
        .collect();
    let recorded = completed
        .len()
        .saturating_sub(death.map_or(0, |death| death.unrecorded));
    completed.truncate(recorded);
    completed
}

/// Lives one life after the other, the last of them without an accident, until everything is recorded.
fn lives(sealed: &mut Sealed, server: &mut FakeServer, deaths: impl IntoIterator<Item = Death>) {
    let mut missing: Vec<_> = (0..sealed.batches.len()).collect();
    for death in deaths.into_iter().map(Some).chain([None]) {
        let before = server.files.clone();
        let recorded = live(sealed, &missing, server, death);
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

fn deaths() -> impl Strategy<Value = Vec<Death>> {
    let death = (1usize..12_000, 0usize..12, 0usize..4).prop_map(|(sent, unheard, unrecorded)| Death {
        sent,
        unheard,
        unrecorded,
    });
    prop::collection::vec(death, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn forwarder_that_dies_anywhere_leaves_each_batch_once_and_no_litter(
        lens in prop::collection::vec(prop_oneof![0usize..300, 900usize..3000], 2..7),
        deaths in deaths(),
        place in prop::sample::select(places()),
    ) {
        let mut sealed = Sealed::new(&lens, place.1);
        let mut server = sealed.server();
        lives(&mut sealed, &mut server, deaths);
        prop_assert_eq!(&server.files, &sealed.published());
    }
}

/// The same, after each request in turn, at each sort of server, with the answer or without: no step is left out by chance.
#[test]
fn no_step_is_a_wrong_moment_to_die_at_any_server() {
    const LENS: [usize; 3] = [150, 1100, 0];
    for (name, place) in places() {
        let mut sealed = Sealed::new(&LENS, place.clone());
        let mut whole = sealed.server();
        live(&mut sealed, &[0, 1, 2], &mut whole, None);
        assert_eq!(whole.files, sealed.published(), "{name}");
        for sent in whole.whole_after {
            for unheard in [0, 1, 100] {
                sealed.notes.clear();
                let mut server = sealed.server();
                let death = Death {
                    sent,
                    unheard,
                    unrecorded: 0,
                };
                lives(&mut sealed, &mut server, [death]);
                assert_eq!(
                    server.files,
                    sealed.published(),
                    "{name}, after {sent} bytes, {unheard} answers lost"
                );
            }
        }
    }
}

/// Files vanish the moment they have their final names.
#[test]
fn receiver_that_takes_files_at_once_gets_each_once_whenever_the_forwarder_dies() {
    let place = Place::accompanied(
        Ways {
            receiver_waits: true,
            ..Ways::default()
        },
        VerifyMode::Size,
    );
    let mut sealed = Sealed::new(&[150, 1100], place);
    let mut whole = sealed.server();
    live(&mut sealed, &[0, 1], &mut whole, None);
    for sent in whole.whole_after {
        for unheard in [0, 1, 100] {
            sealed.notes.clear();
            let mut server = sealed.server();
            let death = Death {
                sent,
                unheard,
                unrecorded: unheard,
            };
            lives(&mut sealed, &mut server, [death]);
            assert_eq!(server.files, BTreeMap::new(), "after {sent} bytes");
            let count = server.taken.len();
            let taken: BTreeMap<_, _> = server.taken.into_iter().collect();
            assert_eq!(taken.len(), count, "after {sent} bytes: something came twice");
            assert_eq!(taken, sealed.published(), "after {sent} bytes");
        }
    }
}

#[test]
fn what_was_noted_of_another_place_is_not_believed_of_this_one() {
    let mut sealed = Sealed::new(&[150], Place::accompanied(Ways::default(), VerifyMode::Size));
    let note = PublishingNote {
        file: PublishedFile::Marker,
        place: "ferry@elsewhere:22 /drop/batch-00.log.part".to_owned(),
    };
    sealed.notes.insert(0, Some(note));
    let mut server = sealed.server();
    lives(&mut sealed, &mut server, []);
    assert_eq!(server.files, sealed.published());
    // The same note of this place, the last of the first life, is: nothing is there any more, and nothing comes.
    let note = sealed.notes[&0].clone().unwrap();
    assert_eq!(note.file, PublishedFile::Marker);
    let mut emptied = sealed.server();
    let completed = live(&mut sealed, &[0], &mut emptied, None);
    assert!(
        matches!(completed[..], [(0, Ok(PublishOutcome::FoundThere))]),
        "{completed:?}"
    );
    assert_eq!(emptied.files, BTreeMap::new());
}

#[test]
fn manifest_comes_after_its_batch_and_the_marker_last() {
    let place = Place::accompanied(
        Ways {
            receiver_waits: true,
            ..Ways::default()
        },
        VerifyMode::Size,
    );
    let mut sealed = Sealed::new(&[150], place);
    let mut server = sealed.server();
    live(&mut sealed, &[0], &mut server, None);
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
        let place = Place::accompanied(
            Ways {
                spoils: Some(77),
                ..Ways::default()
            },
            verify,
        );
        let mut sealed = Sealed::new(&[150], place);
        let mut server = sealed.server();
        let completed = live(&mut sealed, &[0], &mut server, None);
        assert!(
            matches!(&completed[..], [(0, Err(DeliveryError::Spoiled { .. }))]),
            "{completed:?}"
        );
        assert_eq!(server.files, BTreeMap::new());
        // The next attempt has a better disk.
        server.ways.spoils = None;
        lives(&mut sealed, &mut server, []);
        assert_eq!(server.files, sealed.published());
    }
}

#[test]
fn upload_that_fails_late_leaves_nothing_and_is_tried_again() {
    for ways in [
        Ways {
            quota: Some(100),
            ..Ways::default()
        },
        Ways {
            close_fails: true,
            ..Ways::default()
        },
        Ways {
            loses_beyond: Some(90),
            ..Ways::default()
        },
    ] {
        let mut sealed = Sealed::new(&[150, 1100], Place::new(ways));
        let mut server = sealed.server();
        let completed = live(&mut sealed, &[0, 1], &mut server, None);
        assert!(
            completed
                .iter()
                .all(|(_, result)| matches!(result, Err(DeliveryError::Remote(_)))),
            "{completed:?}"
        );
        assert_eq!(server.files, BTreeMap::new());
        server.ways = Ways::default();
        lives(&mut sealed, &mut server, []);
        assert_eq!(server.files, sealed.published());
    }
}

#[test]
fn drop_that_may_be_written_and_not_read_gets_its_batches() {
    let place = Place::accompanied(
        Ways {
            write_only: true,
            sizes: Sizes::Forbidden,
            ..Ways::default()
        },
        VerifyMode::Size,
    );
    let mut sealed = Sealed::new(&[150, 1100], place);
    let mut server = sealed.server();
    lives(&mut sealed, &mut server, []);
    assert_eq!(server.files, sealed.published());
}

#[test]
fn beginning_that_is_the_batchs_is_not_sent_again() {
    let mut sealed = Sealed::new(&[3000], Place::new(Ways::default()));
    let part = format!("/drop/{}.part", sealed.batches[0].file_name());
    let mut sent_for = |left_there: &[u8]| {
        let mut server = sealed.server();
        server.files.insert(part.clone(), left_there.to_vec());
        sealed.notes.clear();
        live(&mut sealed, &[0], &mut server, None);
        assert_eq!(server.files, sealed.published());
        server.received
    };
    let text: Vec<u8> = Sealed::new(&[3000], Place::new(Ways::default())).texts.remove(0);
    let mut spoiled = text[..2500].to_vec();
    spoiled[1999] ^= 1;
    let (whole, most, some) = (sent_for(b"x"), sent_for(&text[..2500]), sent_for(&spoiled));
    assert!(most + 1500 < whole, "{most} of {whole}");
    assert!(some > most && some + 1000 < whole, "{some} of {whole}");
}

#[test]
fn stranger_under_a_name_is_left_alone_and_others_pass() {
    let place = Place::accompanied(Ways::default(), VerifyMode::Size);
    let mut sealed = Sealed::new(&[150, 150, 150], place);
    let mut server = sealed.server();
    let batch = |number: usize| format!("/drop/{}", sealed.batches[number].file_name());
    // The batch's own name, and that of its marker.
    let taken = [batch(1), format!("{}.ok", batch(2))];
    for name in &taken {
        server.files.insert(name.clone(), vec![b'x'; 150]);
    }
    let completed = live(&mut sealed, &[0, 1, 2], &mut server, None);
    for (number, result) in completed {
        match result {
            Ok(ending) => assert_eq!((number, ending), (0, PublishOutcome::Published)),
            Err(DeliveryError::NameTaken { path }) => assert_eq!(path, taken[number - 1]),
            Err(error) => panic!("{error:?}"),
        }
    }
    let mut expected = sealed.published();
    expected.remove(&format!("/drop/{}.json", sealed.batches[1].name()));
    expected.remove(&format!("{}.ok", taken[0]));
    expected.extend(taken.into_iter().map(|name| (name, vec![b'x'; 150])));
    assert_eq!(server.files, expected);
}
