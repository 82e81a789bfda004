//! The names of the rules that logferry has itself. They are in JSON and in mails: they stay. A configured rule cannot have one.

/// A source was heard, and is not any more.
pub const STALE: &str = "stale";
/// A source is expected and was never heard.
pub const MISSING: &str = "missing";
/// All sources of a group fell silent together.
pub const ALL_SILENT: &str = "all silent";
/// Lines wait on their source for too long.
pub const BEHIND: &str = "behind";
/// A rotated or deleted file has lines that are not stored.
pub const AT_RISK: &str = "at risk";
/// Lines are lost.
pub const LOSING: &str = "losing";
/// A sender does not ship a file or a log.
pub const HELD: &str = "held";
/// Two senders send for one source.
pub const TWO_SENDERS: &str = "two senders";
/// A sender cannot save its checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// A source's clock and this host's differ.
pub const CLOCK: &str = "clock";
/// A destination does not answer, or not as it should.
pub const DOWN: &str = "down";
/// A destination refuses batches.
pub const REFUSING: &str = "refusing";
/// A destination has no space.
pub const FULL: &str = "full";
/// Batches wait for a destination for too long.
pub const LATE: &str = "late";
/// The disk fills.
pub const DISK: &str = "disk";
/// The relay takes no lines, for lack of space.
pub const DISK_FULL: &str = "disk full";
/// A group takes no lines.
pub const GROUP: &str = "group";
/// The relay cannot write its ledger.
pub const LEDGER: &str = "ledger";
/// A role does not run.
pub const ROLE: &str = "role";
/// A role cannot use a file.
pub const FILES: &str = "files";
/// A certificate expires.
pub const CERTIFICATE: &str = "certificate";
/// Two counts of lines differ.
pub const AUDIT: &str = "audit";
/// The indexer is behind, or has left something out. It is also the role's name.
pub const INDEXER: &str = "indexer";
/// The mail server refuses a recipient.
pub const RECIPIENT: &str = "recipient";
/// The configured rules are not evaluated.
pub const RULES: &str = "rules";

/// All of them.
pub const BUILT_IN: [&str; 24] = [
    STALE,
    MISSING,
    ALL_SILENT,
    BEHIND,
    AT_RISK,
    LOSING,
    HELD,
    TWO_SENDERS,
    CHECKPOINT,
    CLOCK,
    DOWN,
    REFUSING,
    FULL,
    LATE,
    DISK,
    DISK_FULL,
    GROUP,
    LEDGER,
    ROLE,
    FILES,
    CERTIFICATE,
    AUDIT,
    INDEXER,
    RECIPIENT,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use logferry_testkit::documents;

    use super::BUILT_IN;

    /// Alerts about configured rules and channels, which have no fixed condition.
    const OF_YOUR_OWN: [&str; 2] = ["rules", "channel"];

    #[test]
    fn every_rule_has_its_entry_in_the_documents() {
        let page = documents::page("docs/monitor/alerts.md");
        let rows = page.text.lines().filter_map(|line| line.strip_prefix("| `"));
        let entries: Vec<(&str, &str)> = rows.filter_map(|row| row.split_once("` | ")).collect();
        for (rule, rest) in &entries {
            let cells: Vec<_> = rest.trim_end_matches('|').split(" | ").map(str::trim).collect();
            let is_filled = cells.len() >= 3 && cells.iter().all(|cell| !cell.is_empty());
            assert!(
                is_filled,
                "{rule} lacks its severity, its meaning, or what to look at and to do"
            );
        }
        let written: BTreeSet<_> = entries.iter().map(|(rule, _)| *rule).collect();
        assert_eq!(written.len(), entries.len(), "a rule has two entries");
        assert_eq!(written, BUILT_IN.into_iter().chain(OF_YOUR_OWN).collect());
    }
}
