//! `logferry retry`: puts failed batches back to ready.

use std::path::Path;

use anyhow::anyhow;
use logferry_ledger::{Batch, BatchFilter, BatchState, Ledger};

use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};

/// Puts the named batches back to ready, or all failed ones. A problem if a named batch has not failed.
pub(crate) fn run(file: &Path, names: &[String]) -> Result {
    let config = configuration::load(file)?;
    let mut ledger = Ledger::open(&configuration::data_dir(file, &config)?)?;
    let batches = if names.is_empty() {
        ledger.batches_in(BatchState::Failed)?
    } else {
        batches_named(&ledger, names)?
    };
    if batches.is_empty() {
        console::print("no failed batch\n")?;
    }
    let mut outcome = CommandOutcome::Fine;
    for batch in batches {
        let name = batch.name();
        if ledger.retry(batch.id)? {
            console::print(&format!("{name}: ready again\n"))?;
        } else {
            console::print(&format!("{name}: not changed, its state is {}\n", batch.state))?;
            outcome = CommandOutcome::ProblemFound;
        }
    }
    Ok(outcome)
}

/// The batches with these names, or with these file names.
pub(super) fn batches_named(ledger: &Ledger, names: &[String]) -> Result<Vec<Batch>> {
    let batch = |name: &String| {
        let name = name.strip_suffix(".log").unwrap_or(name);
        if let Some(batch) = ledger.batch_named(name)? {
            return Ok(batch);
        }
        let known: Vec<_> = ledger.batches(&BatchFilter::default())?;
        let known: Vec<_> = known.iter().map(Batch::name).collect();
        let near = configuration::nearest_known(name, known.iter().map(String::as_str));
        Err(Failure::configuration(anyhow!(
            "there is no batch {name}; {near}; `logferry audit --json` lists all"
        )))
    };
    names.iter().map(batch).collect()
}
