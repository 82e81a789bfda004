//! Properties of every configuration, for the fuzz target `configuration` and the test of its corpus.

use std::path::Path;

use crate::{ConfigError, parse};

/// Checks a configuration. A valid one has a role. An invalid one has problems, and each line that they name exists. A second
/// check gives the same result.
#[expect(clippy::missing_panics_doc, reason = "that is how it says what does not hold")]
pub fn configuration(data: &[u8]) {
    // The check reads secret files, whatever path the text names.
    let text = std::str::from_utf8(data).ok();
    let Some(text) = text.filter(|text| !text.contains("_file")) else {
        return;
    };
    let env = |name: &str| (name == "SET").then(|| "value".to_owned());
    let judge = || parse(text, Path::new("c.yaml"), &env);
    match (judge(), judge()) {
        (Ok(config), Ok(again)) => {
            assert_eq!(config, again);
            let has_role =
                config.sender.is_some() || config.collector.is_some() || config.data_dirs().next().is_some();
            assert!(has_role, "a configuration of nothing");
        }
        (Err(ConfigError::Invalid { problems, .. }), Err(again)) => {
            assert!(!problems.is_empty(), "refused without a reason");
            // YAML has several line ends (YAML 1.1, section 5.4). A problem at the end of the file is reported on the line
            // after it.
            let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            let lines = text.chars().filter(|c| is_break(*c)).count() + 2;
            for problem in &problems {
                assert!(!problem.message.is_empty(), "{problem:?}");
                let is_there = problem.line.is_none_or(|line| (1..=lines).contains(&line));
                assert!(is_there, "{problem:?}");
            }
            assert!(matches!(again, ConfigError::Invalid { problems: same, .. } if same == problems));
        }
        (one, other) => assert!(one.is_ok() == other.is_ok(), "judged otherwise the second time"),
    }
}

#[cfg(test)]
mod tests {
    use logferry_testkit::corpus;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn corpus_of_configurations_holds() {
        for entry in corpus::entries("configuration") {
            configuration(&entry);
        }
    }

    proptest! {
        #[test]
        fn changed_corpus_of_configurations_holds(dice: [u16; 6]) {
            configuration(&corpus::mutant("configuration", dice));
        }
    }
}
