//! What keeps the sender from its logs: when it is told, when it is over, and what a report says of it.
//!
//! [`LogProblems`] is pure: findings and the time come in, the news to be logged come out. A problem that comes while the
//! sender runs is told once it has lasted for [`GRACE`]: in a rotation a path names nothing for a moment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use logferry_protocol::heartbeat::{HostTime, LogProblem, LogProblemKind, PROBLEMS_MAX};

use crate::clock::Now;
use crate::files::FileSystem;
use crate::tail::Tailer;

/// How long a problem must last before it is told.
const GRACE: Duration = Duration::from_secs(5);
/// How often the paths are looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// Least time between two looks while something is wrong. A file that appears ends a problem at once.
const RECHECK_GAP: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct LogProblems {
    known: Vec<KnownProblem>,
    /// When the paths were last looked at; `None`: they never were.
    looked_at: Option<Instant>,
    /// Something was told since this was last asked.
    pub(super) has_news: bool,
}

#[derive(Debug)]
struct KnownProblem {
    problem: LogProblem,
    seen_at: Instant,
    is_told: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct ProblemNews {
    begun: Vec<LogProblem>,
    over: Vec<LogProblem>,
}

impl LogProblems {
    /// Whether the paths are to be looked at. `scanned_at`: when the folders were last searched.
    fn is_due(&self, scanned_at: Option<Instant>, now: Now) -> bool {
        let Some(looked_at) = self.looked_at else {
            return true;
        };
        let is_new = scanned_at.is_some_and(|scanned_at| scanned_at > looked_at);
        let gap = if is_new && !self.known.is_empty() {
            RECHECK_GAP
        } else {
            INTERVAL
        };
        now.instant >= looked_at + gap
    }

    /// Takes what is wrong now.
    fn update(&mut self, findings: Vec<LogProblem>, now: Now) -> ProblemNews {
        let is_first = self.looked_at.replace(now.instant).is_none();
        let mut before = std::mem::take(&mut self.known);
        let mut news = ProblemNews::default();
        for mut problem in findings.into_iter().take(PROBLEMS_MAX) {
            let is_same = |known: &KnownProblem| {
                let known = &known.problem;
                (&known.log, &known.path, known.kind) == (&problem.log, &problem.path, problem.kind)
            };
            let known = before
                .iter()
                .position(is_same)
                .map(|known| before.swap_remove(known));
            let seen_at = known.as_ref().map_or(now.instant, |known| known.seen_at);
            let since = known.as_ref().and_then(|known| known.problem.since);
            problem.since = since.or(Some(HostTime::from(now.wall)));
            let was_told = |known: KnownProblem| known.is_told && known.problem.reason == problem.reason;
            let was_told = known.is_some_and(was_told);
            let is_told = was_told || is_first || now.instant >= seen_at + GRACE;
            if is_told && !was_told {
                news.begun.push(problem.clone());
            }
            self.known.push(KnownProblem {
                problem,
                seen_at,
                is_told,
            });
        }
        news.over = before
            .into_iter()
            .filter(|known| known.is_told)
            .map(|known| known.problem)
            .collect();
        news
    }

    /// The problems that were told and are not over.
    pub(super) fn told(&self) -> impl Iterator<Item = &LogProblem> {
        let told = self.known.iter().filter(|known| known.is_told);
        told.map(|known| &known.problem)
    }
}

impl<F: FileSystem> Tailer<F> {
    /// Looks at the paths of the logs from time to time, and logs what has become wrong or right.
    pub(super) fn look_at_paths(&mut self, now: Now) {
        if !self.problems.is_due(self.last_scan, now) {
            return;
        }
        let files = &self.files;
        let findings = self.logs.iter().flat_map(|log| log.problems(files));
        let news = self.problems.update(findings.collect(), now);
        if news != ProblemNews::default() {
            self.heartbeat.next = now.instant;
            self.problems.has_news = true;
        }
        for LogProblem {
            log,
            path,
            kind,
            reason,
            ..
        } in &news.begun
        {
            // A log that is not written yet may be as it should be.
            if *kind == LogProblemKind::NoMatch {
                tracing::info!(%log, path, reason, "log {log} has no file: {path}: {reason}");
            } else {
                tracing::warn!(%log, path, reason, "log {log} is not shipped whole: {path}: {reason}");
            }
        }
        let over: BTreeSet<_> = news.over.iter().map(|over| (&over.log, &over.path)).collect();
        let is_other = |(log, path): &(_, _)| {
            !self
                .problems
                .told()
                .any(|told| (&told.log, &told.path) == (*log, *path))
        };
        for (log, path) in over.into_iter().filter(is_other) {
            tracing::info!(%log, path, "log {log}: {path} is found and can be read now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &str, reason: &str) -> LogProblem {
        LogProblem {
            log: "access".parse().expect("a name"),
            path: path.to_owned(),
            kind: LogProblemKind::NoMatch,
            reason: reason.to_owned(),
            since: None,
        }
    }

    fn paths(problems: &[LogProblem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.path.as_str()).collect()
    }

    #[test]
    fn a_problem_at_the_start_is_told_at_once_and_then_no_more() {
        let (mut problems, start) = (LogProblems::default(), Now::read());
        let news = problems.update(vec![problem("/a", "is not there")], start);
        assert_eq!(paths(&news.begun), ["/a"]);
        let news = problems.update(vec![problem("/a", "is not there")], start.after(INTERVAL));
        assert_eq!(news, ProblemNews::default());
        let since = problems.told().next().expect("it lasts").since;
        assert_eq!(since, Some(HostTime::from(start.wall)), "the begin stays");
    }

    #[test]
    fn a_path_that_names_nothing_for_a_moment_is_not_told() {
        let (mut problems, start) = (LogProblems::default(), Now::read());
        problems.update(Vec::new(), start);
        let news = problems.update(vec![problem("/a", "is not there")], start.after(INTERVAL));
        assert_eq!(news, ProblemNews::default());
        assert_eq!(problems.told().count(), 0, "nor reported");
        let news = problems.update(Vec::new(), start.after(2 * INTERVAL));
        assert_eq!(
            news,
            ProblemNews::default(),
            "it never was told, so it is not over"
        );
    }

    #[test]
    fn a_problem_that_lasts_is_told_and_its_end_is_told_once() {
        let (mut problems, start) = (LogProblems::default(), Now::read());
        problems.update(Vec::new(), start);
        problems.update(vec![problem("/a", "is not there")], start.after(INTERVAL));
        let news = problems.update(vec![problem("/a", "is not there")], start.after(2 * INTERVAL));
        assert_eq!(paths(&news.begun), ["/a"]);
        let news = problems.update(Vec::new(), start.after(3 * INTERVAL));
        assert_eq!((paths(&news.over), news.begun.len()), (vec!["/a"], 0));
        let news = problems.update(Vec::new(), start.after(4 * INTERVAL));
        assert_eq!(news, ProblemNews::default());
    }

    #[test]
    fn a_problem_is_told_again_when_it_changes() {
        let (mut problems, start) = (LogProblems::default(), Now::read());
        problems.update(vec![problem("/a", "the folder does not exist")], start);
        let news = problems.update(
            vec![problem("/a", "there is no such file")],
            start.after(INTERVAL),
        );
        assert_eq!(paths(&news.begun), ["/a"]);
        assert!(news.over.is_empty(), "the same thing is still wrong");
    }

    #[test]
    fn while_something_is_wrong_each_search_of_the_folders_is_followed_by_a_look() {
        let (mut problems, start) = (LogProblems::default(), Now::read());
        assert!(problems.is_due(None, start));
        problems.update(Vec::new(), start);
        let later = start.after(2 * RECHECK_GAP);
        assert!(!problems.is_due(Some(later.instant), later), "nothing is wrong");
        problems.update(vec![problem("/a", "is not there")], start);
        assert!(problems.is_due(Some(later.instant), later));
        assert!(
            !problems.is_due(Some(start.instant), later),
            "there was no search"
        );
        assert!(problems.is_due(Some(start.instant), start.after(INTERVAL)));
    }

    #[test]
    fn a_report_has_a_bound() {
        let mut problems = LogProblems::default();
        let many = (0..1000).map(|number| problem(&format!("/{number}"), "is not there"));
        problems.update(many.collect(), Now::read());
        assert_eq!(problems.told().count(), PROBLEMS_MAX);
    }
}
