//! Silences that people ask for in the console.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_config::MonitorSettings;
use logferry_ledger::{Ledger, LedgerError, Silence, SilenceOutcome};
use logferry_requests::{CarryOutError, ConsoleRequest, RequestFolder, RequestedAction, carry_out_all};
use logferry_text::count_of;
use tokio_util::sync::CancellationToken;

/// How often the console's folder is looked at. It costs nothing while there is no request.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Carries silences out until `stop`, if there is a console on this host.
pub(crate) async fn run(config: &MonitorSettings, stop: &CancellationToken) {
    let console = config.host.roles.iter().find(|(name, _)| *name == "console");
    let Some((_, state_dir)) = console else { return };
    let folder = RequestFolder::of(state_dir);
    let mut is_told = false;
    loop {
        let (data_dir, folder) = (config.data_dir.clone(), folder.clone());
        let passed = tokio::task::spawn_blocking(move || pass(&data_dir, &folder)).await;
        match passed {
            Ok(Err(error)) if !is_told => {
                is_told = true;
                tracing::warn!(
                    error = &error as &dyn Error,
                    "requests of the console cannot be carried out now; this is tried again"
                );
            }
            Ok(Ok(())) => is_told = false,
            _ => {}
        }
        let pause = tokio::time::sleep(LOOK_INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

fn pass(data_dir: &Path, folder: &RequestFolder) -> Result<(), CarryOutError> {
    if folder.list()?.is_empty() {
        return Ok(());
    }
    carry_out(data_dir, folder, Timestamp::now()).map(drop)
}

fn carry_out(data_dir: &Path, folder: &RequestFolder, now: Timestamp) -> Result<usize, CarryOutError> {
    let mut ledger = Ledger::open(data_dir)?;
    carry_out_all(folder, &mut ledger, now, |ledger, request| {
        act(ledger, request, now)
    })
}

fn act(ledger: &mut Ledger, request: &ConsoleRequest, now: Timestamp) -> Result<Option<String>, LedgerError> {
    let RequestedAction::Silence {
        subject,
        seconds,
        why,
    } = &request.action
    else {
        return Ok(None);
    };
    if *seconds == 0 {
        let is_ended = ledger.end_silence(subject, now)?;
        let text = if is_ended {
            "no longer silenced"
        } else {
            "it was not silenced"
        };
        return Ok(Some(text.to_owned()));
    }
    let length = SignedDuration::from_secs(i64::try_from(*seconds).unwrap_or(i64::MAX));
    let silence = Silence {
        subject: subject.clone(),
        since: now,
        until: now.checked_add(length).unwrap_or(Timestamp::MAX),
        why: format!("{why} ({})", request.who),
    };
    Ok(Some(match ledger.silence(&silence)? {
        SilenceOutcome::Silenced { muted } => format!(
            "silenced until {:.0}; {} muted",
            silence.until,
            count_of(muted, "open incident")
        ),
        SilenceOutcome::TooMany => "not done: too many subjects are silenced already; end some".to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_of_the_console_holds_and_ends() {
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
        let (folder, now) = (RequestFolder::of(&dir.path().join("console")), Timestamp::now());
        let ask = |id: &str, seconds| {
            let request = ConsoleRequest {
                id: id.to_owned(),
                at: now,
                who: "ops".to_owned(),
                action: RequestedAction::Silence {
                    subject: "198.51.100.1".to_owned(),
                    seconds,
                    why: "moving".to_owned(),
                },
            };
            folder.put(&request).expect("written");
            carry_out(dir.path(), &folder, now).expect("carried out")
        };
        assert_eq!(ask("one", 600), 1);
        let silences = ledger.silences(now).expect("read");
        assert_eq!(silences.len(), 1);
        assert_eq!(silences[0].why, "moving (ops)");
        assert_eq!(ask("two", 0), 1);
        assert_eq!(ledger.silences(now).expect("read"), []);
        assert_eq!(carry_out(dir.path(), &folder, now).expect("nothing"), 0);
    }
}
