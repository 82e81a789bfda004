//! Puts a file on disk: durable, with its owner, never over another one unless that was asked for.
//!
//! Invariant: a crash at any moment leaves the old file or the new one, whole, and with `force` never neither of them.

use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use logferry_durable::{Disk, DiskError, RealDisk};
use nix::unistd::{Gid, Group, Uid};

use crate::output::exit::{Failure, Result};

/// The group of the roles' user, as packages make it; only root can give a file to it.
pub(super) fn service_group() -> Option<Gid> {
    let group = Group::from_name("logferry").ok().flatten();
    group
        .map(|group| group.gid)
        .filter(|_| Uid::effective().is_root())
}

/// Refuses a file that is there, unless it may be replaced.
pub(super) fn require_free(file: &Path, force: bool) -> Result<()> {
    match file.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(found) if found.is_dir() => Err(Failure::Configuration(anyhow!(
            "{}: is a folder; name the file to write in it with `-c FILE`",
            file.display()
        ))),
        Ok(_) if force => Ok(()),
        Ok(_) => Err(Failure::Configuration(anyhow!(
            "{}: is there already and was not changed; --force writes it anew and keeps the old one beside it, `-c FILE` writes \
             another one",
            file.display()
        ))),
        Err(error) => Err(failure(file, anyhow!(error))),
    }
}

/// Writes the file for root and the roles' user (mode 0640). Returns the new name of the file that it replaced.
pub(super) fn write(file: &Path, text: &str) -> Result<Option<PathBuf>> {
    let group = service_group();
    let write = || -> std::result::Result<Option<PathBuf>, DiskError> {
        make_folder(file, group)?;
        let old = file.exists().then(|| free_name(file));
        if let Some(old) = &old {
            // The old file has both names until the switch.
            RealDisk.keep_as(file, old)?;
        }
        RealDisk.replace_for_group(file, text.as_bytes(), group.map(Gid::as_raw))?;
        Ok(old)
    };
    write().map_err(|error| failure(file, anyhow!(error)))
}

/// The folder of the file, if there is none: `/etc/logferry` is root's, and the roles' user may read it.
fn make_folder(file: &Path, group: Option<Gid>) -> std::result::Result<(), DiskError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(folder) = folder.filter(|folder| !folder.exists()) else {
        return Ok(());
    };
    RealDisk.create_dir_all(folder)?;
    if let Some(group) = group {
        // Not durable, and need not be: `check` tells a folder that the roles' user may not enter.
        let _ = chown(folder, None, Some(group.as_raw()));
    }
    Ok(())
}

/// `FILE.old`, or the first of `FILE.old.2`, `FILE.old.3`, … that is free.
fn free_name(file: &Path) -> PathBuf {
    let named = |end: String| {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(end);
        file.with_file_name(name)
    };
    let numbered = (2..).map(|number| format!(".old.{number}"));
    let mut candidates = std::iter::once(".old".to_owned()).chain(numbered).map(named);
    let free = candidates.find(|name| name.symlink_metadata().is_err());
    free.unwrap_or_else(|| file.with_extension("old"))
}

fn failure(file: &Path, error: anyhow::Error) -> Failure {
    let is_denied = error.chain().any(|cause| {
        let cause = cause.downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| cause.kind() == ErrorKind::PermissionDenied)
    });
    let advice = if is_denied && !Uid::effective().is_root() {
        "run it as root (`sudo logferry init …`), or name another file with `-c FILE`"
    } else {
        "check the folder and the disk"
    };
    Failure::Work(error.context(format!("{}: cannot be written; {advice}", file.display())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_is_there_is_kept_under_another_name_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("etc/logferry.yaml");
        assert!(require_free(&file, false).is_ok());
        assert_eq!(write(&file, "one").unwrap(), None);
        assert!(require_free(&file, false).is_err());
        assert!(require_free(&file, true).is_ok());
        assert!(require_free(dir.path(), true).is_err(), "a folder");
        let mut kept = Vec::new();
        for text in ["two", "three"] {
            kept.extend(write(&file, text).unwrap());
        }
        let names: Vec<_> = kept
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["logferry.yaml.old", "logferry.yaml.old.2"]);
        let texts: Vec<_> = kept
            .iter()
            .chain([&file])
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        assert_eq!(texts, ["one", "two", "three"]);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(
            fs::read_dir(file.parent().unwrap()).unwrap().count(),
            3,
            "nothing else is left"
        );
    }
}
