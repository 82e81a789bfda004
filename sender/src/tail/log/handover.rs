//! Hands files and streams to the log that they are of now.
//!
//! A log may have got a new name in the configuration, logs may have changed their paths, and a file may be moved from the
//! name of one log to that of another. What is known of a file then goes with the file: its stream goes on where it was.

use std::collections::BTreeSet;

use logferry_config as config;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::{FileKey, Head};

use crate::checkpoint::{Checkpoint, FormerName, ShippedArchive};
use crate::files::FileHandle;
use crate::files::discovery::LogPatterns;
use crate::streams::orphan::OrphanStream;
use crate::streams::tracked_stream::StreamPosition;
use crate::tail::log::TailedLog;
use crate::tail::log::losses::MissingFile;
use crate::tail::tracked_file::{CompressedState, FileState, TrackedFile};

/// What is known of a file.
#[derive(Debug)]
pub(crate) enum Handover {
    Stream(OrphanStream),
    Missing(MissingFile),
    /// A compressed file that was shipped.
    Shipped(ShippedArchive),
}

impl Handover {
    pub(crate) fn file(&self) -> FileKey {
        match self {
            Self::Stream(orphan) => orphan.file,
            Self::Missing(missing) => missing.file.file,
            Self::Shipped(archive) => archive.stat.key,
        }
    }

    /// Beginning of the file, and the bytes that it must hold.
    fn contents(&self) -> Option<(Head, Option<StreamPosition>)> {
        match self {
            Self::Stream(orphan) => Some((orphan.stream.head, Some(orphan.stream.acked))),
            Self::Missing(missing) => Some((missing.file.head, None)),
            Self::Shipped(_) => None,
        }
    }
}

/// The parts of a checkpoint.
#[derive(Debug)]
pub(crate) struct CheckpointShares {
    /// For each log of the configuration.
    pub(crate) of_logs: Vec<Checkpoint>,
    /// Of logs that the configuration does not have any more, and whose paths no other log finds. Their files may have been
    /// moved, too.
    pub(crate) unclaimed: Vec<Handover>,
}

/// Gives each entry to the first log that finds its path, or else to the log of its name.
pub(crate) fn share(checkpoint: &Checkpoint, logs: &[config::LogSettings]) -> CheckpointShares {
    let patterns: Vec<LogPatterns> = logs.iter().map(LogPatterns::of_log).collect();
    let share = Checkpoint {
        seen_logs: checkpoint.seen_logs.clone(),
        stopped_at: checkpoint.stopped_at,
        ..Checkpoint::default()
    };
    let (mut of_logs, mut unclaimed) = (vec![share; logs.len()], Vec::new());
    for saved in &checkpoint.former_names {
        let log = logs.iter().position(|log| log.path == saved.path);
        if let Some(share) = log.and_then(|log| of_logs.get_mut(log)) {
            share.former_names.push(saved.clone());
        }
    }
    let mut share_of = |name: &LogName, path: &str, give: &mut dyn FnMut(&mut Checkpoint)| {
        let finder = patterns
            .iter()
            .position(|patterns| patterns.includes(path.as_ref()));
        let owner = finder.or_else(|| logs.iter().position(|log| log.name == *name));
        let owner = owner.and_then(|owner| Some((of_logs.get_mut(owner)?, logs.get(owner)?)));
        owner.map(|(share, log)| {
            note_name(&mut share.former_names, log, name);
            give(share);
        })
    };
    for saved in &checkpoint.streams {
        let give = &mut |share: &mut Checkpoint| share.streams.push(saved.clone());
        if share_of(&saved.log, &saved.path, give).is_none() {
            let orphan = OrphanStream::from_checkpoint(saved.clone(), checkpoint.stopped_at);
            unclaimed.push(Handover::Stream(orphan));
        }
    }
    for saved in &checkpoint.archives {
        let give = &mut |share: &mut Checkpoint| share.archives.push(saved.clone());
        if share_of(&saved.log, &saved.path, give).is_none() {
            unclaimed.push(Handover::Shipped(saved.clone()));
        }
    }
    for saved in &checkpoint.unsent {
        let give = &mut |share: &mut Checkpoint| share.unsent.push(saved.clone());
        if share_of(&saved.log, &saved.path, give).is_none() {
            unclaimed.push(Handover::Missing(MissingFile::new(saved.clone())));
        }
    }
    for saved in &checkpoint.former {
        let give = &mut |share: &mut Checkpoint| share.former.push(saved.clone());
        share_of(&saved.log, &saved.path, give);
    }
    for saved in &checkpoint.held {
        let give = &mut |share: &mut Checkpoint| share.held.push(saved.clone());
        share_of(&saved.log, &saved.path, give);
    }
    for saved in &checkpoint.unopened {
        let give = &mut |share: &mut Checkpoint| share.unopened.push(saved.clone());
        share_of(&saved.log, &saved.path, give);
    }
    for saved in &checkpoint.skipped {
        let give = &mut |share: &mut Checkpoint| share.skipped.push(saved.clone());
        share_of(&saved.log, &saved.path, give);
    }
    CheckpointShares { of_logs, unclaimed }
}

/// Notes the name that a log had. The latest names count.
fn note_name(former: &mut Vec<FormerName>, log: &config::LogSettings, name: &LogName) {
    if log.name == *name || former.iter().any(|known| known.name == *name) {
        return;
    }
    tracing::info!(
        log = %log.name, former = %name, path = log.path,
        "log `{}` was named `{name}` before: its streams go on, and what was delivered is not delivered again", log.name
    );
    former.insert(
        0,
        FormerName {
            path: log.path.clone(),
            name: name.clone(),
        },
    );
    former.truncate(FORMER_NAMES_MAX);
}

/// Most former names of a log. The relay is asked for each file under each of them.
const FORMER_NAMES_MAX: usize = 4;

impl<H: FileHandle> TailedLog<H> {
    /// Gives up the files that another log has found in this scan, before that log opens them.
    pub(crate) fn give_up(&mut self, is_lost: impl Fn(FileKey) -> bool) -> Vec<Handover> {
        let mut given = Vec::new();
        for mut file in self.files.extract_if(.., |file| is_lost(file.stat.key)) {
            if let FileState::Compressed(CompressedState::Shipped { of: stream, .. }) = file.state {
                given.push(Handover::Shipped(file.as_shipped(&self.name, stream)));
            }
            let parted = file.take_parted();
            let orphans = parted.into_iter().chain(file.take_orphan());
            given.extend(orphans.map(Handover::Stream));
        }
        let shipped = self.shipped.extract_if(.., |known| is_lost(known.stat.key));
        given.extend(shipped.map(Handover::Shipped));
        given
    }

    /// Gives up what the checkpoint says about files that another log has opened in this scan.
    pub(crate) fn give_up_checkpointed(&mut self, is_held: impl Fn(&Handover) -> bool) -> Vec<Handover> {
        let mut given = Vec::new();
        for orphan in std::mem::take(&mut self.orphans) {
            let is_from_checkpoint = orphan.is_from_checkpoint;
            match Handover::Stream(orphan) {
                it if is_from_checkpoint && is_held(&it) => given.push(it),
                Handover::Stream(orphan) => self.orphans.push(orphan),
                _ => {}
            }
        }
        for missing in std::mem::take(&mut self.missing) {
            match Handover::Missing(missing) {
                it if is_held(&it) && !self.may_hold(&it) => given.push(it),
                Handover::Missing(missing) => self.missing.push(missing),
                _ => {}
            }
        }
        given
    }

    /// Takes over what is known of a file. `scanned` says whether the folders were searched since.
    pub(crate) fn take_over(&mut self, known: Handover, scanned: bool) {
        match known {
            Handover::Stream(mut orphan) => {
                if scanned {
                    orphan.scanned();
                }
                self.orphans.push(orphan);
            }
            Handover::Missing(missing) => self.missing.push(missing),
            Handover::Shipped(archive) => self.shipped.push(archive),
        }
    }

    /// The names that the relay may know streams of this log by; its own first.
    pub(crate) fn names(&self) -> Vec<LogName> {
        // A name that it has again was noted before.
        let former = self.former_names.iter().map(|former| &former.name);
        let former = former.filter(|former| **former != self.name);
        std::iter::once(&self.name).chain(former).cloned().collect()
    }

    /// The numbers of the files with this head, to look for their streams among those of the other logs.
    pub(crate) fn unidentified_files(&self, head: Head) -> Vec<FileKey> {
        let missing = self.missing.iter().map(|missing| &missing.file);
        let missing = missing.filter(|missing| missing.head == head);
        let is_asked =
            |file: &&TrackedFile<H>| matches!(file.state, FileState::Unidentified(own) if own == head);
        let files = self.files.iter().filter(is_asked);
        let files = files.map(|file| file.stat.key);
        files.chain(missing.map(|missing| missing.file)).collect()
    }

    /// Whether a file here may be the missing one, under another name or compressed.
    fn may_hold(&self, known: &Handover) -> bool {
        let Handover::Missing(missing) = known else {
            return false;
        };
        let mut files = self.files.iter();
        // What an archive holds is not known before it is examined.
        files.any(|file| file.is_waiting || file.size_if_alike(missing.file.head).is_some())
    }

    /// Whether the file that this was known of is here, with the same contents.
    pub(crate) fn has_contents(&self, known: &Handover) -> bool {
        let Some((head, position)) = known.contents() else {
            return false;
        };
        let mut files = self.files.iter().filter(|file| file.stat.key == known.file());
        files.any(|file| {
            let Some(text) = &file.handle else { return false };
            let begins_alike = text.begins_with(head);
            let is_long = match known {
                Handover::Missing(missing) => file.size() >= missing.file.size,
                _ => true,
            };
            is_long && begins_alike && position.is_none_or(|position| text.holds(position).unwrap_or(false))
        })
    }
}

/// Says once for each path that another log ships the file.
pub(crate) fn warn_of_double_match(
    warned: &mut BTreeSet<std::path::PathBuf>,
    path: std::path::PathBuf,
    log: &LogName,
    first: &LogName,
) {
    if warned.len() < WARNED_MAX && !warned.contains(&path) {
        tracing::warn!(
            path = %path.display(), %log, %first,
            "two logs of the configuration find {}: log `{first}` ships it, because it stands first, and log `{log}` leaves it \
             alone; change `path` or `rotated` of one of them so that only one finds it", path.display()
        );
        warned.insert(path);
    }
}

/// Most files of which it is said that two logs find them.
const WARNED_MAX: usize = 1000;
