//! The message of a sender that has started: which logs it follows, and from where.

use std::fmt::Write as _;

use logferry_config as config;
use logferry_protocol::names::LogName;
use logferry_protocol::stream::Offset;
use logferry_text::{count, count_of};

use crate::files::discovery::FileRole;
use crate::files::{FileHandle, FileSystem};
use crate::tail::Tailer;
use crate::tail::log::TailedLog;
use crate::tail::tracked_file::TrackedFile;

/// Logs that have a line of their own.
const LOGS_MAX: usize = 20;

/// Where the lines of a log begin at a start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StartPositions {
    /// The offsets at which live files go on, by the checkpoint.
    pub(super) continued: Vec<Offset>,
    /// Live files from their beginning.
    pub(super) from_beginning: usize,
    /// Live files from their end.
    pub(super) from_end: usize,
    /// Rotated files that were found.
    pub(super) rotated: usize,
}

/// Who starts, and where its lines go.
pub(super) fn header(config: &config::SenderSettings) -> String {
    let relay: Vec<_> = config.relay.iter().map(ToString::to_string).collect();
    let source = match &config.source {
        config::SourceSetting::Auto => "the address that the relay sees".to_owned(),
        config::SourceSetting::Named(source) => source.to_string(),
    };
    format!(
        "the sender has started (version {}): lines go to {}, as source {source}; state in {}",
        env!("CARGO_PKG_VERSION"),
        relay.join(" or "),
        config.state_dir.display()
    )
}

/// One line for a log.
fn log_line(name: &LogName, path: &str, is_glob: bool, found: &StartPositions) -> String {
    let StartPositions {
        continued,
        from_beginning,
        from_end,
        rotated,
    } = found;
    let files = continued.len() + from_beginning + from_end;
    let mut parts = Vec::new();
    if is_glob && files > 0 {
        parts.push(count_of(files as u64, "file"));
    }
    match continued.as_slice() {
        [] => {}
        [offset] if files == 1 => parts.push(format!("goes on at byte {}", count(offset.get()))),
        more => parts.push(format!("{} where they were left", more.len())),
    }
    for (number, from) in [
        (*from_beginning, "from the beginning"),
        (*from_end, "from the end"),
    ] {
        match (number, files) {
            (0, _) => {}
            (1, 1) => parts.push(from.to_owned()),
            (number, _) => parts.push(format!("{number} {from}")),
        }
    }
    if files == 0 {
        parts.push("no file yet".to_owned());
    }
    if *rotated > 0 {
        parts.push(format!("{} beside it", count_of(*rotated as u64, "rotated file")));
    }
    format!("log {name}: {path}: {}", parts.join(", "))
}

impl<F: FileSystem> Tailer<F> {
    /// Logs that the sender has started, once the folders were searched for the first time.
    pub(super) fn announce_start(&mut self) {
        let Some(header) = self.start_header.take() else {
            return;
        };
        let mut text = header;
        for log in self.logs.iter().take(LOGS_MAX) {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {}", log.start_line());
        }
        let more = self.logs.len().saturating_sub(LOGS_MAX);
        if more > 0 {
            let _ = write!(text, "\n  and {}", count_of(more as u64, "more log"));
        }
        tracing::info!(logs = self.logs.len(), "{text}");
    }
}

impl<H: FileHandle> TailedLog<H> {
    fn start_line(&self) -> String {
        let mut found = StartPositions::default();
        for file in &self.files {
            self.count_start(file, &mut found);
        }
        log_line(&self.name, self.patterns.live(), self.patterns.is_glob(), &found)
    }

    fn count_start(&self, file: &TrackedFile<H>, found: &mut StartPositions) {
        let orphans = self.orphans.iter();
        let known = orphans.filter(|orphan| orphan.file == file.stat.key);
        let acked = known.map(|orphan| orphan.stream.acked.offset).max();
        match acked.filter(|acked| *acked <= file.size()) {
            _ if file.role != FileRole::Live => found.rotated += 1,
            Some(acked) => found.continued.push(acked),
            None if file.left_out.is_some() => found.from_end += 1,
            None => found.from_beginning += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(is_glob: bool, found: &StartPositions) -> String {
        let name = "access".parse().expect("a name");
        log_line(
            &name,
            if is_glob { "/log/*.log" } else { "/log/access.log" },
            is_glob,
            found,
        )
    }

    #[test]
    fn the_line_of_a_log_says_from_where_it_is_followed() {
        let known = |continued: &[u64]| StartPositions {
            continued: continued.iter().copied().map(Offset::new).collect(),
            ..StartPositions::default()
        };
        let first = StartPositions {
            from_beginning: 1,
            rotated: 3,
            ..StartPositions::default()
        };
        let from_end = StartPositions {
            from_end: 1,
            ..StartPositions::default()
        };
        assert_eq!(
            line(false, &known(&[1234])),
            "log access: /log/access.log: goes on at byte 1,234"
        );
        assert_eq!(
            line(false, &first),
            "log access: /log/access.log: from the beginning, 3 rotated files beside it"
        );
        assert_eq!(
            line(false, &from_end),
            "log access: /log/access.log: from the end"
        );
        assert_eq!(
            line(false, &StartPositions::default()),
            "log access: /log/access.log: no file yet"
        );
        let sites = StartPositions {
            from_beginning: 2,
            ..known(&[1, 2, 3])
        };
        assert_eq!(
            line(true, &sites),
            "log access: /log/*.log: 5 files, 3 where they were left, 2 from the beginning"
        );
    }
}
