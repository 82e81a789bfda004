//! What `docs/configure.md` shows as a default is the default: without the setting, the configuration is the same.
//!
//! A setting that is required, or whose comment says `default: …`, is an example.

use serde_yaml::Value;

use crate::documented::{NamedFiles, PAGE, value, whole_page};
use crate::yaml::yaml_locate::{Step, locate};

/// A step of the path to a value.
#[derive(Clone)]
enum LeafStep {
    Key(String),
    Item(usize),
}

/// The paths of the values that have no settings below them.
fn leaves(value: &Value, path: &[LeafStep], found: &mut Vec<Vec<LeafStep>>) {
    let mut visit = |step, value| leaves(value, &[path, &[step]].concat(), found);
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                visit(LeafStep::Key(key.as_str().unwrap().to_owned()), value);
            }
        }
        Value::Sequence(items) if items.iter().any(Value::is_mapping) => {
            for (index, item) in items.iter().enumerate() {
                visit(LeafStep::Item(index), item);
            }
        }
        _ => found.push(path.to_vec()),
    }
}

/// Takes the setting out.
fn remove(value: &mut Value, path: &[LeafStep]) {
    let (last, above) = path.split_last().unwrap();
    let mut at = value;
    for step in above {
        at = match step {
            LeafStep::Key(key) => at.get_mut(key.as_str()).unwrap(),
            LeafStep::Item(index) => at.get_mut(*index).unwrap(),
        };
    }
    if let (Value::Mapping(mapping), LeafStep::Key(key)) = (at, last) {
        mapping.remove(key.as_str()).unwrap();
    }
}

/// The comments of the setting and of those that it stands in: on its line, and alone on the lines after it.
fn comments(text: &str, path: &[LeafStep]) -> String {
    let steps = path.iter().map(|step| match step {
        LeafStep::Key(key) => Step::Name(key.clone()),
        LeafStep::Item(index) => Step::Index(*index),
    });
    let steps: Vec<_> = steps.collect();
    let mut found = String::new();
    for depth in 1..=steps.len() {
        let line = locate(text, &steps[..depth]).unwrap();
        let mut lines = text.lines().skip(line - 1);
        let own = lines.next().into_iter();
        let own = own.chain(lines.take_while(|line| line.trim_start().starts_with('#')));
        found.extend(own.filter_map(|line| line.split_once('#').map(|(_, comment)| comment)));
    }
    found
}

fn shown(path: &[LeafStep]) -> String {
    let steps = path.iter().map(|step| match step {
        LeafStep::Key(key) => format!(".{key}"),
        LeafStep::Item(index) => format!("[{index}]"),
    });
    steps.collect::<String>().trim_start_matches('.').to_owned()
}

#[test]
fn values_in_the_page_are_the_defaults() {
    let text = whole_page();
    let files = NamedFiles::of(&text);
    let whole = value(&text);
    let shown_settings = files.parse(&text).unwrap();
    let mut paths = Vec::new();
    leaves(&whole, &[], &mut paths);
    let mut others = Vec::new();
    for path in &paths {
        let mut without = whole.clone();
        remove(&mut without, path);
        // Without a required setting it is no configuration.
        let Ok(settings) = files.parse(&serde_yaml::to_string(&without).unwrap()) else {
            continue;
        };
        if settings != shown_settings && !comments(&text, path).contains("default: ") {
            others.push(shown(path));
        }
    }
    assert!(paths.len() > 100, "{} settings", paths.len());
    assert!(
        others.is_empty(),
        "{PAGE}: not the default, and no comment with `default:` says what is: {others:#?}"
    );
}
