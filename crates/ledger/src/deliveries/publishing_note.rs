//! What an attempt at a destination leaves in the ledger for the next one, before its result is recorded.
//!
//! In the columns, `publishing` names the file and `publishing_place` the place. A word on a second line of the place says
//! more; programs from before it take such a note for one about another place, and look at the destination themselves.

use std::fmt;

use rusqlite::{Result as SqlResult, Row};
use serde::{Deserialize, Serialize};

use crate::row;

/// Set for a window manifest whose attempt gave up: its table has no column for the file.
const GAVE_UP: &str = "gave up";

/// How a delivery is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryCertainty {
    /// The file was published: the server said so, or it was there after its rename to a free name was noted.
    Published,
    /// The file was there, with the same bytes.
    Found,
    /// The file may have been published before a crash, and is gone. Its receiver has probably taken it.
    Presumed,
}

/// The files that are published for a batch, in the order in which they appear at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishedFile {
    /// The batch's lines.
    Batch,
    /// The description of the batch.
    Manifest,
    /// An empty file that shows that the others are complete.
    Marker,
}

impl fmt::Display for PublishedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What an attempt without a record may have done at the destination, or may still do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishingNote {
    /// The file that may have been given its final name; those before it are published. `None`: the attempt gave up before
    /// any was, and its requests to remove the temporary files up to `place` may still be carried out.
    pub file: Option<PublishedFile>,
    /// Server and path of the batch. The note does not count for another place.
    pub place: String,
    /// How it is known that the batch itself is published; `None` before it is.
    pub batch: Option<DeliveryCertainty>,
}

impl PublishingNote {
    /// Of the table with a column for the file.
    pub(crate) fn from_row(row: &Row<'_>) -> SqlResult<Option<Self>> {
        let file = row::optional_variant(row, "publishing")?;
        let place: Option<String> = row.get("publishing_place")?;
        Ok(place.map(|text| {
            let (place, word) = split(&text);
            Self {
                file,
                place: place.to_owned(),
                batch: word.and_then(certainty),
            }
        }))
    }

    /// Of the table without a column for the file.
    pub(crate) fn from_place(row: &Row<'_>) -> SqlResult<Option<Self>> {
        let text: Option<String> = row.get("publishing_place")?;
        Ok(text.map(|text| {
            let (place, word) = split(&text);
            Self {
                file: (word != Some(GAVE_UP)).then_some(PublishedFile::Batch),
                place: place.to_owned(),
                batch: None,
            }
        }))
    }

    /// The text of `publishing_place`, beside a column for the file.
    pub(crate) fn place_text(&self) -> String {
        match self.batch {
            Some(batch) => format!("{}\n{}", self.place, word(batch)),
            None => self.place.clone(),
        }
    }

    /// The same without such a column.
    pub(crate) fn place_text_alone(&self) -> String {
        match self.file {
            Some(_) => self.place.clone(),
            None => format!("{}\n{GAVE_UP}", self.place),
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once('\n')
        .map_or((text, None), |(place, word)| (place, Some(word)))
}

fn word(certainty: DeliveryCertainty) -> &'static str {
    match certainty {
        DeliveryCertainty::Published => "published",
        DeliveryCertainty::Found => "found",
        DeliveryCertainty::Presumed => "presumed",
    }
}

fn certainty(text: &str) -> Option<DeliveryCertainty> {
    let all = [
        DeliveryCertainty::Published,
        DeliveryCertainty::Found,
        DeliveryCertainty::Presumed,
    ];
    all.into_iter().find(|certainty| word(*certainty) == text)
}

#[cfg(test)]
mod tests {
    use crate::NewManifest;
    use crate::tests::{TestResult, ledger, new_batch, now};

    use super::*;

    #[test]
    fn notes_of_batches_come_back_as_they_were_made() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let (batch, edw) = (ledger.open_batch(&new_batch(), now())?.id, "edw".parse()?);
        let certainties = [
            None,
            Some(DeliveryCertainty::Published),
            Some(DeliveryCertainty::Found),
            Some(DeliveryCertainty::Presumed),
        ];
        for file in [None, Some(PublishedFile::Batch), Some(PublishedFile::Marker)] {
            for certainty in certainties {
                let note = PublishingNote {
                    file,
                    place: "ferry@host:22 /drop/x.log.2.part".to_owned(),
                    batch: certainty,
                };
                ledger.note_publishing(&edw, &[(batch, Some(note.clone()))])?;
                let found = ledger.delivery(batch, &edw)?.ok_or("no delivery")?;
                assert_eq!(found.publishing, Some(note));
            }
        }
        ledger.note_publishing(&edw, &[(batch, None)])?;
        assert_eq!(ledger.delivery(batch, &edw)?, None, "it said nothing else");
        Ok(())
    }

    #[test]
    fn notes_of_window_manifests_come_back_as_they_were_made() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let edw = "edw".parse()?;
        let manifest = NewManifest {
            window: new_batch().window,
            revision: 1,
            name: "W.json".to_owned(),
            content: "{}".to_owned(),
            batches: Vec::new(),
        };
        ledger.add_manifest(&edw, &manifest, now())?;
        let id = ledger.waiting_manifests(&edw)?[0].id;
        for file in [None, Some(PublishedFile::Batch)] {
            let note = PublishingNote {
                file,
                place: "ferry@host:22 /drop/W.json.part".to_owned(),
                batch: None,
            };
            ledger.note_manifest_publishing(&[(id, Some(note.clone()))])?;
            assert_eq!(ledger.waiting_manifests(&edw)?[0].publishing, Some(note));
        }
        ledger.note_manifest_publishing(&[(id, None)])?;
        assert_eq!(ledger.waiting_manifests(&edw)?[0].publishing, None);
        Ok(())
    }
}
