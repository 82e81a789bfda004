//! A source of type `windows_events`: .evtx files.

use crate::collector::raw_source::RawCollectorSource;
use crate::yaml::field::{ConfigField, refuse_home};

/// Windows event logs: .evtx files that are copied to this host, or live ones on a mounted share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowsEventsSettings {
    /// A path, or a glob for several files.
    pub path: String,
}

impl WindowsEventsSettings {
    pub(super) fn take(raw: &mut RawCollectorSource, at: &ConfigField<'_>) -> Option<Self> {
        let path = at.required("path", raw.path.take(), "/srv/evtx/*.evtx", |at, raw| {
            at.check(raw, glob_of_files)
        });
        Some(Self { path: path? })
    }
}

fn glob_of_files(text: &str) -> Result<String, String> {
    refuse_home(text)?;
    match glob::Pattern::new(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        Ok(_) => Err("is empty; write a path such as /srv/evtx/*.evtx".to_owned()),
        Err(error) => Err(format!("`{text}` is not a glob: {}", error.msg)),
    }
}
