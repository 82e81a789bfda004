//! A source of type `journal`: the journal of this host.

use crate::collector::raw_source::RawCollectorSource;
use crate::yaml::field::ConfigField;

/// The journal of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalSettings {
    /// The units whose entries are taken, such as `nginx.service`; all when empty.
    pub units: Vec<String>,
    /// Fields that an entry must have, as `FIELD=value`; of one field any value counts, of several fields all must be there
    /// (journalctl(1)).
    pub matches: Vec<(String, String)>,
}

impl JournalSettings {
    pub(super) fn take(raw: &mut RawCollectorSource, at: &ConfigField<'_>) -> Option<Self> {
        let units = at
            .key("units")
            .each(raw.units.take().unwrap_or_default(), |text: String, at| {
                at.filled(&text)
            });
        let matches = raw.matches.take().unwrap_or_default();
        let matches = at
            .key("matches")
            .each(matches, |text: String, at| at.check(&text, field_match));
        Some(Self {
            units: units?,
            matches: matches?,
        })
    }
}

fn field_match(text: &str) -> Result<(String, String), String> {
    let is_field = |name: &str| {
        let is_of_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.bytes().all(is_of_name)
    };
    match text.split_once('=') {
        Some((name, value)) if is_field(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!(
            "`{text}` is no match; write a field of the journal and its value, such as `_TRANSPORT=kernel`"
        )),
    }
}
