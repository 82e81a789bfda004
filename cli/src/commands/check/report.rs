//! Prints what `check` finds: each thing when it is known, or all of them as JSON at the end.

use std::io::{self, IsTerminal};

use crate::output::check_item::{CheckItem, CheckState, Marks};
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};

/// What was found so far.
pub(super) struct HostCheckReport {
    items: Vec<CheckItem>,
    /// How lines begin; `None`: JSON.
    marks: Option<Marks>,
}

impl HostCheckReport {
    pub(super) fn new(is_json: bool) -> Self {
        let marks = Marks::of_terminal(io::stdout().is_terminal(), |name| std::env::var(name).ok());
        Self {
            items: Vec::new(),
            marks: (!is_json).then_some(marks),
        }
    }

    pub(super) fn add(&mut self, item: CheckItem) -> anyhow::Result<()> {
        if let Some(marks) = self.marks {
            console::print(&item.as_text(marks))?;
        }
        self.items.push(item);
        Ok(())
    }

    pub(super) fn add_all(&mut self, items: impl IntoIterator<Item = CheckItem>) -> anyhow::Result<()> {
        items.into_iter().try_for_each(|item| self.add(item))
    }

    /// Whether there is no problem.
    pub(super) fn finish(self) -> Result {
        if self.marks.is_none() {
            console::print(&(serde_json::to_string_pretty(&self.items)? + "\n"))?;
        }
        let is_wrong = |item: &CheckItem| item.state == CheckState::Problem;
        Ok(CommandOutcome::fine_if(!self.items.iter().any(is_wrong)))
    }
}
