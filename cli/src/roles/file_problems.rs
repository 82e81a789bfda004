//! The folders and keys that a running role cannot use: logged when they begin and when they are over, and kept for its sign,
//! from which `status` and the monitor know them.
//!
//! Pure, but for the log.

use super::role::Role;

/// What a role was last found unable to use, one sentence each.
#[derive(Debug, Default)]
pub(super) struct FileProblems(Vec<String>);

impl FileProblems {
    /// Takes over what was found now.
    pub(super) fn update(&mut self, role: Role, found: Vec<String>) {
        let role = role.name();
        for problem in found.iter().filter(|problem| !self.0.contains(problem)) {
            tracing::error!("the {role} cannot use one of its files: {problem}");
        }
        for problem in self.0.iter().filter(|problem| !found.contains(problem)) {
            tracing::info!("this is over, the {role} can use the file again: {problem}");
        }
        self.0 = found;
    }

    /// The sentences.
    pub(super) fn sentences(&self) -> &[String] {
        &self.0
    }
}
