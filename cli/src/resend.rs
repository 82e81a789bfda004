//! `logferry resend`: delivered batches once more.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use jiff::Timestamp;
use logferry_config::{Config, Subscriber};
use logferry_forwarder::{ResendImpossible, ResendOutcome, resend};
use logferry_ledger::{Batch, Ledger};
use logferry_protocol::names::DestinationName;

use crate::args::Resend;
use crate::configuration;
use crate::exit::{self, Failure, Outcome, Result};
use crate::retry;
use crate::table;

/// Has the chosen batches delivered once more. Wrong if the file of one is gone, or a named one is not wanted.
pub(crate) fn run(file: &Path, options: &Resend) -> Result {
    let config = configuration::load(file)?;
    let subscribers = subscribers(&config, options.destination.as_ref())?;
    let data_dir = configuration::data_dir(file, &config)?;
    let batches = chosen(&Ledger::open(&data_dir)?, options)?;
    let mut resent = resend(&data_dir, &batches, &subscribers, Timestamp::now())?;
    if options.batches.is_empty() || options.destination.is_none() {
        // Nobody asked for just these at just this destination.
        resent.unwanted.clear();
    }
    let text = if options.json {
        serde_json::to_string_pretty(&resent)? + "\n"
    } else {
        text(&resent)
    };
    exit::print(&text)?;
    Ok(if resent.gone.is_empty() && resent.unwanted.is_empty() {
        Outcome::Fine
    } else {
        Outcome::Wrong
    })
}

fn subscribers(config: &Config, name: Option<&DestinationName>) -> Result<Vec<Subscriber>> {
    let mut subscribers = configuration::subscribers(config);
    if subscribers.is_empty() {
        return Err(Failure::configuration(anyhow!(
            "there is no forwarder section; run this command with the configuration of the relay host"
        )));
    }
    let Some(name) = name else { return Ok(subscribers) };
    let known: Vec<_> = subscribers
        .iter()
        .map(|subscriber| subscriber.name.to_string())
        .collect();
    subscribers.retain(|subscriber| subscriber.name == *name);
    if subscribers.is_empty() {
        return Err(Failure::configuration(anyhow!(
            "there is no destination {name}; there is {}",
            known.join(", ")
        )));
    }
    Ok(subscribers)
}

fn chosen(ledger: &Ledger, options: &Resend) -> Result<Vec<Batch>> {
    if !options.batches.is_empty() {
        let named = options.batches.iter().map(|name| retry::named(ledger, name));
        return named.collect();
    }
    let mut batches = ledger.batches(&options.which.filter())?;
    // Those go out by themselves.
    batches.retain(|batch| batch.sealed_at.is_some());
    Ok(batches)
}

fn text(resent: &ResendOutcome) -> String {
    let mut by_destination: BTreeMap<&DestinationName, [u64; 3]> = BTreeMap::new();
    for due in &resent.due {
        let [count, again, _] = by_destination.entry(&due.destination).or_default();
        *count += 1;
        *again += u64::from(due.again);
    }
    for pair in &resent.waiting {
        let [.., waiting] = by_destination.entry(&pair.destination).or_default();
        *waiting += 1;
    }
    let mut lines: Vec<_> = by_destination
        .into_iter()
        .map(|(name, counts)| {
            let [due, again, waiting] = counts.map(table::count);
            format!("{name}: {due} due, {again} of them once more; {waiting} on their way already")
        })
        .collect();
    let unwanted = resent.unwanted.iter();
    lines.extend(unwanted.map(|pair| {
        let (batch, destination) = (&pair.batch, &pair.destination);
        format!("{batch}: not for {destination}, whose sources, groups or logs leave it out")
    }));
    lines.extend(
        resent
            .gone
            .iter()
            .map(|ResendImpossible { batch, detail }| format!("{batch}: {detail}")),
    );
    if lines.is_empty() {
        lines.push("no batch".to_owned());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use logferry_forwarder::{BatchAtDestination, ResendDue};

    #[test]
    fn what_is_due_is_counted_and_what_is_gone_is_named() {
        let due = |again| ResendDue {
            batch: "b".to_owned(),
            destination: "edw".parse().unwrap(),
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
            "edw: 2 due, 1 of them once more; 0 on their way already\n\
             lab: 0 due, 0 of them once more; 1 on their way already\n\
             b: not for lab, whose sources, groups or logs leave it out\n\
             c: deleted\n"
        );
        assert_eq!(text(&ResendOutcome::default()), "no batch\n");
    }
}
