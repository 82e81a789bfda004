//! `logferry silence SUBJECT`: tells nobody about a subject for a while. It ends by itself.

use std::path::Path;

use anyhow::anyhow;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::Config;
use logferry_inspection::status::known_subjects;
use logferry_ledger::{Ledger, SILENCES_MAX, Silence, SilenceOutcome};
use logferry_text::count_of;

use crate::args::alerts::SilenceArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};

/// Silences the subject, or ends its silence if the time is zero.
pub(crate) fn run(file: &Path, options: &SilenceArgs) -> Result {
    let config = configuration::load(file)?;
    let mut ledger = Ledger::open(&configuration::data_dir(file, &config)?)?;
    let (subject, now) = (&options.subject, Timestamp::now());
    if options.length.is_zero() {
        let text = if ledger.end_silence(subject, now)? {
            format!("{subject} is no longer silenced\n")
        } else {
            format!("{subject} is not silenced\n")
        };
        console::print(&text)?;
        return Ok(CommandOutcome::Fine);
    }
    if let Some(known) = known_subjects(&ledger, subject, configured(&config))? {
        configuration::require("subject", subject, &known)?;
    }
    let silence = Silence {
        subject: subject.clone(),
        since: now,
        until: now.checked_add(options.length).unwrap_or(Timestamp::MAX),
        why: options.why.clone(),
    };
    match ledger.silence(&silence)? {
        SilenceOutcome::Silenced { muted } => {
            let until = silence.until.to_zoned(TimeZone::system());
            console::print(&format!(
                "{subject} is silenced until {}; {} muted now. What is still wrong then is told then; \
                 `logferry silence {subject} --for 0s --why done` ends it before\n",
                until.strftime("%F %T %:z"),
                count_of(muted, "open incident")
            ))?;
            Ok(CommandOutcome::Fine)
        }
        SilenceOutcome::TooMany => Err(anyhow!(
            "{SILENCES_MAX} subjects are silenced already; `logferry alerts` lists them: end some, or silence a whole source \
             instead of its parts"
        )
        .into()),
    }
}

/// What the configuration names that an incident can be about.
fn configured(config: &Config) -> Vec<String> {
    let monitor = config.monitor.iter();
    let sources = monitor
        .flat_map(|it| &it.expected_sources)
        .map(ToString::to_string);
    let groups = config.relay.iter().flat_map(|relay| &relay.groups);
    let groups = groups.map(|group| group.name.to_string());
    let destinations = configuration::subscribers(config).into_iter();
    let destinations = destinations.map(|it| it.name.to_string());
    sources.chain(groups).chain(destinations).collect()
}
