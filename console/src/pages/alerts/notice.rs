//! What the page of alerts says above its list. Pure.

use jiff::Timestamp;
use logferry_inspection::status::RoleStatus;

use crate::pages::parts::times;

/// Whether somebody looks for what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watching {
    /// This host has no monitor.
    Nobody,
    /// It has one, which does not run; when it was last seen.
    Stopped(Option<Timestamp>),
    /// It runs.
    Running,
}

impl Watching {
    /// By the configuration and by the monitor's sign of life.
    pub(super) fn new(has_monitor: bool, roles: &[RoleStatus]) -> Self {
        let monitor = roles.iter().find(|role| role.name == "monitor");
        match monitor {
            _ if !has_monitor => Self::Nobody,
            Some(monitor) if monitor.is_missing => Self::Stopped(monitor.last_seen_at),
            _ => Self::Running,
        }
    }
}

/// The sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AlertsNotice {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) title: String,
    /// As markup.
    pub(super) text: &'static str,
}

impl AlertsNotice {
    /// `open`: incidents that are open, and those of them that are shown.
    pub(super) fn new(watching: Watching, (open, shown): (usize, usize)) -> Option<Self> {
        let notice = |class, sign, title: &str, text| {
            let title = title.to_owned();
            Some(Self {
                class,
                sign,
                title,
                text,
            })
        };
        match (watching, open, shown) {
            (Watching::Nobody, 0, _) => notice(
                "calm",
                "–",
                "Nobody looks for what is wrong.",
                "The configuration of this host has no <code>monitor</code> section. The overview shows the present state all the same.",
            ),
            (Watching::Stopped(seen), ..) => {
                let since = seen.map_or_else(String::new, |seen| format!(" since {}", times::full(seen)));
                notice(
                    "bad",
                    "✕",
                    &format!("Nobody looks for what is wrong{since}."),
                    "The monitor does not run: <code>systemctl status logferry-monitor</code> says why. This page shows what it found before.",
                )
            }
            (Watching::Running, 0, _) => notice(
                "well",
                "✓",
                "Nothing is wrong now.",
                "The monitor looks every minute; this page shows what it has found.",
            ),
            (_, _, 0) => notice(
                "calm",
                "–",
                "No open alert is like that.",
                "Others are open: <a href=\"/alerts\">all alerts</a>.",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wrong_only_if_somebody_has_looked_and_found_nothing() {
        let seen = Timestamp::UNIX_EPOCH;
        for (watching, open, shown, expected) in [
            (Watching::Running, 0, 0, "Nothing is wrong now."),
            (Watching::Running, 2, 0, "No open alert is like that."),
            (Watching::Running, 2, 1, ""),
            (Watching::Nobody, 0, 0, "Nobody looks for what is wrong."),
            (Watching::Stopped(None), 0, 0, "Nobody looks for what is wrong."),
            (
                Watching::Stopped(Some(seen)),
                2,
                2,
                "Nobody looks for what is wrong since <time",
            ),
        ] {
            let title = AlertsNotice::new(watching, (open, shown)).map(|it| it.title);
            let title = title.unwrap_or_default();
            assert!(
                title.starts_with(expected) && title.is_empty() == expected.is_empty(),
                "{watching:?} {open} {shown}: {title}"
            );
        }
    }
}
