//! The commands of people and scripts, one file each: they read the configuration, call a library and print its result.
//!
//! The text that a command prints for people can be changed in its file alone. Names of commands, options and JSON keys and the exit
//! codes are a contract. The commands that run roles are in `roles/`.

pub(crate) mod accounts;
pub(crate) mod adopt;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod backfill;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod fsck;
pub(crate) mod generate;
pub(crate) mod init;
pub(crate) mod numbers;
pub(crate) mod packaging;
pub(crate) mod resend;
pub(crate) mod retry;
pub(crate) mod rules;
pub(crate) mod search;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod tail;
pub(crate) mod trust;

use anyhow::anyhow;
use jiff::Timestamp;

use crate::args::BatchSelection;
use crate::output::exit::Failure;

/// Refuses times between which no line can be.
fn require_order(since: Option<Timestamp>, until: Option<Timestamp>) -> anyhow::Result<()> {
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err(anyhow!(
            "--since is not before --until, so no line can be between them; exchange the two"
        ));
    }
    Ok(())
}

/// Refuses times between which no window can be: an audit of nothing is complete. One time as both is its window.
fn require_window_order(selection: &BatchSelection) -> Result<(), Failure> {
    if selection.since == selection.until {
        return Ok(());
    }
    require_order(selection.since, selection.until).map_err(Failure::configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_the_wrong_order_are_refused() {
        let time = |second| Timestamp::from_second(second).ok();
        assert!(require_order(time(2), time(1)).is_err());
        assert!(require_order(time(1), time(1)).is_err());
        assert!(require_order(time(1), time(2)).is_ok());
        assert!(require_order(time(1), None).is_ok());
    }

    #[test]
    fn an_audit_of_windows_in_the_wrong_order_is_refused() {
        let selection = |since, until| BatchSelection {
            since: Timestamp::from_second(since).ok(),
            until: Timestamp::from_second(until).ok(),
            source: None,
        };
        assert!(require_window_order(&selection(2, 1)).is_err());
        assert!(require_window_order(&selection(1, 1)).is_ok());
    }
}
