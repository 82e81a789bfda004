//! What a connection's tasks run on: a runtime of its own, on the thread that uses the connection.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// A runtime that never holds up whoever drops it: the look-up of a name cannot be broken off, and is left behind.
pub(super) struct SshRuntime(Option<Runtime>);

impl SshRuntime {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Some(Builder::new_current_thread().enable_all().build()?)))
    }

    /// Runs until `work` is done, and what else is to be done meanwhile.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.0.as_ref().expect("only drop takes it");
        runtime.block_on(work)
    }

    /// The same for no longer than `limit`; `None` if it was not done by then.
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
