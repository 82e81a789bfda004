//! Circles in the graph of a crate's modules.
//!
//! A module may use its ancestors and its descendants. Between two other modules an import counts for the two siblings
//! that contain them: an import of `ssh::login` in `publish::attempt` says that `publish` depends on `ssh`. Among the
//! children of each module these dependencies must not form a circle. So neither files nor folders form one.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{Crate, Import, ModulePath};

/// For each module, its children's dependencies on each other, each with one import that makes it.
type Siblings<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Import>>;

/// One line for each circle, with the imports that make it.
pub(crate) fn faults(one: &Crate) -> Vec<String> {
    let mut levels: BTreeMap<&[String], Siblings<'_>> = BTreeMap::new();
    for import in &one.imports {
        if let Some((parent, from, to)) = siblings(&import.from, &import.to) {
            let level = levels.entry(parent).or_default();
            level.entry(from).or_default().entry(to).or_insert(import);
        }
    }
    levels.values().flat_map(circles).collect()
}

/// Where two modules part: their last common ancestor, and its two children towards them. `None` if one contains the
/// other.
fn siblings<'a>(from: &'a ModulePath, to: &'a ModulePath) -> Option<(&'a [String], &'a str, &'a str)> {
    let common = from.iter().zip(to).take_while(|(from, to)| from == to).count();
    Some((from.get(..common)?, from.get(common)?, to.get(common)?))
}

/// The shortest circle through each child that is in one; a circle is reported once.
fn circles(level: &Siblings<'_>) -> Vec<String> {
    let mut reported: BTreeSet<&str> = BTreeSet::new();
    let mut faults = Vec::new();
    for start in level.keys() {
        if reported.contains(start) {
            continue;
        }
        if let Some(circle) = circle_through(level, start) {
            let imports = circle.iter().map(|(_, import)| import.to_string());
            let line = imports.collect::<Vec<_>>().join("\n    ");
            faults.push(format!("circle of {} modules:\n    {line}", circle.len()));
            reported.extend(circle.iter().map(|(name, _)| name));
        }
    }
    faults
}

/// Searches breadth first, from `start` back to it. Each module of the circle comes with an import that leads to it.
fn circle_through<'a>(level: &Siblings<'a>, start: &'a str) -> Option<Vec<(&'a str, &'a Import)>> {
    let mut ways = vec![(start, Vec::new())];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for (at, way) in ways {
            for (to, import) in level.get(at).into_iter().flatten() {
                let mut way: Vec<(&str, &Import)> = way.clone();
                way.push((*to, *import));
                if *to == start {
                    return Some(way);
                }
                if seen.insert(*to) {
                    longer.push((*to, way));
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(from: &str, to: &str) -> Import {
        let path = |text: &str| text.split("::").map(ToOwned::to_owned).collect();
        Import {
            from: path(from),
            to: path(to),
            place: format!("src/{from}.rs:1"),
        }
    }

    fn circles_of(imports: &[(&str, &str)]) -> Vec<String> {
        let one = Crate {
            modules: Vec::new(),
            imports: imports.iter().map(|(from, to)| import(from, to)).collect(),
        };
        faults(&one)
    }

    #[test]
    fn circle_between_folders_is_found_though_no_two_files_form_one() {
        let found = circles_of(&[("a::x", "b::y"), ("b::z", "a::w")]);
        assert_eq!(
            found,
            ["circle of 2 modules:\n    src/a::x.rs:1: a::x uses b::y\n    src/b::z.rs:1: b::z uses a::w"]
        );
    }

    #[test]
    fn parents_and_children_may_use_each_other() {
        assert_eq!(circles_of(&[("a", "a::x"), ("a::x", "a")]), Vec::<String>::new());
    }

    #[test]
    fn long_circle_is_one_fault_and_a_way_without_return_none() {
        let long = circles_of(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]);
        assert_eq!(long.len(), 1);
        assert!(circles_of(&[("a", "b"), ("a", "c"), ("b", "c")]).is_empty());
    }
}
