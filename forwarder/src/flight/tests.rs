//! Many batches in flight against a server in memory, and a forwarder that dies anywhere, again and again.

#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

#[path = "../../../crates/sftp/tests/machine/fake.rs"]
#[allow(dead_code, reason = "the machine's own tests use the rest")]
mod fake;

use std::collections::BTreeMap;

use logferry_config::{DeliveryRetry, Destination, HostKeyPolicy, Login, Secret};
use logferry_ledger::{Batch, Contents};
use logferry_sftp::Limits;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::batch_file::BatchFile;
use crate::names::Names;
use crate::plan::tests::batches;
use crate::publication::Ending;
use fake::{FakeServer, Ways};

const LIMITS: Limits = Limits {
    requests: 20,
    bytes: 2000,
    piece: 100,
    open_files: 4,
};

fn destination() -> Destination {
    Destination {
        name: "edw".parse().unwrap(),
        wants: logferry_config::Wants::default(),
        host: "localhost".to_owned(),
        port: 22,
        user: "ferry".to_owned(),
        directory: "/drop".to_owned(),
        layout: logferry_config::Layout::default(),
        login: Login::Password(Secret::new("unused")),
        host_key: HostKeyPolicy::Fingerprint(String::new()),
        sessions: 1,
        temp_suffix: ".part".to_owned(),
        retry: DeliveryRetry {
            attempts: 3,
            initial: std::time::Duration::from_secs(1),
            max: std::time::Duration::from_secs(1),
        },
        failed_every: std::time::Duration::from_secs(1),
        window_manifest: None,
        bandwidth: None,
    }
}

/// Sealed batches in a folder of this machine.
struct Sealed {
    dir: TempDir,
    batches: Vec<Batch>,
    texts: Vec<Vec<u8>>,
}

impl Sealed {
    fn new(lens: &[usize]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut batches = batches(&vec![0; lens.len()]);
        let text = |(number, &len): (usize, &usize)| -> Vec<u8> {
            (0..len)
                .map(|at| u8::try_from((at / 7 * 13 + number) % 251).unwrap())
                .collect()
        };
        let texts: Vec<_> = lens.iter().enumerate().map(text).collect();
        for (batch, text) in batches.iter_mut().zip(&texts) {
            batch.contents = Contents {
                lines: 1,
                bytes: text.len() as u64,
                crc32c: crc32c::crc32c(text),
            };
            std::fs::write(dir.path().join(batch.file_name()), text).unwrap();
        }
        Self { dir, batches, texts }
    }

    fn attempt(&self, number: usize) -> Attempt {
        let batch = self.batches[number].clone();
        let file = BatchFile::open(&self.dir.path().join(batch.file_name()), batch.contents).unwrap();
        let names = Names::of(&batch, &destination());
        Attempt::new(Task { batch, attempts: 0 }, names, file)
    }

    /// What is to be in the drop in the end.
    fn published(&self) -> BTreeMap<String, Vec<u8>> {
        let path = |batch: &Batch| format!("/drop/{}", batch.file_name());
        self.batches
            .iter()
            .map(path)
            .zip(self.texts.iter().cloned())
            .collect()
    }
}

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

/// One life: all that is not recorded is sent on its way. Returns what was recorded, by number, before it died.
fn live(
    sealed: &Sealed,
    missing: &[usize],
    server: &mut FakeServer,
    death: Option<Death>,
) -> Vec<(usize, Ending)> {
    let (mut client, mut flight, mut landed) = (Client::new(LIMITS), Flight::default(), Vec::new());
    for number in missing {
        assert!(flight.launch(sealed.attempt(*number), &mut client).is_none());
    }
    let mut left = death.map_or(usize::MAX, |death| death.sent);
    loop {
        let mut out = Vec::new();
        client.pump(&mut out, 500, &mut flight);
        let reaches = out.len().min(left);
        server.receive(&out[..reaches]);
        left -= reaches;
        let dies = left == 0;
        let mut replies = std::mem::take(&mut server.replies);
        if let (true, Some(death)) = (dies, death) {
            replies.truncate(replies.len().saturating_sub(death.unheard));
        }
        client.feed(&replies.concat()).unwrap();
        while let Some(event) = client.poll_event() {
            if let Some((task, result)) = flight.on_event(event, &mut client) {
                let number = sealed
                    .batches
                    .iter()
                    .position(|batch| batch.id == task.batch.id)
                    .unwrap();
                landed.push((number, result.unwrap().ending));
            }
        }
        if dies || flight.is_empty() {
            break;
        }
    }
    // The server closes what a lost connection had open.
    server.break_off();
    let recorded = landed
        .len()
        .saturating_sub(death.map_or(0, |death| death.unrecorded));
    landed.truncate(recorded);
    landed
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
        fsync in any::<bool>(),
    ) {
        let sealed = Sealed::new(&lens);
        let extensions = if fsync { vec![("fsync@openssh.com", "1")] } else { Vec::new() };
        let mut server = FakeServer::new(Ways { extensions, ..Ways::default() });
        let mut missing: Vec<_> = (0..lens.len()).collect();
        for death in deaths.into_iter().map(Some).chain([None]) {
            let before = server.files.clone();
            let recorded = live(&sealed, &missing, &mut server, death);
            for (path, text) in before.iter().filter(|(path, _)| path.strip_suffix(".part").is_none()) {
                prop_assert_eq!(server.files.get(path), Some(text), "a published file was touched");
            }
            missing.retain(|number| recorded.iter().all(|(recorded, _)| recorded != number));
        }
        prop_assert_eq!(missing, Vec::<usize>::new());
        prop_assert_eq!(&server.files, &sealed.published());
    }
}

/// The same, at each byte in turn: no step is left out by chance.
#[test]
fn no_byte_is_a_wrong_moment_to_die() {
    let sealed = Sealed::new(&[150, 1100, 0]);
    let mut whole = FakeServer::new(Ways::default());
    live(&sealed, &[0, 1, 2], &mut whole, None);
    let all = whole.received;
    for sent in (1..all).step_by(3) {
        for unheard in [0, 100] {
            let mut server = FakeServer::new(Ways::default());
            let death = Death {
                sent,
                unheard,
                unrecorded: 0,
            };
            let recorded = live(&sealed, &[0, 1, 2], &mut server, Some(death));
            let missing: Vec<_> = (0..3)
                .filter(|n| recorded.iter().all(|(it, _)| it != n))
                .collect();
            live(&sealed, &missing, &mut server, None);
            assert_eq!(server.files, sealed.published(), "after {sent} bytes");
        }
    }
}

#[test]
fn beginning_that_is_the_batchs_is_not_sent_again() {
    let sealed = Sealed::new(&[3000]);
    let part = format!("/drop/{}.part", sealed.batches[0].file_name());
    let sent_for = |left_there: &[u8]| {
        let mut server = FakeServer::new(Ways::default());
        server.files.insert(part.clone(), left_there.to_vec());
        live(&sealed, &[0], &mut server, None);
        assert_eq!(server.files, sealed.published());
        server.received
    };
    let (text, mut spoiled) = (&sealed.texts[0], sealed.texts[0][..2500].to_vec());
    spoiled[1999] ^= 1;
    let (whole, most, some) = (sent_for(b"x"), sent_for(&text[..2500]), sent_for(&spoiled));
    assert!(most + 1500 < whole, "{most} of {whole}");
    assert!(some > most && some + 1000 < whole, "{some} of {whole}");
}

#[test]
fn stranger_under_the_name_is_left_alone_and_others_pass() {
    let sealed = Sealed::new(&[150, 150, 150]);
    let mut server = FakeServer::new(Ways::default());
    let taken = format!("/drop/{}", sealed.batches[1].file_name());
    server.files.insert(taken.clone(), vec![b'x'; 150]);
    let (mut client, mut flight) = (Client::new(LIMITS), Flight::default());
    for number in 0..3 {
        assert!(flight.launch(sealed.attempt(number), &mut client).is_none());
    }
    let mut refused = 0;
    while !flight.is_empty() {
        let mut out = Vec::new();
        client.pump(&mut out, 500, &mut flight);
        server.receive(&out);
        client
            .feed(&std::mem::take(&mut server.replies).concat())
            .unwrap();
        while let Some(event) = client.poll_event() {
            if let Some((_, Err(error))) = flight.on_event(event, &mut client) {
                assert!(matches!(error, DeliveryError::NameTaken { .. }), "{error:?}");
                refused += 1;
            }
        }
    }
    let mut expected = sealed.published();
    expected.insert(taken, vec![b'x'; 150]);
    assert_eq!((refused, server.files), (1, expected));
}
