//! What a unit's sandbox keeps a role from, and the drop-in that would allow it (systemd.exec(5), "Sandboxing").
//!
//! Pure: paths in, findings out.

use std::path::{Path, PathBuf};

use super::unit_file::UnitFile;

/// The paths that a role uses.
#[derive(Debug, Default)]
pub(crate) struct UsedPaths {
    /// Folders that it writes.
    pub(crate) written: Vec<PathBuf>,
    /// Files and folders that it reads.
    pub(crate) read: Vec<PathBuf>,
}

/// What a unit refuses, and the settings that allow it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SandboxFinding {
    /// Each refused path with the reason.
    pub(crate) refused: Vec<String>,
    /// The folders that the drop-in names.
    pub(crate) folders: Vec<PathBuf>,
    /// The lines of the drop-in, below `[Service]`.
    pub(crate) settings: Vec<String>,
}

/// Compares a unit's sandbox with the paths; `None` if it allows all of them.
pub(crate) fn compare(unit: &UnitFile, paths: &UsedPaths) -> Option<SandboxFinding> {
    let mut finding = SandboxFinding {
        refused: Vec::new(),
        folders: Vec::new(),
        settings: Vec::new(),
    };
    let mut home = None;
    let all = paths.read.iter().map(|path| (path, false));
    for (path, is_written) in all.chain(paths.written.iter().map(|path| (path, true))) {
        let shown = path.display();
        let verb = if is_written { "write" } else { "read" };
        let hides_home = is_below_home(path)
            && match unit.protect_home.as_str() {
                "" | "no" | "false" | "off" | "0" => false,
                "read-only" => is_written,
                _ => true,
            };
        if hides_home {
            finding.refused.push(format!(
                "{shown}: may not be {verb} below /home (ProtectHome={})",
                unit.protect_home
            ));
            // What is written needs the folder itself; what is read only has to be seen.
            home = Some(if is_written || home == Some("no") {
                "no"
            } else {
                "read-only"
            });
        }
        let is_private = unit.has_private_tmp && ["/tmp", "/var/tmp"].iter().any(|tmp| path.starts_with(tmp));
        if is_private {
            finding.refused.push(format!(
                "{shown}: is another folder inside the unit (PrivateTmp=yes); use a folder outside /tmp and /var/tmp"
            ));
        }
        if is_written && !is_private && !is_writable(unit, path) {
            finding.refused.push(format!(
                "{shown}: may not be written (ProtectSystem={})",
                unit.protect_system
            ));
            finding.folders.push(path.clone());
        } else if is_written && hides_home {
            finding.folders.push(path.clone());
        }
    }
    finding
        .settings
        .extend(home.map(|value| format!("ProtectHome={value}")));
    if !finding.folders.is_empty() {
        finding
            .settings
            .push(format!("ReadWritePaths={}", path_list(&finding.folders)));
    }
    (!finding.refused.is_empty()).then_some(finding)
}

/// Paths as the value of a setting that is a list (systemd.syntax(7)).
pub(super) fn path_list(paths: &[PathBuf]) -> String {
    let quoted = |path: &PathBuf| {
        let text = path.display().to_string().replace('%', "%%");
        if text.contains(|c: char| c.is_whitespace() || "\"'\\".contains(c)) {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            text
        }
    };
    paths.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn is_below_home(path: &Path) -> bool {
    ["/home", "/root", "/run/user"]
        .iter()
        .any(|home| path.starts_with(home))
}

fn is_writable(unit: &UnitFile, path: &Path) -> bool {
    let is_below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
    let is_protected = match unit.protect_system.as_str() {
        "strict" => !is_below(&["/dev", "/proc", "/sys"]),
        "full" => is_below(&["/usr", "/boot", "/efi", "/etc"]),
        "yes" | "true" | "on" | "1" => is_below(&["/usr", "/boot", "/efi"]),
        _ => false,
    };
    !is_protected || unit.writable.iter().any(|folder| path.starts_with(folder))
}
