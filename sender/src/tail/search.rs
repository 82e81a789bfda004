//! The search of the folders: which log each file is of, with all that is known of the file.

use logferry_protocol::stream::FileKey;

use super::Tailer;
use crate::clock::Now;
use crate::files::FileSystem;
use crate::files::claims::FileClaims;
use crate::files::discovery::FileRole;
use crate::tail::log::TailedLog;
use crate::tail::log::handover::{Handover, warn_of_double_match};

impl<F: FileSystem> Tailer<F> {
    /// Searches the folders. Each file goes to the first log that finds it, with all that is known of it.
    pub(super) fn scan(&mut self, now: Now) {
        let mut claims = FileClaims::default();
        let mut found = Vec::new();
        for index in 0..self.logs.len() {
            let mut files = self.logs[index].search(&self.files);
            for file in claims.claim(index, &mut files) {
                let (log, first) = (&self.logs[index].name, claims.owner(file.stat.key));
                if let Some(first) = first.and_then(|first| self.logs.get(first)) {
                    warn_of_double_match(&mut self.double_matches, file.path, log, &first.name);
                }
            }
            found.push(files);
        }
        let unclaimed = std::mem::take(&mut self.unclaimed).into_iter();
        let (shipped, unclaimed): (Vec<_>, Vec<_>) =
            unclaimed.partition(|known| matches!(known, Handover::Shipped(_)));
        self.hand_over(&claims, shipped, false);
        let is_of_other = |file: FileKey, own: usize| claims.owner(file).is_some_and(|owner| owner != own);
        for own in 0..self.logs.len() {
            let given = self.logs[own].give_up(|file| is_of_other(file, own));
            self.hand_over(&claims, given, false);
        }
        let live = found.iter().flatten().filter(|file| file.role == FileRole::Live);
        let mut budget = self.handle_budget(live.count());
        for (log, found) in self.logs.iter_mut().zip(found) {
            log.take_found(&self.files, found, &mut budget, now);
        }
        let live = self.logs.iter().map(TailedLog::live_count).sum();
        self.logs.iter_mut().for_each(|log| log.share_marks(live));
        // The numbers of files are used again, so the contents are compared.
        let mut given = unclaimed;
        given.retain(|known| self.logs.iter().any(|log| log.has_contents(known)));
        for own in 0..self.logs.len() {
            let (before, rest) = self.logs.split_at_mut(own);
            let Some((log, after)) = rest.split_first_mut() else {
                continue;
            };
            given.extend(log.give_up_checkpointed(|known| {
                let mut others = before.iter().chain(&*after);
                is_of_other(known.file(), own) && others.any(|other| other.has_contents(known))
            }));
        }
        self.hand_over(&claims, given, true);
        for log in self.logs.iter_mut() {
            log.find_unsent_losses(now);
        }
    }

    fn hand_over(&mut self, claims: &FileClaims, given: Vec<Handover>, scanned: bool) {
        for known in given {
            let owner = claims.owner(known.file());
            if let Some(log) = owner.and_then(|owner| self.logs.get_mut(owner)) {
                log.take_over(known, scanned);
            }
        }
    }
}
