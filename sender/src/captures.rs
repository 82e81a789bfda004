//! The collector's captures (`sender.captures`): each source's capture is a log of this sender, and what of them the relay has is
//! said in the sender's state folder, so that the collector can remove what is shipped.
//!
//! Invariant: what is said is what the relay has acknowledged, so nothing is removed that it does not have.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use logferry_captures::{ShippedCapture, ShippedCaptures, live_path, sources, write_shipped};
use logferry_config::{LogSettings, RotatedNames, SenderSettings, StartPosition};
use logferry_durable::RealDisk;
use logferry_protocol::names::LogName;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Checkpoint;

/// How often it is looked for sources that are new.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The settings with a log for each source that has a capture now.
pub fn with_captures(mut settings: SenderSettings) -> SenderSettings {
    let Some(folder) = settings.captures.clone() else {
        return settings;
    };
    for source in captured(&folder) {
        if settings.logs.iter().any(|log| log.name == source) {
            tracing::warn!(
                log = %source, folder = %folder.display(),
                "a log and a source of the collector have one name; the source's records are not shipped until one is renamed"
            );
            continue;
        }
        let path = glob::Pattern::escape(&live_path(&folder, &source).to_string_lossy());
        settings.logs.push(LogSettings {
            rotated: RotatedNames::Globs(vec![format!("{path}.[0-9]*")]),
            path,
            name: source,
            start: StartPosition::Beginning,
            exclude: Vec::new(),
            max_line: settings.chunk.max_bytes,
        });
    }
    settings
}

fn captured(folder: &Path) -> Vec<LogName> {
    sources(&RealDisk, folder).unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the collector's folder (sender.captures) cannot be read; its records wait there"
        );
        Vec::new()
    })
}

/// Ends when there are other sources in the collector's folder than at the start; never without such a folder. Cancel safe.
pub(crate) async fn changed(settings: &SenderSettings, until: &CancellationToken) {
    let Some(folder) = settings.captures.clone() else {
        return until.cancelled().await;
    };
    let known: BTreeSet<LogName> = settings.logs.iter().map(|log| log.name.clone()).collect();
    while !until.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = until.cancelled() => return,
        }
        let new = sources(&RealDisk, &folder).unwrap_or_default();
        if new.iter().any(|source| !known.contains(source)) {
            return;
        }
    }
}

/// Says what of the captures the relay has.
#[derive(Debug)]
pub(crate) struct ShippedReport {
    /// The sources; empty without a collector.
    sources: BTreeSet<LogName>,
    said: Option<ShippedCaptures>,
}

impl ShippedReport {
    pub(crate) fn new(settings: &SenderSettings) -> Self {
        let folder = settings.captures.as_deref();
        Self {
            sources: folder.map(captured).unwrap_or_default().into_iter().collect(),
            said: None,
        }
    }

    /// Says it if it has changed. If that fails, captures stay for longer.
    pub(crate) fn save(&mut self, checkpoint: &Checkpoint, state_dir: &Path) {
        if self.sources.is_empty() {
            return;
        }
        let streams = checkpoint.streams.iter();
        let files = streams
            .filter(|saved| self.sources.contains(&saved.log))
            .map(|saved| ShippedCapture {
                source: saved.log.clone(),
                inode: saved.stream.file.inode,
                head: saved.stream.head,
                acknowledged: saved.stream.committed.get(),
                finished: saved.finished,
            });
        let shipped = ShippedCaptures {
            files: files.collect(),
        };
        if self.said.as_ref() == Some(&shipped) {
            return;
        }
        match write_shipped(&RealDisk, state_dir, shipped.clone()) {
            Ok(()) => self.said = Some(shipped),
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the collector cannot be told what is shipped"
            ),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[test]
    fn each_capture_is_a_log_with_the_name_of_its_source() {
        let dir = tempfile::tempdir().expect("a folder");
        for source in ["api", "app"] {
            let live = live_path(dir.path(), &source.parse().expect("a name"));
            std::fs::create_dir_all(live.parent().expect("a folder")).expect("a folder");
            std::fs::write(live, "{}\n").expect("a file");
        }
        let text = format!(
            "sender: {{relay: \"http://192.0.2.1:5001\", captures: '{}', logs: [{{path: /log/app.log}}]}}",
            dir.path().display()
        );
        let parsed = logferry_config::parse(&text, "c.yaml".as_ref(), &|_| None).expect("valid");
        let settings = with_captures(parsed.sender.expect("a sender"));
        let names: Vec<_> = settings.logs.iter().map(|log| log.name.as_str()).collect();
        assert_eq!(
            names,
            ["app", "api"],
            "the log of the configuration keeps its name"
        );
        let api = settings.logs.last().expect("a log");
        assert!(api.path.ends_with("/api/api.log"), "{}", api.path);
    }
}
