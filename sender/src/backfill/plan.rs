//! Which files to ship, and to which log each belongs. Decided before any file is opened.

use std::path::{Path, PathBuf};

use logferry_config as config;
use logferry_protocol::names::LogName;

use crate::files::discovery::LogPatterns;

/// Files to ship, in this order, each with the log whose name, rules and limits apply.
#[derive(Debug, Clone)]
pub struct BackfillPlan {
    pub(super) files: Vec<PlannedFile>,
}

#[derive(Debug, Clone)]
pub(super) struct PlannedFile {
    pub(super) path: PathBuf,
    /// Index of its log in the configuration.
    pub(super) log: usize,
}

/// Why the log of a file is not known.
#[derive(Debug, thiserror::Error)]
pub enum BackfillPlanError {
    /// There is no log of this name.
    #[error("there is no log `{name}` in the sender section; it has {known}")]
    UnknownLog {
        /// The name.
        name: LogName,
        /// The names there are.
        known: String,
    },
    /// The patterns of no log, or of several, match the file.
    #[error(
        "{path}: it is not known to which log this file belongs; give one with --log, the sender section has {known}"
    )]
    UnclearLog {
        /// The file.
        path: String,
        /// The names there are.
        known: String,
    },
}

impl BackfillPlan {
    /// Finds the log of each file: the one called `log`, or the only one, or the one whose patterns match the path.
    pub fn new(
        config: &config::SenderSettings,
        paths: Vec<PathBuf>,
        log: Option<&LogName>,
    ) -> Result<Self, BackfillPlanError> {
        let known = || {
            let names = config.logs.iter().map(|log| format!("`{}`", log.name));
            names.collect::<Vec<_>>().join(", ")
        };
        let chosen = match log {
            Some(name) => {
                let chosen = config.logs.iter().position(|log| log.name == *name);
                let unknown = || BackfillPlanError::UnknownLog {
                    name: name.clone(),
                    known: known(),
                };
                Some(chosen.ok_or_else(unknown)?)
            }
            None => (config.logs.len() == 1).then_some(0),
        };
        let planned = |path: PathBuf| {
            let log = chosen.or_else(|| matching(&config.logs, &path));
            let unclear = || BackfillPlanError::UnclearLog {
                path: path.display().to_string(),
                known: known(),
            };
            let log = log.ok_or_else(unclear)?;
            Ok(PlannedFile { path, log })
        };
        let files = paths.into_iter().map(planned).collect::<Result<_, _>>()?;
        Ok(Self { files })
    }
}

fn matching(logs: &[config::LogSettings], path: &Path) -> Option<usize> {
    let path = std::path::absolute(path).ok()?;
    let includes = |log: &config::LogSettings| LogPatterns::of_log(log).includes(&path);
    let mut found = logs
        .iter()
        .enumerate()
        .filter_map(|(index, log)| includes(log).then_some(index));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill::tests::config;

    fn log_of(logs: &[&str], path: &str, name: Option<&str>) -> Result<usize, String> {
        let name = name.map(|name| name.parse().expect("a name"));
        let plan = BackfillPlan::new(&config(logs), vec![path.into()], name.as_ref());
        plan.map(|plan| plan.files[0].log)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_belongs_to_the_only_log_there_is() {
        assert_eq!(log_of(&["/log/access.log"], "/backup/x", None), Ok(0));
    }

    #[test]
    fn of_several_logs_the_one_whose_patterns_match_is_meant() {
        let logs = ["/log/access.log", "/log/api.log"];
        assert_eq!(log_of(&logs, "/log/api.log.7.gz", None), Ok(1));
        assert_eq!(log_of(&logs, "/log/access.log-20261120", None), Ok(0));
        assert_eq!(log_of(&logs, "/backup/x", Some("api")), Ok(1));
    }

    #[test]
    fn where_it_is_not_clear_the_logs_are_named() {
        let logs = ["/log/access.log", "/log/api.log"];
        assert_eq!(
            log_of(&logs, "/backup/x", None).expect_err("neither"),
            "/backup/x: it is not known to which log this file belongs; give one with --log, the sender section has \
             `access`, `api`"
        );
        assert_eq!(
            log_of(&logs, "/log/api.log.1", Some("web")).expect_err("unknown"),
            "there is no log `web` in the sender section; it has `access`, `api`"
        );
        let twice = ["/log/a*.log", "/log/access.*"];
        assert!(log_of(&twice, "/log/access.log.1", None).is_err());
    }
}
