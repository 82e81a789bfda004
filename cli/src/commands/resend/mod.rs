//! `logferry resend`: delivers sent batches again. `index`: sends their lines to OpenSearch again.

mod index;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_config::{Config, Subscriber};
use logferry_forwarder::{BatchAtDestination, ResendImpossible, ResendOutcome, resend};
use logferry_ledger::{Batch, Ledger};
use logferry_protocol::names::DestinationName;
use logferry_text::{Table, count, count_of, size};

use crate::args::ResendArgs;
use crate::commands::require_window_order;
use crate::commands::retry::batches_named;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};

/// Requests another delivery of the selected batches. A problem if the file of one is gone, or if the named destination does
/// not want a named batch.
pub(crate) fn run(file: &Path, options: &ResendArgs) -> Result {
    require_window_order(&options.selection)?;
    let config = configuration::load(file)?;
    if options.index {
        return index::run(file, &config, options);
    }
    let subscribers = subscribers(&config, options.destination.as_ref())?;
    let data_dir = configuration::data_dir(file, &config)?;
    let ledger = Ledger::open(&data_dir)?;
    configuration::require_source(&config, &ledger, options.selection.source.as_ref())?;
    let batches = selected(&ledger, options)?;
    drop(ledger);
    let preview = resend(&data_dir, &batches, &subscribers, None)?;
    let mut resent = if options.dry_run {
        preview
    } else {
        if !is_confirmed(options, &preview)? {
            console::print("nothing is sent again\n")?;
            return Ok(CommandOutcome::ProblemFound);
        }
        resend(&data_dir, &batches, &subscribers, Some(Timestamp::now()))?
    };
    if options.batches.is_empty() || options.destination.is_none() {
        // Only a named batch for a named destination is worth a message.
        resent.unwanted.clear();
    }
    let text = if options.dry_run { dry_run_text } else { text };
    console::print_result(options.json, &resent, text)?;
    Ok(CommandOutcome::fine_if(
        resent.gone.is_empty() && resent.unwanted.is_empty(),
    ))
}

/// Whether so much is meant: batches, a time or `--all` say so, else a person.
fn is_confirmed(options: &ResendArgs, preview: &ResendOutcome) -> Result<bool> {
    let selection = &options.selection;
    let is_limited = selection.since.is_some() || selection.until.is_some() || !options.batches.is_empty();
    if options.all || is_limited || preview.due.is_empty() {
        return Ok(true);
    }
    let bytes = size(preview.due.iter().map(|due| due.bytes).sum());
    let batches = count_of(preview.due.len() as u64, "batch");
    let question = format!(
        "Send {batches} ({bytes}) again? Where files are taken away, their lines are then there twice."
    );
    confirmed(&question, || {
        format!(
            "this would send {batches} ({bytes}) again; name batches, give --since or --until, or say --all; \
             --dry-run lists them"
        )
    })
}

/// The answer of the person at the terminal. `refused`: why it cannot go on without one.
fn confirmed(question: &str, refused: impl FnOnce() -> String) -> Result<bool> {
    console::confirm(question)?.ok_or_else(|| Failure::Configuration(anyhow!(refused())))
}

/// The batches by name, then what [`text`] says.
fn dry_run_text(resent: &ResendOutcome) -> String {
    let mut table = Table::new(["would be sent", "to", ">size", "again"]);
    for due in &resent.due {
        let again = if due.again { "yes" } else { "no" };
        let (to, again) = (due.destination.to_string(), again.to_owned());
        table.row([due.batch.clone(), to, size(due.bytes), again]);
    }
    table.section() + &text(resent) + "dry run: nothing was changed\n"
}

fn subscribers(config: &Config, name: Option<&DestinationName>) -> Result<Vec<Subscriber>> {
    let mut subscribers = configuration::subscribers(config);
    if subscribers.is_empty() {
        return Err(Failure::configuration(anyhow!(
            "there is no forwarder section; run this command with the configuration of the relay host"
        )));
    }
    let Some(name) = name else { return Ok(subscribers) };
    let Some(index) = subscribers.iter().position(|subscriber| subscriber.name == *name) else {
        let names = subscribers.iter().map(|subscriber| &subscriber.name);
        return Err(configuration::unknown_destination(name, names));
    };
    Ok(vec![subscribers.swap_remove(index)])
}

fn selected(ledger: &Ledger, options: &ResendArgs) -> Result<Vec<Batch>> {
    if !options.batches.is_empty() {
        return batches_named(ledger, &options.batches);
    }
    let mut batches = ledger.batches(&options.selection.filter())?;
    // An open batch is delivered anyway once it is sealed.
    batches.retain(|batch| batch.sealed_at.is_some());
    Ok(batches)
}

fn text(resent: &ResendOutcome) -> String {
    let mut by_destination: BTreeMap<&DestinationName, [u64; 3]> = BTreeMap::new();
    for entry in &resent.due {
        let [due, again, _] = by_destination.entry(&entry.destination).or_default();
        *due += 1;
        *again += u64::from(entry.again);
    }
    for pair in &resent.waiting {
        let [.., waiting] = by_destination.entry(&pair.destination).or_default();
        *waiting += 1;
    }
    let mut lines = Vec::new();
    for (name, counts) in by_destination {
        let [due, again, waiting] = counts.map(count);
        lines.push(format!(
            "{name}: {due} will be delivered, {again} of them again; {waiting} are waiting already"
        ));
    }
    for BatchAtDestination { batch, destination } in &resent.unwanted {
        lines.push(format!(
            "{batch}: not delivered to {destination}: its `sources`, `groups` or `logs` exclude the batch"
        ));
    }
    let gone = resent.gone.iter();
    lines.extend(gone.map(|ResendImpossible { batch, detail }| format!("{batch}: {detail}")));
    if lines.is_empty() {
        lines.push("no batch selected".to_owned());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use logferry_forwarder::ResendDue;

    #[test]
    fn due_batches_are_counted_and_gone_ones_are_named() {
        let due = |again| ResendDue {
            batch: "b".to_owned(),
            destination: "edw".parse().unwrap(),
            bytes: 5,
            again,
        };
        let pair = || BatchAtDestination {
            batch: "b".to_owned(),
            destination: "lab".parse().unwrap(),
        };
        let resent = ResendOutcome {
            due: vec![due(true), due(false)],
            waiting: vec![pair()],
            unwanted: vec![pair()],
            gone: vec![ResendImpossible {
                batch: "c".to_owned(),
                detail: "deleted".to_owned(),
            }],
        };
        assert_eq!(
            text(&resent),
            "edw: 2 will be delivered, 1 of them again; 0 are waiting already\n\
             lab: 0 will be delivered, 0 of them again; 1 are waiting already\n\
             b: not delivered to lab: its `sources`, `groups` or `logs` exclude the batch\n\
             c: deleted\n"
        );
        assert_eq!(text(&ResendOutcome::default()), "no batch selected\n");
    }
}
