//! Which entries are taken: by unit and by the values of fields, as `journalctl -u` and `journalctl FIELD=VALUE` choose them.
//!
//! The choice is made here and not by `journalctl`: with a filter, systemd 252 loses its place (see `resume`).

use std::collections::BTreeMap;

use glob::Pattern;

use super::export::JournalEntry;

/// The message id of a core dump (`SD_MESSAGE_COREDUMP` in `sd-messages.h`).
const COREDUMP: &str = "fc2e22bc6ee647b6b90729ab34a250b1";

/// The endings of the names of units (`systemd.unit(5)`).
const UNIT_TYPES: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

/// Chooses entries.
#[derive(Debug)]
pub(crate) struct EntryFilter {
    /// Any of them; no unit at all lets every entry through.
    units: Vec<Pattern>,
    /// By field: any of the values. All fields must match.
    matches: BTreeMap<String, Vec<String>>,
}

impl EntryFilter {
    /// A unit's name without a type means a service, and may be a glob. `wanted`: fields and their values.
    pub(crate) fn new(units: &[String], wanted: &[(String, String)]) -> Self {
        let mut matches: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (field, value) in wanted {
            matches.entry(field.clone()).or_default().push(value.clone());
        }
        Self {
            units: units.iter().map(|unit| unit_pattern(unit)).collect(),
            matches,
        }
    }

    /// Whether the entry is taken.
    pub(crate) fn takes(&self, entry: &JournalEntry) -> bool {
        let has_value = |field: &str, wanted: &[String]| {
            let mut values = entry.values(field);
            values.any(|value| wanted.iter().any(|wanted| wanted.as_bytes() == value))
        };
        let mut matches = self.matches.iter();
        matches.all(|(field, wanted)| has_value(field, wanted))
            && (self.units.is_empty() || self.units.iter().any(|unit| is_of_unit(entry, unit)))
    }
}

/// What `journalctl -u` takes: the unit's own messages, and those of systemd and others about it.
fn is_of_unit(entry: &JournalEntry, unit: &Pattern) -> bool {
    let names = |field: &str| entry.text(field).is_some_and(|name| unit.matches(name));
    let is = |field: &str, value: &str| entry.text(field) == Some(value);
    names("_SYSTEMD_UNIT")
        || names("_SYSTEMD_SLICE")
        || (is("_PID", "1") && names("UNIT"))
        || (is("_UID", "0") && names("OBJECT_SYSTEMD_UNIT"))
        || (is("_UID", "0") && is("MESSAGE_ID", COREDUMP) && names("COREDUMP_UNIT"))
}

fn unit_pattern(unit: &str) -> Pattern {
    let has_type = UNIT_TYPES.iter().any(|suffix| unit.ends_with(suffix));
    let name = if has_type || unit.ends_with('*') {
        unit.to_owned()
    } else {
        format!("{unit}.service")
    };
    // What is no glob is a plain name.
    Pattern::new(&name)
        .or_else(|_| Pattern::new(&Pattern::escape(&name)))
        .unwrap_or_default()
}
