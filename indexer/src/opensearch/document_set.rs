//! Documents that are sent together, and whose lines they are. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use logferry_ledger::BatchId;
use logferry_numbers::RefusedDocument;
use logferry_opensearch::{DocumentWriter, RefusedItem};

/// A document of the set.
struct SetDocument {
    id: String,
    /// Its action and itself in the request.
    bytes: Range<usize>,
    batch: BatchId,
    /// The first byte of its line in the batch.
    offset: u64,
}

/// Documents in the order in which they are sent.
#[derive(Default)]
pub(super) struct DocumentSet {
    request: Vec<u8>,
    documents: Vec<SetDocument>,
    has_more: bool,
}

/// A set that is whole.
pub(super) struct SealedSet {
    request: Bytes,
    documents: Vec<SetDocument>,
    /// Whether lines were left for the next set.
    pub(super) has_more: bool,
}

/// How much of a block of lines went into the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TakenLines {
    pub(super) bytes: usize,
    pub(super) lines: u64,
    /// Whether the set has no room for the next line.
    pub(super) is_full: bool,
}

impl DocumentSet {
    pub(super) fn len(&self) -> usize {
        self.request.len()
    }

    /// Adds lines, the first of which is at `offset` of its batch, as long as the set has at most `max_bytes`. A set without
    /// documents takes one of any size.
    pub(super) fn add_lines(
        &mut self,
        batch: BatchId,
        writer: &mut DocumentWriter<'_>,
        (lines, offset): (&[u8], u64),
        max_bytes: usize,
    ) -> serde_json::Result<TakenLines> {
        let mut taken = TakenLines {
            bytes: 0,
            lines: 0,
            is_full: false,
        };
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let start = self.request.len();
            let offset = offset.saturating_add(u64::try_from(taken.bytes).unwrap_or(0));
            let id = writer.append(line, offset, &mut self.request)?;
            if self.request.len() > max_bytes && !self.documents.is_empty() {
                self.request.truncate(start);
                taken.is_full = true;
                self.has_more = true;
                break;
            }
            self.documents.push(SetDocument {
                id,
                bytes: start..self.request.len(),
                batch,
                offset,
            });
            taken.bytes += line.len();
            taken.lines += 1;
        }
        Ok(taken)
    }

    pub(super) fn seal(self) -> SealedSet {
        SealedSet {
            request: Bytes::from(self.request),
            documents: self.documents,
            has_more: self.has_more,
        }
    }
}

impl SealedSet {
    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Each document's id, and its bytes in a request.
    pub(super) fn items(&self) -> impl Iterator<Item = (&str, usize)> {
        self.documents
            .iter()
            .map(|document| (document.id.as_str(), document.bytes.len()))
    }

    /// The request with these documents.
    pub(super) fn request(&self, numbers: &[usize]) -> Bytes {
        if numbers.len() == self.documents.len() {
            return self.request.clone();
        }
        let parts = numbers.iter().filter_map(|number| self.part(*number));
        Bytes::from(parts.flatten().copied().collect::<Vec<_>>())
    }

    /// A document's id, and the batch of its line.
    pub(super) fn line_of(&self, number: usize) -> Option<(&str, BatchId)> {
        let document = self.documents.get(number)?;
        Some((&document.id, document.batch))
    }

    /// How many documents of each batch there are, but those that were refused.
    pub(super) fn taken(&self, refused: &[RefusedItem]) -> BTreeMap<BatchId, (u64, u64)> {
        let mut counts: BTreeMap<BatchId, (u64, u64)> = BTreeMap::new();
        for document in &self.documents {
            counts.entry(document.batch).or_default().0 += 1;
        }
        let refused = refused.iter().filter_map(|item| self.documents.get(item.number));
        for document in refused {
            let (taken, refused) = counts.entry(document.batch).or_default();
            *taken = taken.saturating_sub(1);
            *refused += 1;
        }
        counts
    }

    /// The refusals with their documents, to be set aside.
    pub(super) fn refused(&self, refused: Vec<RefusedItem>) -> Vec<(BatchId, RefusedDocument)> {
        let set_aside = |item: RefusedItem| {
            let document = self.documents.get(item.number)?;
            let text = self.part(item.number)?;
            // The action is the line before the document.
            let start = text
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let (batch, _) = document.id.rsplit_once('@')?;
            let refused = RefusedDocument {
                batch: batch.to_owned(),
                from: document.offset,
                status: item.status,
                reason: item.reason,
                document: text.get(start..)?.trim_ascii_end().to_vec(),
            };
            Some((document.batch, refused))
        };
        refused.into_iter().filter_map(set_aside).collect()
    }

    fn part(&self, number: usize) -> Option<&[u8]> {
        self.request.get(self.documents.get(number)?.bytes.clone())
    }
}
