//! Reads an installed systemd unit with its drop-ins (systemd.unit(5)), as far as its user and its sandbox go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where units are looked for, the first has precedence (systemd.unit(5), "Unit File Load Path").
const FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// The settings of a unit's `[Service]` section that make its user and its sandbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct UnitFile {
    /// The name, with `.service`.
    pub(crate) name: String,
    /// `User`; empty: root.
    pub(crate) user: String,
    /// `Group`; empty: the user's own.
    pub(crate) group: String,
    /// `SupplementaryGroups`.
    pub(crate) groups: Vec<String>,
    /// `ProtectSystem`: `no`, `yes`, `full`, `strict`.
    pub(crate) protect_system: String,
    /// `ProtectHome`: `no`, `yes`, `read-only`, `tmpfs`.
    pub(crate) protect_home: String,
    /// Whether `/tmp` and `/var/tmp` are the unit's own.
    pub(crate) has_private_tmp: bool,
    /// Folders that it may write all the same.
    pub(crate) writable: Vec<PathBuf>,
    /// `AmbientCapabilities`: what its user has.
    pub(crate) ambient: Vec<String>,
    /// `CapabilityBoundingSet`: what its processes can have at most; `None`: anything.
    pub(crate) bounding: Option<Vec<String>>,
}

/// What a process needs to listen on a low port (capabilities(7)).
const LOW_PORTS: &str = "CAP_NET_BIND_SERVICE";

impl UnitFile {
    /// The unit of this name below `root`; `None` if it is not installed.
    pub(crate) fn installed(root: &Path, name: &str) -> Option<Self> {
        let folders = FOLDERS.map(|folder| root.join(folder));
        let read = |path: PathBuf| std::fs::read_to_string(path).ok();
        let own = folders.iter().find_map(|folder| read(folder.join(name)))?;
        // A drop-in of an earlier folder replaces one of the same name.
        let mut drop_ins = BTreeMap::new();
        for folder in drop_in_folders(&folders, name).iter().rev() {
            let files = std::fs::read_dir(folder);
            for file in files.into_iter().flatten().flatten().map(|entry| entry.path()) {
                if file.extension().is_some_and(|extension| extension == "conf") {
                    drop_ins.insert(file.file_name().map(ToOwned::to_owned), file);
                }
            }
        }
        let drop_ins = drop_ins.into_values().filter_map(read);
        Some(Self::of(name, std::iter::once(own).chain(drop_ins)))
    }

    /// Whether a unit is started at boot: a target wants it.
    pub(crate) fn is_enabled(root: &Path, name: &str) -> bool {
        let entries = std::fs::read_dir(root.join("etc/systemd/system"));
        let mut folders = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        folders.any(|folder| {
            folder.extension().is_some_and(|extension| extension == "wants")
                && folder.join(name).symlink_metadata().is_ok()
        })
    }

    /// The settings of a unit's text and its drop-ins, in their order.
    pub(crate) fn of(name: &str, texts: impl IntoIterator<Item = String>) -> Self {
        let mut unit = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        for text in texts {
            let mut section = String::new();
            for line in joined_lines(&text) {
                let line = line.trim();
                if line.starts_with('[') {
                    line.clone_into(&mut section);
                } else if section == "[Service]"
                    && let Some((key, value)) = line.split_once('=')
                {
                    unit.set(key.trim(), value.trim());
                }
            }
        }
        unit
    }

    fn set(&mut self, key: &str, value: &str) {
        let is_on = matches!(value, "yes" | "true" | "on" | "1");
        match key {
            "User" => value.clone_into(&mut self.user),
            "Group" => value.clone_into(&mut self.group),
            "SupplementaryGroups" if value.is_empty() => self.groups.clear(),
            "SupplementaryGroups" => self.groups.extend(words(value)),
            "ProtectSystem" => value.clone_into(&mut self.protect_system),
            "ProtectHome" => value.clone_into(&mut self.protect_home),
            "PrivateTmp" => self.has_private_tmp = is_on || value == "disconnected",
            "StateDirectory" => self.add_writable("/var/lib", value),
            "CacheDirectory" => self.add_writable("/var/cache", value),
            "LogsDirectory" => self.add_writable("/var/log", value),
            "RuntimeDirectory" => self.add_writable("/run", value),
            // An empty value takes back the earlier ones. For the folders above it does so too, but then the unit has no
            // state folder, and a missing finding is no harm.
            "ReadWritePaths" if value.is_empty() => self.writable.clear(),
            "ReadWritePaths" => self.add_writable("", value),
            "AmbientCapabilities" => add_words(&mut self.ambient, value),
            "CapabilityBoundingSet" => add_words(self.bounding.get_or_insert_default(), value),
            _ => {}
        }
    }

    /// Whether it may listen on ports that are root's by default. A set that is written as what is left out (`~CAP_…`) is not
    /// judged, and passes: a missing finding is no harm.
    pub(crate) fn may_listen_on_low_ports(&self) -> bool {
        let has = |words: &[String]| {
            let mut words = words.iter();
            words.any(|word| word.eq_ignore_ascii_case(LOW_PORTS) || word.starts_with('~'))
        };
        let is_root = matches!(self.user.as_str(), "" | "root" | "0");
        let is_in_bounds = self.bounding.as_deref().is_none_or(has);
        is_in_bounds && (is_root || has(&self.ambient))
    }

    fn add_writable(&mut self, below: &str, value: &str) {
        let paths = words(value).into_iter().map(|path| {
            let path = path.trim_start_matches(['-', '+']).replace("%%", "%");
            // `StateDirectory=name:link` has a second name.
            let path = path.split(':').next().unwrap_or(&path);
            if below.is_empty() {
                PathBuf::from(path)
            } else {
                Path::new(below).join(path)
            }
        });
        self.writable.extend(paths);
    }
}

/// The folders with drop-ins of a unit, the first has precedence: its own and those of the beginnings of its name, and at last those of
/// all services (systemd.unit(5)).
fn drop_in_folders(folders: &[PathBuf], name: &str) -> Vec<PathBuf> {
    let mut own = vec![format!("{name}.d")];
    let stem = name.strip_suffix(".service").unwrap_or(name);
    let beginnings = stem.rmatch_indices('-').filter_map(|(dash, _)| stem.get(..=dash));
    own.extend(beginnings.map(|beginning| format!("{beginning}.service.d")));
    let of_names = folders
        .iter()
        .flat_map(|folder| own.iter().map(|name| folder.join(name)));
    let of_all = folders.iter().map(|folder| folder.join("service.d"));
    of_names.chain(of_all).collect()
}

/// The lines of a unit's text. One that ends with a backslash goes on in the next that is no comment (systemd.syntax(7)).
fn joined_lines(text: &str) -> Vec<String> {
    let (mut lines, mut begun) = (Vec::new(), String::new());
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(part) => begun = format!("{begun}{part} "),
            None => lines.push(std::mem::take(&mut begun) + line),
        }
    }
    lines.push(begun);
    lines
}

/// The words of a setting that is a list: quotes keep spaces, and a character after a backslash is itself.
fn words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ if c == '\\' => word.get_or_insert_default().extend(characters.next()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Adds the words of a setting that is a list; an empty value takes back the earlier ones.
fn add_words(list: &mut Vec<String>, value: &str) {
    if value.is_empty() {
        list.clear();
    }
    list.extend(words(value));
}
