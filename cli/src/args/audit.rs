//! The options of `audit`, and those that select batches.

use std::path::PathBuf;

use clap::Args as Options;
use jiff::{SignedDuration, Timestamp};
use logferry_ledger::BatchFilter;
use logferry_protocol::names::SourceId;

use super::time;

/// Options that select batches.
#[derive(Debug, Options)]
pub(crate) struct BatchSelection {
    /// Only windows that end after this time: 2h (ago), 08:00, 2026-11-21, 2026-11-21T08:00, or with an offset or Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Only windows that start before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// Only this source
    #[arg(long)]
    pub(crate) source: Option<SourceId>,
}

impl BatchSelection {
    /// The filter for queries of the ledger.
    pub(crate) fn filter(&self) -> BatchFilter {
        BatchFilter {
            source: self.source.clone(),
            since: self.since,
            until: self.until,
        }
    }
}

#[derive(Debug, Options)]
pub(crate) struct AuditArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) selection: BatchSelection,
    /// Only the window of this time
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["since", "until"])]
    pub(crate) window: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) depth: AuditDepth,
    /// Write the result as a signed page to keep
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) html: Option<PathBuf>,
    /// Write the signed record of the window of --window to this file, to be checked elsewhere
    #[arg(long, value_name = "FILE", requires = "window", conflicts_with_all = ["json", "html", "verify", "index", "full", "source"])]
    pub(crate) record: Option<PathBuf>,
    /// Only say whether a page or a record of a window is as it was signed: exit code 0 if it is, 1 if not
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["json", "html", "record", "verify", "full", "window", "since", "until", "source"]
    )]
    pub(crate) check: Option<PathBuf>,
    /// The public key to check with, as in audit.pub [default: that of this host, if it has one]
    #[arg(long, value_name = "FILE", requires = "check")]
    pub(crate) key: Option<PathBuf>,
}

/// Options for what is read beside the ledger and the spool.
#[derive(Debug, Options)]
pub(crate) struct AuditDepth {
    /// Also read every delivered file back from its destinations and compare it
    #[arg(long)]
    pub(crate) verify: bool,
    /// Also count the documents of each batch in OpenSearch
    #[arg(long)]
    pub(crate) index: bool,
    /// Compare every signed window row by row, not only the newest and some drawn by lot
    #[arg(long)]
    pub(crate) full: bool,
}

impl AuditArgs {
    /// The filter for queries of the ledger.
    pub(crate) fn filter(&self) -> BatchFilter {
        let selected = self.selection.filter();
        match self.window {
            // The window that ends after this time, and starts before the next second.
            Some(at) => BatchFilter {
                since: Some(at),
                until: at.checked_add(SignedDuration::from_secs(1)).ok(),
                ..selected
            },
            None => selected,
        }
    }
}
