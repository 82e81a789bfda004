//! The commands in the documents are commands of this program.

use clap::{Command, CommandFactory as _, Parser as _};
use logferry_testkit::documents::{self, ShownCommand};

use super::CliArgs;

/// What is wrong with a command that has words to be replaced: its subcommands and options exist or not.
fn unknown_word(shown: &ShownCommand, program: &Command) -> Option<String> {
    let mut command = program;
    for word in shown.words.iter().skip(1).take_while(|word| *word != "--") {
        if let Some(below) = command.find_subcommand(word) {
            command = below;
        } else if let Some(option) = word.strip_prefix("--") {
            let name = option.split('=').next().unwrap_or(option);
            let mut known = command.get_arguments().filter_map(clap::Arg::get_long);
            if !known.any(|known| known == name) {
                return Some(format!("{} has no option {word}", command.get_name()));
            }
        } else if command.has_subcommands() && command.get_name() == program.get_name() && is_name(word) {
            return Some(format!("there is no command {word}"));
        }
    }
    None
}

/// Whether it is meant as the name of a command, not as a value or a word to be replaced.
fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
}

/// The commands of the user data for cloud-init.
fn of_cloud_init() -> Vec<ShownCommand> {
    let page = documents::page("deploy/cloud-init/sender.yaml");
    let lines = page.text.lines().enumerate();
    let commands = lines.filter_map(|(index, line)| {
        let list = line.strip_prefix("  - [logferry, ")?.strip_suffix(']')?;
        let words = list.split(", ").map(|word| word.trim_matches('"').to_owned());
        Some(ShownCommand {
            at: format!("{}:{}", page.path, index + 1),
            words: std::iter::once("logferry".to_owned()).chain(words).collect(),
            is_whole: true,
        })
    });
    commands.collect()
}

#[test]
fn commands_in_the_documents_are_known() {
    let mut program = CliArgs::command();
    program.build();
    let mut faults = Vec::new();
    let mut count = 0;
    let of_pages = documents::pages();
    let of_pages = of_pages.iter().flat_map(documents::DocumentPage::commands);
    let of_cloud_init = of_cloud_init();
    assert_eq!(of_cloud_init.len(), 1, "logferry init");
    for shown in of_pages.chain(of_cloud_init) {
        count += 1;
        let fault = match CliArgs::try_parse_from(&shown.words) {
            Err(error) if shown.is_whole && error.use_stderr() => Some(error.to_string()),
            _ => unknown_word(&shown, &program),
        };
        faults.extend(fault.map(|fault| format!("{}: {}: {fault}", shown.at, shown.words.join(" "))));
    }
    assert!(count > 100, "only {count} commands were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
