//! What the tests of sources share: a context whose capture is in memory, and certificates.

mod certificates;

use tokio_util::sync::CancellationToken;

use super::{ClientMemory, SourceAccount, SourceContext};
use crate::capture::Position;
use crate::capture::testing::{MemoryCapture, memory_capture};

pub(crate) use certificates::Certificates;

/// A context with this position, for records of at most 4 KiB, and what is captured. Needs a tokio runtime.
pub(crate) fn context(position: Option<Position>) -> (SourceContext, MemoryCapture) {
    let (capture, kept) = memory_capture(position);
    let context = SourceContext {
        name: "test".parse().expect("a name"),
        capture,
        status: SourceAccount::default(),
        memory: ClientMemory::new(0),
        max_record: 4096,
        shutdown: CancellationToken::new(),
    };
    (context, kept)
}

/// Waits until a condition holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
