//! Sealed batches on this machine, and what the ledger would note of them.

use std::collections::BTreeMap;

use logferry_ledger::{Batch, BatchContents, BatchId, PublishedBatch, PublishingNote};
use logferry_sftp::SftpClient;
use tempfile::TempDir;

use super::fake::FakeServer;
use super::places::Place;
use crate::publish::attempt::{AttemptNeed, PublishAttempt};
use crate::publish::batch_manifest;
use crate::publish::remote_paths::RemotePaths;
use crate::schedule::plan::DeliveryTask;
use crate::schedule::plan::tests::{batches, destination};
use crate::session::in_flight::{AttemptsInFlight, Completed};
use crate::source::SourceFile;

/// Sealed batches in a folder of this machine, and what the ledger notes of their publication.
pub(super) struct Sealed {
    dir: TempDir,
    pub(super) batches: Vec<Batch>,
    pub(super) texts: Vec<Vec<u8>>,
    place: Place,
    pub(super) notes: BTreeMap<usize, Option<PublishingNote>>,
}

impl Sealed {
    pub(super) fn new(lens: &[usize], place: Place) -> Self {
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
            place,
            notes: BTreeMap::new(),
        }
    }

    pub(super) fn server(&self) -> FakeServer {
        FakeServer::new(self.place.ways.clone())
    }

    pub(super) fn number(&self, batch: BatchId) -> usize {
        self.batches.iter().position(|it| it.id == batch).unwrap()
    }

    pub(super) fn attempt(&self, number: usize) -> PublishAttempt {
        let batch = self.batches[number].clone();
        let file = SourceFile::open(&self.dir.path().join(batch.file_name()), batch.contents).unwrap();
        let Place {
            publish_method,
            publish,
            ..
        } = self.place.clone();
        let names = RemotePaths::of(&batch, &destination(publish.clone()));
        let task = DeliveryTask {
            batch,
            attempts: 0,
            publishing: self.notes.get(&number).cloned().flatten(),
        };
        PublishAttempt::new(task, names, publish, publish_method, file)
    }

    /// Does what attempts need besides; those that come to their ends.
    pub(super) fn fulfil_all(
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
                    AttemptNeed::Note(batch, file) => {
                        self.notes.insert(self.number(batch), file);
                        attempt.on_noted();
                    }
                    AttemptNeed::Hash { .. } => attempt.on_hash(None),
                }
                completed.extend(in_flight.start(attempt, client));
            }
        }
    }

    /// What is to be in the drop in the end.
    pub(super) fn published(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (batch, text) in self.batches.iter().zip(&self.texts) {
            let path = format!("/drop/{}", batch.file_name());
            if self.place.publish.manifest {
                let sha256 = SourceFile::from_bytes("", text.clone())
                    .read_whole()
                    .unwrap()
                    .hex();
                let published = PublishedBatch {
                    path: path.clone(),
                    bytes: text.len() as u64,
                    file_sha256: sha256.clone(),
                    sha256,
                };
                let manifest = batch_manifest::text(batch, &published);
                files.insert(format!("/drop/{}.json", batch.name()), manifest);
            }
            if let Some(marker) = &self.place.publish.marker {
                files.insert(format!("{path}{marker}"), Vec::new());
            }
            files.insert(path, text.clone());
        }
        files
    }
}
