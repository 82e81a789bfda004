//! Paths of batches at a destination: subfolders of its folder, and file names.
//!
//! Invariant: after [`RemoteLayout::check`] no two batches have one path. Later parts of a window end in `.2`, `.3` as in
//! the spool.

use crate::relay::RelaySettings;
use logferry_time_windows::{
    NameField, NamePiece, NameTemplateError, NameValues, REMOTE_FIELDS, check_distinct, check_plain, pieces,
    render,
};

/// Paths of batches below the existing folder of a destination. By default batches go into that folder, under their own
/// names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteLayout {
    /// Outermost first; each is one path component.
    subfolders: Vec<Vec<NamePiece>>,
    /// Without `.log`.
    name: Vec<NamePiece>,
}

/// An invalid folder or name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error(transparent)]
    Pattern(#[from] NameTemplateError),
    #[error(
        "begins with `~`, which an SFTP server does not know; write it as seen from the login's folder, without `~/`"
    )]
    Home,
    #[error("`{0}` must not follow a field; remove it from the path")]
    Dots(String),
    #[error("has {{batch}}, so each batch would have a folder of its own; write it in `file_name`")]
    BatchSettings,
    #[error(
        "has no {{batch}}, and this file has no relay section that shows whether the other fields give each batch its own \
         path; add {{batch}}"
    )]
    Unproven,
    #[error(
        "has {{log}}, but relay.batch.name has none, so logs share a batch; remove it here, or add it there"
    )]
    NoLog,
}

impl Default for RemoteLayout {
    fn default() -> Self {
        Self {
            subfolders: Vec::new(),
            name: vec![NamePiece::Field(NameField::Batch)],
        }
    }
}

impl RemoteLayout {
    /// `name`: `None` for the batch's own name.
    pub(crate) fn new(subfolders: Vec<Vec<NamePiece>>, name: Option<Vec<NamePiece>>) -> Self {
        let name = name.unwrap_or(Self::default().name);
        Self { subfolders, name }
    }

    /// The key of the setting that makes the last part of the paths.
    pub(crate) fn key(&self) -> &'static str {
        if *self.name == Self::default().name {
            "directory"
        } else {
            "file_name"
        }
    }

    /// Proves that no two batches of `relay` have one path.
    pub(crate) fn check(&self, relay: Option<&RelaySettings>) -> Result<(), LayoutError> {
        let subfolders = self.subfolders.iter().flatten();
        let all: Vec<_> = subfolders.chain(&self.name).cloned().collect();
        let uses = |field| all.contains(&NamePiece::Field(field));
        let relay_uses = |field| relay.is_none_or(|relay| relay.batch.name.uses(field));
        if uses(NameField::Log) && !relay_uses(NameField::Log) {
            return Err(LayoutError::NoLog);
        }
        if uses(NameField::Batch) {
            return Ok(());
        }
        if relay.is_none() {
            return Err(LayoutError::Unproven);
        }
        check_distinct(&all)?;
        for (field, name) in [(NameField::Log, "{log}"), (NameField::Group, "{group}")] {
            if relay_uses(field) && !uses(field) {
                return Err(NameTemplateError::Ambiguous(name).into());
            }
        }
        Ok(())
    }

    /// The paths of a batch below the folder `root`. `extension`: the end of the file name after `.log`.
    pub(super) fn paths(
        &self,
        root: &str,
        extension: &str,
        values: &NameValues<'_>,
        part: u32,
    ) -> RemoteBatchPaths {
        let mut path = root.trim_end_matches('/').to_owned();
        let mut folders = Vec::with_capacity(self.subfolders.len());
        for subfolder in &self.subfolders {
            path = format!("{path}/{}", render(subfolder, values));
            folders.push(path.clone());
        }
        let mut stem = format!("{path}/{}", render(&self.name, values));
        // The batch's own name contains the part.
        if part > 1 && !self.name.contains(&NamePiece::Field(NameField::Batch)) {
            stem = format!("{stem}.{part}");
        }
        let file = format!("{stem}.log{extension}");
        RemoteBatchPaths { folders, stem, file }
    }
}

/// The paths of a batch at a destination, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteBatchPaths {
    /// Its subfolders, outermost first; none if it goes into the existing folder.
    pub folders: Vec<String>,
    /// Its file, without `.log`.
    pub stem: String,
    /// Its file.
    pub file: String,
}

/// Splits `directory` at the first field: the folder that must exist, and the subfolders that are made.
pub(crate) fn parse_directory(directory: &str) -> Result<(String, Vec<Vec<NamePiece>>), LayoutError> {
    if directory == "~" || directory.starts_with("~/") {
        return Err(LayoutError::Home);
    }
    let Some(field) = directory.find('{') else {
        return Ok((directory.to_owned(), Vec::new()));
    };
    let (before, _) = directory.split_at(field);
    let (root, below) = match before.rfind('/') {
        Some(slash) => directory.split_at(slash + 1),
        None => (".", directory),
    };
    let mut subfolders = Vec::new();
    for part in below.split('/').filter(|part| !part.is_empty()) {
        if [".", ".."].contains(&part) {
            return Err(LayoutError::Dots(part.to_owned()));
        }
        let pieces = pieces(part, REMOTE_FIELDS)?;
        if pieces.contains(&NamePiece::Field(NameField::Batch)) {
            return Err(LayoutError::BatchSettings);
        }
        subfolders.push(pieces);
    }
    Ok((root.to_owned(), subfolders))
}

/// Parses the pattern of file names, without `.log`.
pub(crate) fn parse_name(name: &str) -> Result<Vec<NamePiece>, LayoutError> {
    let pieces = pieces(name, REMOTE_FIELDS)?;
    check_plain(&pieces)?;
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use logferry_protocol::names::{GroupName, SourceId};

    use super::*;

    /// The path of a batch.
    fn path(directory: &str, name: Option<&str>, part: u32) -> String {
        let (root, subfolders) = parse_directory(directory).expect("valid");
        let layout = RemoteLayout::new(subfolders, name.map(|name| parse_name(name).expect("valid")));
        let source: SourceId = "198.51.100.44".parse().expect("a source");
        let group: GroupName = "web-1".parse().expect("a group");
        let batch = match part {
            1 => "batch".to_owned(),
            part => format!("batch.{part}"),
        };
        let values = NameValues {
            window_start: jiff::civil::date(2026, 11, 21).at(8, 20, 0, 0),
            window_seconds: 1200,
            source: &source,
            group: &group,
            log: None,
            batch: &batch,
        };
        layout.paths(&root, "", &values, part).file
    }

    #[test]
    fn paths_are_filled_in() {
        assert_eq!(path("/in", None, 1), "/in/batch.log");
        assert_eq!(path("/in", None, 2), "/in/batch.2.log");
        assert_eq!(path("/", Some("x_{batch}"), 2), "/x_batch.2.log");
        let deep = path("/in/{group}/{source}/{yyyy}/{mm}/{dd}/", None, 1);
        assert_eq!(deep, "/in/web-1/198-51-100-44/2026/11/21/batch.log");
        let name = Some("{yymmddHH}_{window}_{source}");
        let named = [path("{group}", name, 1), path("/{group}", name, 3)];
        let stem = "web-1/26112108_20-39_198-51-100-44";
        assert_eq!(named, [format!("./{stem}.log"), format!("/{stem}.3.log")]);
        assert_eq!(path("in/x-{group}//y", Some("{log}"), 1), "in/x-web-1/y/all.log");
    }

    #[test]
    fn the_folder_that_must_be_there_ends_before_the_first_field() {
        let root = |directory| parse_directory(directory).expect("valid").0;
        assert_eq!(root("/in/a/x{group}/b"), "/in/a/");
        assert_eq!(root("/{group}"), "/");
        assert_eq!(root("in}"), "in}");
    }

    #[test]
    fn what_leads_elsewhere_or_has_no_end_is_refused() {
        let refusal = |directory| parse_directory(directory).expect_err(directory).to_string();
        let dots = "`..` must not follow a field; remove it from the path";
        assert_eq!(refusal("/in/{group}/../x"), dots);
        assert_eq!(
            refusal("/in/{batch}"),
            "has {batch}, so each batch would have a folder of its own; write it in `file_name`"
        );
        let near = "there is no field {grup}; did you mean {group}?";
        assert_eq!(refusal("/in/{grup}"), near);
        assert_eq!(
            parse_name("a/{batch}").expect_err("a slash").to_string(),
            "'/' is not allowed in a file name; use letters, digits, '.', '_' and '-'"
        );
    }
}
