//! What was read a moment ago, for many readers: together they cost the disk as much as one, and mostly wait for nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

use crate::answer::problem::Problem;

/// How old an answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptAges {
    /// What is younger is shown as it is.
    pub(crate) fresh: Duration,
    /// What is younger is shown while it is read anew.
    pub(crate) usable: Duration,
}

/// The last answer to one question.
#[derive(Debug)]
pub(crate) struct KeptRead<T> {
    kept: Mutex<Option<(Instant, Arc<T>)>>,
    /// Held by the one who reads.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl<T> Default for KeptRead<T> {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            reading: Arc::default(),
        }
    }
}

impl<T: Send + Sync + 'static> KeptRead<T> {
    /// What was read a moment ago, or is read now. `read` gets the answer before.
    pub(crate) async fn get<F>(
        self: &Arc<Self>,
        ages: KeptAges,
        read: impl FnOnce(Option<Arc<T>>) -> F + Send + 'static,
    ) -> Result<Arc<T>, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        self.get_fitting(ages, |_| true, read).await
    }

    /// As [`KeptRead::get`]; an answer that does not fit the question counts as too old.
    pub(crate) async fn get_fitting<F>(
        self: &Arc<Self>,
        ages: KeptAges,
        fits: impl Fn(&T) -> bool,
        read: impl FnOnce(Option<Arc<T>>) -> F + Send + 'static,
    ) -> Result<Arc<T>, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let younger_than = |age| self.younger_than(age).filter(|kept| fits(kept));
        if let Some(kept) = younger_than(ages.fresh) {
            return Ok(kept);
        }
        if let Some(kept) = younger_than(ages.usable) {
            if let Ok(turn) = Arc::clone(&self.reading).try_lock_owned() {
                let this = Arc::clone(self);
                // An error is told to whoever comes when the answer is too old.
                tokio::spawn(async move { this.read_anew(read, turn).await.map(drop) });
            }
            return Ok(kept);
        }
        let turn = Arc::clone(&self.reading).lock_owned().await;
        if let Some(kept) = younger_than(ages.fresh) {
            return Ok(kept);
        }
        self.read_anew(read, turn).await
    }

    async fn read_anew<F>(
        &self,
        read: impl FnOnce(Option<Arc<T>>) -> F,
        _turn: OwnedMutexGuard<()>,
    ) -> Result<Arc<T>, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let before = self.kept().as_ref().map(|(_, kept)| Arc::clone(kept));
        let began = Instant::now();
        let answer = Arc::new(read(before).await?);
        *self.kept() = Some((began, Arc::clone(&answer)));
        Ok(answer)
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<T>> {
        let kept = self.kept();
        let (at, answer) = kept.as_ref()?;
        (at.elapsed() < age).then(|| Arc::clone(answer))
    }

    fn kept(&self) -> MutexGuard<'_, Option<(Instant, Arc<T>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const NEVER_OLD: KeptAges = KeptAges {
        fresh: Duration::MAX,
        usable: Duration::MAX,
    };
    const NEVER_FRESH: KeptAges = KeptAges {
        fresh: Duration::ZERO,
        usable: Duration::MAX,
    };
    const ALWAYS_OLD: KeptAges = KeptAges {
        fresh: Duration::ZERO,
        usable: Duration::ZERO,
    };

    #[tokio::test]
    async fn many_readers_cost_one_read_and_an_old_answer_is_not_shown() {
        let (kept, reads) = (Arc::new(KeptRead::<u32>::default()), Arc::new(AtomicU32::new(0)));
        let get = |ages| {
            let reads = Arc::clone(&reads);
            let kept = Arc::clone(&kept);
            async move {
                let read = move |_| async move { Ok(reads.fetch_add(1, Ordering::Relaxed) + 1) };
                *kept.get(ages, read).await.unwrap()
            }
        };
        assert_eq!(get(NEVER_OLD).await, 1);
        assert_eq!(get(NEVER_OLD).await, 1);
        assert_eq!(get(ALWAYS_OLD).await, 2);
        // Shown at once, and read anew behind.
        assert_eq!(get(NEVER_FRESH).await, 2);
        while get(NEVER_OLD).await == 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(get(NEVER_OLD).await, 3);
    }

    #[tokio::test]
    async fn answer_that_does_not_fit_is_read_anew_though_it_is_fresh() {
        let kept = Arc::new(KeptRead::<u32>::default());
        for (wanted, shown) in [(1, 1), (1, 1), (3, 3), (2, 3)] {
            let answer = kept.get_fitting(
                NEVER_OLD,
                |kept| *kept >= wanted,
                move |_| async move { Ok(wanted) },
            );
            assert_eq!(*answer.await.unwrap(), shown);
        }
    }

    #[tokio::test]
    async fn failed_read_is_told_and_keeps_nothing() {
        let kept = Arc::new(KeptRead::<u32>::default());
        let failed = kept.get(NEVER_OLD, |_| async { Err(Problem::internal("no")) });
        assert!(failed.await.is_err());
        let read = kept.get(NEVER_OLD, |before| async move {
            assert_eq!(before, None);
            Ok(1)
        });
        assert_eq!(*read.await.unwrap(), 1);
    }
}
