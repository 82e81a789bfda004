//! `docs/configure.md` and the pages it names stay true: each key stands there, each block is a valid configuration, and what is
//! written there as a default is one.

mod defaults;
mod known_keys;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use logferry_testkit::documents::{self, DocumentPage, FencedBlock};
use serde_yaml::Value;
use tempfile::TempDir;

use crate::documented::known_keys::{ANY_NAME, below, known_keys};
use crate::reader::RawConfig;
use crate::{Config, parse};

/// The page with every section.
const PAGE: &str = "docs/configure.md";

/// The folder of the files that the examples name.
const FOLDER: &str = "/etc/logferry/";

/// The pages with blocks of the configuration; each with these blocks.
fn documents() -> Vec<(DocumentPage, Vec<FencedBlock>)> {
    let pages = documents::pages().into_iter().map(|page| {
        let blocks = page.blocks().into_iter().filter(is_configuration).collect();
        (page, blocks)
    });
    pages
        .filter(|(_, blocks): &(_, Vec<_>)| !blocks.is_empty())
        .collect()
}

/// Whether it begins with one of our sections. Other YAML, such as that of Prometheus, has other keys.
fn is_configuration(block: &FencedBlock) -> bool {
    let sections = known_keys::<RawConfig>();
    let is_ours = |line: &str| {
        line.split_once(':')
            .is_some_and(|(key, _)| sections.contains(key))
    };
    block.language == "yaml" && block.text.lines().any(is_ours)
}

/// The whole of `docs/configure.md` as one configuration.
fn whole_page() -> String {
    let blocks = documents::page(PAGE)
        .blocks()
        .into_iter()
        .filter(is_configuration);
    blocks.map(|block| block.text).collect()
}

/// The files that the examples name, with something in them. Secrets are read with the configuration.
struct NamedFiles(TempDir);

impl NamedFiles {
    fn of(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ends = |c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c);
        let names = text
            .split(FOLDER)
            .skip(1)
            .filter_map(|rest| rest.split(ends).next());
        for name in names.filter(|name| !name.is_empty()) {
            #[expect(clippy::disallowed_methods, reason = "a fixture")]
            std::fs::write(dir.path().join(name), "https://hooks.example.com/x\n").unwrap();
        }
        Self(dir)
    }

    fn parse(&self, text: &str) -> Result<Config, String> {
        let here = format!("_file: {}/", self.0.path().display());
        let text = text.replace(&format!("_file: {FOLDER}"), &here);
        let parsed = parse(&text, Path::new("c.yaml"), &|_| None);
        let without_warnings = |config| Config {
            warnings: Vec::new(),
            ..config
        };
        parsed.map(without_warnings).map_err(|error| error.to_string())
    }
}

/// `over` laid on `under`: mappings are joined, and so are the items of lists that have the same `name`. Everything else is
/// replaced.
fn join(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Mapping(mut joined), Value::Mapping(over)) => {
            for (key, value) in over {
                let under = joined.remove(&key).unwrap_or(Value::Null);
                joined.insert(key, join(under, value));
            }
            Value::Mapping(joined)
        }
        (Value::Sequence(mut under), Value::Sequence(over)) => {
            let joined = over.into_iter().map(|item| {
                let name = item.get("name");
                let same = under
                    .iter()
                    .position(|known| name.is_some() && known.get("name") == name);
                match same {
                    Some(index) => join(under.remove(index), item),
                    None => item,
                }
            });
            Value::Sequence(joined.collect())
        }
        (_, over) => over,
    }
}

fn value(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// The paths of the keys in a document, as the types name them.
fn written_keys(value: &Value, path: &str, known: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match value {
        Value::Sequence(items) => {
            for item in items {
                written_keys(item, path, known, found);
            }
        }
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let any = below(path, ANY_NAME);
                let path = if known.contains(&any) {
                    any
                } else {
                    below(path, key.as_str().unwrap())
                };
                written_keys(value, &path, known, found);
                found.insert(path);
            }
        }
        _ => {}
    }
}

/// Whether the page says the word as code, or in the comment of a block.
fn says(page: &DocumentPage, blocks: &[FencedBlock], key: &str) -> bool {
    let has = |text: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.split(|c| !is_letter(c)).any(|word| word == key)
    };
    let prose = page.prose();
    let mut code = prose.split('`').skip(1).step_by(2);
    let lines = blocks.iter().flat_map(|block| block.text.lines());
    let mut comments = lines.filter_map(|line| line.split_once('#').map(|(_, comment)| comment));
    code.any(has) || comments.any(has)
}

#[test]
fn every_key_stands_in_the_documents() {
    let known = known_keys::<RawConfig>();
    assert!(known.contains("relay.batch.window") && known.contains("collector.sources.table"));
    let pages = documents();
    let written: Vec<BTreeSet<String>> = pages
        .iter()
        .map(|(_, blocks)| {
            let mut found = BTreeSet::new();
            for block in blocks {
                written_keys(&value(&block.text), "", &known, &mut found);
            }
            found
        })
        .collect();
    let is_written = |path: &str| {
        let (mapping, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut pages = pages.iter().zip(&written);
        key == ANY_NAME
            || pages.any(|((page, blocks), written)| {
                written.contains(path) || (written.contains(mapping) && says(page, blocks, key))
            })
    };
    // The page says of all secrets that they can be in a file.
    let is_secret = |path: &str| path.ends_with(".password") || path.ends_with(".passphrase");
    let is_there = |path: &str| is_written(path) || (is_secret(path) && is_written(&format!("{path}_file")));
    let missing: Vec<_> = known.iter().filter(|path| !is_there(path.as_str())).collect();
    assert!(
        missing.is_empty(),
        "in no YAML block of {PAGE} or the page of its section: {missing:#?}"
    );
}

#[test]
fn every_block_is_a_valid_configuration() {
    let whole = whole_page();
    let pages = documents();
    let texts = pages.iter().map(|(page, _)| page.text.as_str());
    let files = NamedFiles::of(&texts.collect::<String>());
    files
        .parse(&whole)
        .map_err(|error| format!("{PAGE} as one file: {error}"))
        .unwrap();
    for (page, blocks) in pages.iter().filter(|(page, _)| page.path != PAGE) {
        let mut joined = value(&whole);
        for block in blocks {
            joined = join(joined, value(&block.text));
            let text = serde_yaml::to_string(&joined).unwrap();
            let at = format!("{}:{}", page.path, block.line);
            files
                .parse(&text)
                .map_err(|error| format!("{at}: {error}"))
                .unwrap();
        }
    }
}

/// Every `logferry_config` in a document.
fn of_ansible(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                if key.as_str() == Some("logferry_config") {
                    found.push(value.clone());
                } else {
                    of_ansible(value, found);
                }
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| of_ansible(item, found)),
        _ => {}
    }
}

/// The YAML files below a folder of the repository.
fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yml" || extension == "yaml")
        {
            found.push(path);
        }
    }
}

#[test]
fn files_for_fleets_are_yaml() {
    let mut files = Vec::new();
    for folder in ["deploy/ansible", "deploy/cloud-init"] {
        yaml_files(&documents::repository().join(folder), &mut files);
    }
    assert!(files.len() > 7, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let parsed: Result<Value, _> = serde_yaml::from_str(&text);
        parsed
            .map_err(|error| format!("{}: {error}", file.display()))
            .unwrap();
    }
}

#[test]
fn configurations_of_the_ansible_inventory_are_valid() {
    let inventory = documents::page("deploy/ansible/inventory.example.yml").text;
    let mut found = Vec::new();
    of_ansible(&value(&inventory), &mut found);
    assert_eq!(found.len(), 2, "a relay host's and a sender's");
    let files = NamedFiles::of(&inventory);
    for config in found {
        files.parse(&serde_yaml::to_string(&config).unwrap()).unwrap();
    }
}
