//! `logferry retry`: failed batches back to ready.

use std::path::Path;

use anyhow::anyhow;
use logferry_ledger::{Batch, BatchState, Ledger};

use crate::args::Retry;
use crate::configuration;
use crate::exit::{self, Failure, Outcome, Result};

/// Puts the named batches back to ready, or all failed ones. Wrong if a named batch is not a failed one.
pub(crate) fn run(file: &Path, options: &Retry) -> Result {
    let config = configuration::load(file)?;
    let mut ledger = Ledger::open(&configuration::data_dir(file, &config)?)?;
    let batches = chosen(&ledger, &options.batches)?;
    if batches.is_empty() {
        exit::print("no failed batch\n")?;
    }
    let mut outcome = Outcome::Fine;
    for batch in batches {
        let name = batch.name();
        if ledger.retry(batch.id)? {
            exit::print(&format!("{name}: ready again\n"))?;
        } else {
            exit::print(&format!("{name}: left as it is, since it is {}\n", batch.state))?;
            outcome = Outcome::Wrong;
        }
    }
    Ok(outcome)
}

fn chosen(ledger: &Ledger, names: &[String]) -> Result<Vec<Batch>> {
    if names.is_empty() {
        return Ok(ledger.batches_in(BatchState::Failed)?);
    }
    names.iter().map(|name| named(ledger, name)).collect()
}

/// The batch of this name, which may be given as the file's.
pub(crate) fn named(ledger: &Ledger, name: &str) -> Result<Batch> {
    let name = name.strip_suffix(".log").unwrap_or(name);
    let unknown = || {
        Failure::configuration(anyhow!(
            "there is no batch {name}; `logferry audit --json` lists them"
        ))
    };
    ledger.batch_named(name)?.ok_or_else(unknown)
}
