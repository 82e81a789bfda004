//! The words that names are made of.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::Crate;

/// The heading in docs/glossary.md below which the given-up words stand, one in each line: "- word → better word".
const HEADING: &str = "## Words we gave up";

/// The words that docs/glossary.md lists as given up, each with what to say instead.
pub(crate) fn given_up(glossary: &str) -> BTreeMap<String, String> {
    let section = glossary.split(HEADING).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter_map(|line| line.strip_prefix("- "));
    lines
        .filter_map(|line| line.split_once(" -> ").or_else(|| line.split_once(" → ")))
        .map(|(word, better)| (word.trim_matches('`').to_lowercase(), better.to_owned()))
        .collect()
}

/// Modules and types named with a given-up word, and names that several types have.
pub(crate) fn faults(crates: &[Crate], given_up: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for module in crates.iter().flat_map(|one| &one.modules) {
        let types = module.types.iter().map(|(name, place)| (name, place));
        let module_name = module.path.last().map(|name| (name, &module.file));
        for (name, place) in types.clone().chain(module_name) {
            for word in words(name) {
                if let Some(better) = given_up.get(&word) {
                    faults.push(format!(
                        "{place}: `{name}` has the word \"{word}\"; say: {better}"
                    ));
                }
            }
        }
        for (name, place) in types {
            places.entry(name).or_default().insert(place);
        }
    }
    for (name, places) in places {
        if places.len() > 1 {
            let places = places.into_iter().collect::<Vec<_>>().join(", ");
            faults.push(format!("`{name}` is the name of several types: {places}"));
        }
    }
    faults
}

/// The words of a name in `snake_case` or `CamelCase`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut after_lower = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = letter.is_lowercase();
        if letter != '_' {
            let lower = letter.to_lowercase();
            match words.last_mut() {
                Some(word) => word.extend(lower),
                None => words.push(lower.collect()),
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Module;

    #[test]
    fn given_up_word_is_found_as_a_whole_word_only() {
        let glossary = "# Words\n\n## Words we gave up\n\n- door → connection limit\n- keeper -> store\n\n## More\n- x -> y\n";
        let given_up = given_up(glossary);
        assert_eq!(given_up.len(), 2);
        let module = Module {
            path: vec!["bookkeeper".to_owned()],
            file: "src/bookkeeper.rs".to_owned(),
            is_documented: true,
            types: vec![
                ("FrontDoor".to_owned(), "src/a.rs:3".to_owned()),
                ("Doorway".to_owned(), "src/a.rs:9".to_owned()),
            ],
        };
        let one = Crate {
            modules: vec![module],
            imports: Vec::new(),
        };
        assert_eq!(
            faults(&[one], &given_up),
            ["src/a.rs:3: `FrontDoor` has the word \"door\"; say: connection limit"]
        );
    }

    #[test]
    fn names_are_taken_apart_at_capitals_and_underscores() {
        assert_eq!(words("open_batches"), ["open", "batches"]);
        assert_eq!(words("SftpDriver"), ["sftp", "driver"]);
        assert_eq!(words("RawTLS"), ["raw", "tls"]);
    }
}
