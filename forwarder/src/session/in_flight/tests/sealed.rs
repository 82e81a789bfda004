//! Items to deliver on this machine, and the notes that the ledger would have of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_config::Publishing;
use logferry_ledger::{
    Batch, BatchContents, DeliveryCertainty, Ledger, ManifestRecord, NewManifest, PublishedBatch,
    PublishingNote,
};
use logferry_sftp::SftpClient;
use logferry_spool::BatchReader;
use tempfile::TempDir;

use super::fake::FakeServer;
use super::server_kinds::ServerKind;
use crate::publish::attempt::{AttemptNeed, PublishAttempt};
use crate::publish::batch_manifest;
use crate::publish::remote_paths::RemotePaths;
use crate::publish::task::{DeliveryId, DeliveryItem, DeliveryTask};
use crate::schedule::plan::tests::{batches, destination};
use crate::session::in_flight::{AttemptsInFlight, Completed};
use crate::source::SourceFile;

/// The text of the window manifest.
pub(super) const MANIFEST: &[u8] = b"{\"window\": 1}\n";

/// Sealed batches in a folder of this machine and a window manifest, which has the number after the last batch; and the
/// notes of their publication.
pub(super) struct Sealed {
    dir: TempDir,
    pub(super) batches: Vec<Batch>,
    pub(super) texts: Vec<Vec<u8>>,
    manifest: ManifestRecord,
    kind: ServerKind,
    pub(super) notes: BTreeMap<usize, Option<PublishingNote>>,
}

impl Sealed {
    pub(super) fn new(lens: &[usize], kind: ServerKind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut batches = batches(&vec![0; lens.len()]);
        let text = |(number, &len): (usize, &usize)| -> Vec<u8> {
            (0..len)
                .map(|at| u8::try_from((at / 7 * 13 + number) % 251).unwrap())
                .collect()
        };
        let texts: Vec<_> = lens.iter().enumerate().map(text).collect();
        for (batch, text) in batches.iter_mut().zip(&texts) {
            batch.contents = BatchContents {
                lines: 1,
                bytes: text.len() as u64,
                crc32c: crc32c::crc32c(text),
            };
            std::fs::write(dir.path().join(batch.file_name()), text).unwrap();
        }
        Self {
            dir,
            batches,
            texts,
            manifest: manifest(),
            kind,
            notes: BTreeMap::new(),
        }
    }

    /// Changes a byte of a batch's file on this machine.
    pub(super) fn damage(&self, number: usize) {
        let mut text = self.texts[number].clone();
        text[0] ^= 1;
        std::fs::write(self.dir.path().join(self.batches[number].file_name()), text).unwrap();
    }

    /// How many items there are.
    pub(super) fn count(&self) -> usize {
        self.batches.len() + 1
    }

    pub(super) fn server(&self) -> FakeServer {
        FakeServer::new(self.kind.behaviour.clone())
    }

    pub(super) fn number(&self, id: DeliveryId) -> usize {
        let batch = self.batches.iter().position(|it| DeliveryId::Batch(it.id) == id);
        batch.unwrap_or(self.batches.len())
    }

    pub(super) fn attempt(&self, number: usize) -> PublishAttempt {
        let ServerKind { method, publish, .. } = self.kind.clone();
        let destination = destination(publish.clone());
        let (item, paths, publish, file) = if let Some(batch) = self.batches.get(number) {
            let path = self.dir.path().join(batch.file_name());
            let file = BatchReader::plain(std::fs::File::open(&path).unwrap());
            let file = SourceFile::from_reader(path, file, batch.contents).unwrap();
            let paths = RemotePaths::of_batch(batch, &destination);
            (DeliveryItem::Batch(batch.clone()), paths, publish, file)
        } else {
            let paths = RemotePaths::of_window_manifest(&self.manifest, &destination);
            let file = SourceFile::from_bytes(&paths.published, MANIFEST.to_vec());
            let alone = Publishing {
                manifest: false,
                marker: None,
                ..publish
            };
            (
                DeliveryItem::WindowManifest(self.manifest.clone()),
                paths,
                alone,
                file,
            )
        };
        let task = DeliveryTask {
            item,
            attempts: 0,
            file: None,
            publishing: self.notes.get(&number).cloned().flatten(),
        };
        PublishAttempt::new(task, paths, publish, method, file)
    }

    /// Provides what attempts need; returns those that end.
    pub(super) fn provide_needs(
        &mut self,
        in_flight: &mut AttemptsInFlight,
        client: &mut SftpClient,
    ) -> Vec<Completed> {
        let mut completed = Vec::new();
        loop {
            let blocked = in_flight.take_blocked();
            if blocked.is_empty() {
                return completed;
            }
            for mut attempt in blocked {
                match attempt.need().unwrap() {
                    AttemptNeed::Note(id, note) => {
                        self.notes.insert(self.number(id), note);
                        attempt.on_noted();
                    }
                    AttemptNeed::Hash { .. } => attempt.on_hash(None),
                }
                completed.extend(in_flight.start(attempt, client));
            }
        }
    }

    /// The files at the destination once all items are delivered.
    pub(super) fn published(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.published_batches();
        files.insert(format!("/drop/{}", self.manifest.name), MANIFEST.to_vec());
        files
    }

    /// The same without the window manifest.
    pub(super) fn published_batches(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (batch, text) in self.batches.iter().zip(&self.texts) {
            let path = format!("/drop/{}", batch.file_name());
            if self.kind.publish.manifest {
                let sha256 = SourceFile::from_bytes("", text.clone())
                    .read_whole()
                    .unwrap()
                    .hex();
                let published = PublishedBatch {
                    certainty: DeliveryCertainty::Published,
                    path: path.clone(),
                    bytes: text.len() as u64,
                    file_sha256: sha256.clone(),
                    sha256,
                };
                let manifest = batch_manifest::text(batch, &published);
                files.insert(format!("/drop/{}.json", batch.name()), manifest);
            }
            if let Some(marker) = &self.kind.publish.marker {
                files.insert(format!("{path}{marker}"), Vec::new());
            }
            files.insert(path, text.clone());
        }
        files
    }
}

/// A window manifest from a ledger: only a ledger numbers them.
fn manifest() -> ManifestRecord {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open_or_create(dir.path()).unwrap();
    let edw = "edw".parse().unwrap();
    let new = NewManifest {
        window: batches(&[0])[0].window,
        revision: 1,
        name: "W.json".to_owned(),
        content: String::from_utf8(MANIFEST.to_vec()).unwrap(),
        batches: Vec::new(),
    };
    ledger.add_manifest(&edw, &new, Timestamp::UNIX_EPOCH).unwrap();
    ledger.waiting_manifests(&edw).unwrap().remove(0)
}
