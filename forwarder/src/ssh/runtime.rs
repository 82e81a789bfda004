//! The runtime of one connection, on the thread that uses the connection.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// A runtime whose drop does not block: a name look-up cannot be cancelled and may still run.
pub(super) struct SshRuntime(Option<Runtime>);

impl SshRuntime {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    /// Runs `work` to its end, and the other tasks meanwhile.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.0.as_ref().expect("only drop takes it");
        runtime.block_on(work)
    }

    /// The same for at most `limit`; `None` if `work` was not done.
    pub(super) fn block_on_for<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.block_on(async { timeout(limit, work).await.ok() })
    }
}

impl Drop for SshRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
