//! `logferry retry`: has what failed tried again at once.

use std::path::Path;

use anyhow::anyhow;
use logferry_ledger::{Batch, BatchFilter, BatchState, Ledger};

use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};

/// Puts failed batches back to ready, and lets other failed attempts wait no longer, such as those of a resend: of the named batches,
/// or of all. A problem if nothing of a named batch has failed.
pub(crate) fn run(file: &Path, names: &[String]) -> Result {
    let config = configuration::load(file)?;
    let mut ledger = Ledger::open(&configuration::data_dir(file, &config)?)?;
    let is_named = !names.is_empty();
    let batches = if is_named {
        batches_named(&ledger, names)?
    } else {
        waiting(&ledger)?
    };
    let (mut changed, mut unchanged) = (0, 0);
    for batch in batches {
        let (name, state) = (batch.name(), batch.state);
        if ledger.retry(batch.id)? {
            let done = match state {
                BatchState::Failed => "ready again",
                _ => "tried again at once",
            };
            console::print(&format!("{name}: {done}\n"))?;
            changed += 1;
        } else if is_named {
            console::print(&format!("{name}: not changed, its state is {state}\n"))?;
            unchanged += 1;
        }
    }
    if changed + unchanged == 0 {
        console::print("no failed batch\n")?;
    }
    Ok(CommandOutcome::fine_if(unchanged == 0))
}

/// The sealed batches that a destination waits for.
fn waiting(ledger: &Ledger) -> Result<Vec<Batch>> {
    let mut waiting = ledger.batches_in(BatchState::Failed)?;
    waiting.extend(ledger.batches_in(BatchState::Ready)?);
    waiting.extend(ledger.resend_requests()?.into_iter().map(|(batch, _)| batch));
    Ok(waiting)
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
