//! How an attempt begins, by the note that an earlier one left in the ledger. Pure.

use logferry_config::VerifyMode;
use logferry_ledger::{DeliveryCertainty, PublishedFile, PublishingNote};

use super::publish_steps::{
    EarlierAttempts, PublishMethod, PublishOutcome, PublishSteps, TEMPORARY_NAMES_MAX,
};
use super::remote_paths::RemotePaths;

/// The note about this place, if there is one, with the number of its temporary name; 0 for none.
#[derive(Debug)]
pub(super) struct EarlierNote(Option<(PublishingNote, u8)>);

impl EarlierNote {
    /// A note about another place says nothing about this one.
    pub(super) fn of(note: Option<&PublishingNote>, paths: &RemotePaths) -> Self {
        Self(note.and_then(|note| {
            let number = (0..=TEMPORARY_NAMES_MAX).find(|number| note.place == paths.place(*number))?;
            Some((note.clone(), number))
        }))
    }

    /// The steps for one of the files.
    pub(super) fn steps(
        &self,
        file_kind: PublishedFile,
        verify: VerifyMode,
        method: PublishMethod,
        len: u64,
    ) -> PublishSteps {
        let earlier = match &self.0 {
            Some((note, _)) if is_published(note, file_kind) => {
                let outcome = match file_kind {
                    PublishedFile::Batch => outcome_before(note),
                    // The attempt that went on from it has told the rest.
                    PublishedFile::Manifest | PublishedFile::Marker => PublishOutcome::Published,
                };
                return PublishSteps::over(len, outcome);
            }
            Some((note, number)) => earlier_attempts(note, *number, file_kind),
            None => EarlierAttempts::None,
        };
        PublishSteps::new(len, verify, method, earlier)
    }

    /// How it is known that the batch is published. What an earlier attempt knew counts: it may have seen more.
    pub(super) fn certainty(&self, outcome: PublishOutcome) -> DeliveryCertainty {
        let note = self.0.as_ref().map(|(note, _)| note);
        let known = note.and_then(|note| note.batch);
        match outcome {
            PublishOutcome::TakenAway => known.unwrap_or(DeliveryCertainty::Presumed),
            PublishOutcome::FoundThere if known == Some(DeliveryCertainty::Found) => DeliveryCertainty::Found,
            // Its name was free when an earlier attempt noted the rename: so that was done, and its answer was lost.
            PublishOutcome::FoundThere
                if note.is_some_and(|note| note.file == Some(PublishedFile::Batch)) =>
            {
                DeliveryCertainty::Published
            }
            PublishOutcome::FoundThere => DeliveryCertainty::Found,
            _ => DeliveryCertainty::Published,
        }
    }
}

/// Whether an earlier attempt had published this file when it made the note: it went on to a later one, or gave up at one beside
/// the batch.
fn is_published(note: &PublishingNote, file_kind: PublishedFile) -> bool {
    note.file > Some(file_kind) || (file_kind == PublishedFile::Batch && note.batch.is_some())
}

/// What a note says about a file that it does not call published.
fn earlier_attempts(note: &PublishingNote, number: u8, file_kind: PublishedFile) -> EarlierAttempts {
    let is_batch = file_kind == PublishedFile::Batch;
    match (note.file, note.batch) {
        (None, _) if is_batch => EarlierAttempts::GaveUp(number),
        // The attempt gave up at a file beside the batch; the number is of that file.
        (Some(PublishedFile::Batch), Some(_)) if number > 0 => EarlierAttempts::GaveUp(number),
        (Some(file), _) if file == file_kind => EarlierAttempts::Noted(number.max(1)),
        _ => EarlierAttempts::None,
    }
}

/// How an earlier attempt published the batch, before it noted one of the files beside it.
fn outcome_before(note: &PublishingNote) -> PublishOutcome {
    match note.batch {
        Some(DeliveryCertainty::Published) => PublishOutcome::Published,
        Some(DeliveryCertainty::Presumed) => PublishOutcome::TakenAway,
        // Programs before this one did not note it.
        Some(DeliveryCertainty::Found) | None => PublishOutcome::FoundThere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::publish_steps::PublishStep;
    use crate::schedule::plan::tests::{batches, destination};

    fn paths() -> RemotePaths {
        RemotePaths::of_batch(
            &batches(&[0])[0],
            &destination(logferry_config::Publishing::default()),
        )
    }

    fn note(file: Option<PublishedFile>, batch: Option<DeliveryCertainty>) -> EarlierNote {
        let place = paths().place(1);
        EarlierNote::of(Some(&PublishingNote { file, place, batch }), &paths())
    }

    /// The certainty of a batch that an earlier attempt published, when this one begins after a file beside it was noted.
    fn after_manifest(batch: Option<DeliveryCertainty>) -> DeliveryCertainty {
        let earlier = note(Some(PublishedFile::Manifest), batch);
        let steps = earlier.steps(PublishedFile::Batch, VerifyMode::Size, PublishMethod::Rename, 9);
        let PublishStep::End(outcome) = steps.step() else {
            panic!("{steps:?}");
        };
        earlier.certainty(outcome)
    }

    #[test]
    fn what_was_known_of_the_batch_outlives_a_break_at_the_file_after_it() {
        for certainty in [
            DeliveryCertainty::Published,
            DeliveryCertainty::Found,
            DeliveryCertainty::Presumed,
        ] {
            assert_eq!(after_manifest(Some(certainty)), certainty);
        }
    }

    #[test]
    fn batch_that_is_there_after_its_rename_was_noted_was_published() {
        let noted = note(Some(PublishedFile::Batch), None);
        assert_eq!(
            noted.certainty(PublishOutcome::FoundThere),
            DeliveryCertainty::Published
        );
        assert_eq!(
            noted.certainty(PublishOutcome::TakenAway),
            DeliveryCertainty::Presumed
        );
        let gave_up = note(None, None);
        assert_eq!(
            gave_up.certainty(PublishOutcome::FoundThere),
            DeliveryCertainty::Found
        );
        let of_an_earlier_version = note(Some(PublishedFile::Manifest), None);
        assert_eq!(
            of_an_earlier_version.certainty(PublishOutcome::FoundThere),
            DeliveryCertainty::Found
        );
        let beside = note(Some(PublishedFile::Batch), Some(DeliveryCertainty::Found));
        assert_eq!(
            beside.certainty(PublishOutcome::FoundThere),
            DeliveryCertainty::Found
        );
    }

    #[test]
    fn batch_is_not_published_again_after_an_attempt_gave_up_at_a_file_beside_it() {
        let beside = note(Some(PublishedFile::Batch), Some(DeliveryCertainty::Published));
        let steps = beside.steps(PublishedFile::Batch, VerifyMode::Size, PublishMethod::Rename, 9);
        assert_eq!(steps.step(), PublishStep::End(PublishOutcome::Published));
    }

    #[test]
    fn attempt_after_one_that_gave_up_begins_at_the_next_temporary_name_of_that_file() {
        let begins = |earlier: &EarlierNote, file_kind| {
            let steps = earlier.steps(file_kind, VerifyMode::Size, PublishMethod::Rename, 9);
            steps.temporary()
        };
        let first = note(None, None);
        assert_eq!(begins(&first, PublishedFile::Batch), 2);
        assert_eq!(begins(&first, PublishedFile::Manifest), 1);
        let beside = note(Some(PublishedFile::Batch), Some(DeliveryCertainty::Published));
        assert_eq!(begins(&beside, PublishedFile::Manifest), 2);
    }
}
