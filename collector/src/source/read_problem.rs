//! What is wrong with files that a source reads again and again: certificates, keys, folders.

use super::SourceContext;

/// What is wrong with a file that is read again and again. It is logged once, until it changes.
#[derive(Debug, Default)]
pub(crate) struct ReadProblem(Option<String>);

impl ReadProblem {
    /// Whether the problem was logged: there is one, and it was another before.
    pub(crate) fn note(&mut self, problem: Option<String>, context: &SourceContext) -> bool {
        let is_new = problem.is_some() && problem != self.0;
        if let Some(text) = &problem {
            context.status.problem(text.as_str());
            if is_new {
                tracing::warn!(source = %context.name, "source {}: {text}", context.name);
            }
        }
        self.0 = problem;
        is_new
    }
}
