//! The audits of late, by what was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use logferry_inspection::audit::Audit;
use tokio::sync::Semaphore;

use super::kept_read::KeptRead;

/// Questions whose answers are kept.
const QUESTIONS_MAX: usize = 8;

/// The last audits.
#[derive(Debug)]
pub(crate) struct KeptAudits {
    kept: Mutex<VecDeque<(String, Arc<KeptRead<Audit>>)>>,
    /// Audits that run at one time.
    pub(super) turns: Semaphore,
}

impl Default for KeptAudits {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            turns: Semaphore::new(1),
        }
    }
}

impl KeptAudits {
    /// Where the answers to a question are kept.
    pub(super) fn of(&self, question: &str) -> Arc<KeptRead<Audit>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = kept.iter().find(|(known, _)| known == question) {
            return Arc::clone(known);
        }
        kept.truncate(QUESTIONS_MAX - 1);
        let new = Arc::default();
        kept.push_front((question.to_owned(), Arc::clone(&new)));
        new
    }
}
