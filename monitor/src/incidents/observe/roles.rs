//! The rules on the roles of this host, and on their files. Pure.

use std::time::Duration;

use super::finding::{RuleFinding, unknown};
use super::{Facts, RuleFindings};
use crate::incidents::rules::{FILES, ROLE};
use crate::time::local_time;
use logferry_inspection::status::{RoleState, RoleStatus};

/// A restart, or an upgrade, is over in less.
const STOPPED_HOLD: Duration = Duration::from_mins(1);

/// The roles without which no line goes on.
const ON_THE_WAY: [&str; 4] = ["sender", "collector", "relay", "forwarder"];

pub(super) fn observe(facts: &Facts<'_>, findings: &mut RuleFindings) {
    for role in &facts.status.roles {
        // That the monitor runs is known.
        if role.name != "monitor" {
            findings.found.extend(stopped(role, facts));
        }
        if role.state == RoleState::Running {
            findings.found.extend(files(role));
        } else {
            findings.unjudged.push(unknown(FILES, &role.name));
        }
    }
}

fn stopped(role: &RoleStatus, facts: &Facts<'_>) -> Option<RuleFinding> {
    if !role.is_missing {
        return None;
    }
    let name = role.name;
    let text = match role.last_seen_at {
        Some(seen) if role.left_sign.is_some() => format!(
            "the {name} has no section any more, and last ran at {}",
            local_time(seen, facts.zone)
        ),
        Some(seen) if role.once => format!(
            "the last pass of the {name} was at {}",
            local_time(seen, facts.zone)
        ),
        Some(seen) => format!(
            "the {name} does not run, it was last seen at {}",
            local_time(seen, facts.zone)
        ),
        None => format!("the {name} has a section and never ran here"),
    };
    let unit = format!("logferry-{name}");
    let advice = if let Some(sign) = &role.left_sign {
        format!(
            "put its section back, or remove {}: nobody looks for the role then",
            sign.display()
        )
    } else if role.once {
        format!(
            "`systemctl start {unit}` starts it for good; if cron or a timer starts its passes, look at that one's log"
        )
    } else {
        format!(
            "`systemctl status {unit}` and `journalctl -u {unit}` say why; `systemctl start {unit}` starts it"
        )
    };
    let finding = RuleFinding::warning(ROLE, &name, text, advice).critical_if(ON_THE_WAY.contains(&name));
    Some(finding.lasting(STOPPED_HOLD, facts.hold))
}

/// The folders and keys that a running role cannot use, a sentence each.
fn files(role: &RoleStatus) -> impl Iterator<Item = RuleFinding> {
    let name = role.name;
    role.problems.iter().map(move |problem| {
        RuleFinding::warning(
            FILES,
            &format!("{name}:{problem}"),
            format!("{name}: {problem}"),
            "`sudo logferry check` looks as the service user and names what to change".to_owned(),
        )
    })
}
