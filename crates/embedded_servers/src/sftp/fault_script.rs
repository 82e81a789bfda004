//! Faults that tests order from the SFTP server: at which operations, and which fault.
//!
//! Only [`SftpServer::set_fault_script`](crate::SftpServer::set_fault_script) gives a server a script. Without one the
//! server makes no mistakes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use russh_sftp::protocol::StatusCode;
use russh_sftp::server::StatusReply;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The differences from OpenSSH's server.
#[derive(Debug, Clone, Default)]
pub struct FaultScript {
    /// Extensions beside version 3 of the protocol.
    pub extensions: OfferedExtensions,
    /// A rename replaces a file that has the new name.
    pub rename_replaces: bool,
    /// A plain rename is refused, as on a file system without links.
    pub refuses_plain_rename: bool,
    /// Handles are longer than the 256 bytes of the protocol.
    pub has_long_handles: bool,
    /// The faults. If several match an operation, the first is used.
    pub faults: Vec<ScriptedFault>,
}

/// Extensions that a server offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OfferedExtensions {
    /// The extensions of the demo's server.
    #[default]
    Standard,
    /// The standard ones and `hardlink@openssh.com`.
    WithHardlink,
    /// None.
    None,
}

/// One fault and when it happens.
#[derive(Debug, Clone)]
pub struct ScriptedFault {
    /// The operation that fails.
    pub operation: SftpOperation,
    /// The end of the file's path; of a rename, of the old path. A part number before the last extension is ignored:
    /// `a.log.2.part` ends in `.log.part`.
    pub file: String,
    /// This many matching operations succeed first.
    pub skip: usize,
    /// The fault happens this many times.
    pub times: usize,
    /// What the server does.
    pub action: FaultAction,
}

/// An operation at which a fault can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SftpOperation {
    /// Open a file.
    Open,
    /// Write a piece of a file.
    Write,
    /// Read a piece of a file.
    Read,
    /// Sync a file (extension `fsync`).
    Sync,
    /// Attributes of an open file.
    Fstat,
    /// Close a file.
    Close,
    /// Attributes of a path.
    Stat,
    /// Rename a file, or link it to a second name.
    Rename,
    /// Remove a file.
    Remove,
}

/// What a server does at a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAction {
    /// Does nothing and answers with an error.
    Refuse,
    /// Does nothing and answers that the user has no permission.
    Deny,
    /// Of a close: carries it out, and a receiver takes the file away before the answer.
    TakeAway,
    /// Carries the operation out and answers with an error.
    DoThenFail,
    /// Does nothing and closes the connection.
    Disconnect,
    /// Carries the operation out and closes the connection before the answer.
    DoThenDisconnect,
    /// Does nothing and never answers on this connection again.
    Stall,
    /// Carries the operation out and never answers on this connection again.
    DoThenStall,
    /// Carries the operation out only after the connection has closed and an operation with
    /// [`Self::DoAfterDelayed`] has come.
    DoAfterDisconnect,
    /// First has one delayed operation carried out, then this one.
    DoAfterDelayed,
    /// Of a write: writes half of it and answers with an error.
    WriteHalf,
    /// Of a write: writes half of it and answers with success.
    WriteHalfSilently,
    /// Of a write: changes the first byte and answers with success.
    CorruptFirstByte,
}

#[derive(Debug)]
pub(crate) struct FaultInjector {
    state: Mutex<ScriptProgress>,
    /// One permit for each delayed operation that may be carried out,
    delayed_allowed: Semaphore,
    /// and one for each that was carried out.
    delayed_done: Semaphore,
}

#[derive(Debug, Default)]
struct ScriptProgress {
    script: FaultScript,
    /// For each fault: the matching operations, and how often the fault happened.
    counts: Vec<(usize, usize)>,
}

impl Default for FaultInjector {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            delayed_allowed: Semaphore::new(0),
            delayed_done: Semaphore::new(0),
        }
    }
}

impl FaultInjector {
    fn state(&self) -> MutexGuard<'_, ScriptProgress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_script(&self, script: FaultScript) {
        let counts = vec![(0, 0); script.faults.len()];
        *self.state() = ScriptProgress { script, counts };
    }

    pub(crate) fn fault_count(&self, fault: usize) -> usize {
        self.state().counts.get(fault).map_or(0, |(_, times)| *times)
    }

    pub(crate) fn close(&self) {
        self.delayed_allowed.close();
        self.delayed_done.close();
    }

    pub(crate) fn extensions(&self) -> OfferedExtensions {
        self.state().script.extensions
    }

    pub(crate) fn rename_replaces(&self) -> bool {
        self.state().script.rename_replaces
    }

    pub(crate) fn refuses_plain_rename(&self) -> bool {
        self.state().script.refuses_plain_rename
    }

    pub(crate) fn has_long_handles(&self) -> bool {
        self.state().script.has_long_handles
    }

    fn next_fault(&self, operation: SftpOperation, path: &str) -> Option<FaultAction> {
        let ScriptProgress { script, counts } = &mut *self.state();
        let path = without_part_number(path);
        for (fault, (matched, times)) in script.faults.iter().zip(counts) {
            if fault.operation != operation || !path.ends_with(&fault.file) {
                continue;
            }
            *matched += 1;
            if *matched > fault.skip && *times < fault.times {
                *times += 1;
                return Some(fault.action);
            }
        }
        None
    }
}

fn without_part_number(path: &str) -> String {
    let numbered = path.rsplit_once('.').and_then(|(stem, extension)| {
        let (stem, number) = stem.rsplit_once('.')?;
        number.parse::<u8>().ok()?;
        Some(format!("{stem}.{extension}"))
    });
    numbered.unwrap_or_else(|| path.to_owned())
}

/// The end of one connection, as its operations see it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionTokens {
    /// Cancelled to have the connection closed.
    pub(crate) close: CancellationToken,
    /// Cancelled when it is closed: no answer reaches the client any more.
    pub(crate) closed: CancellationToken,
}

#[derive(Debug)]
#[must_use = "the answer depends on it"]
pub(crate) struct ScriptedOperation<'a> {
    action: Option<FaultAction>,
    connection: &'a ConnectionTokens,
    /// Reports a delayed operation as done.
    _delayed: Option<DelayedOperation<'a>>,
}

#[derive(Debug)]
struct DelayedOperation<'a>(&'a Semaphore);

impl Drop for DelayedOperation<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// Waits for a permit. An error when the server stops.
async fn take_permit(permits: &Semaphore) -> Result<(), StatusReply> {
    permits.acquire().await.map_err(|_| scripted_failure())?.forget();
    Ok(())
}

impl<'a> ScriptedOperation<'a> {
    /// To be called before the operation is carried out. After an error it must not be.
    pub(crate) async fn begin(
        injector: &'a FaultInjector,
        connection: &'a ConnectionTokens,
        operation: SftpOperation,
        path: &str,
    ) -> Result<Self, StatusReply> {
        let action = injector.next_fault(operation, path);
        let mut delayed = None;
        match action {
            Some(FaultAction::Refuse) => return Err(scripted_failure()),
            Some(FaultAction::Deny) => {
                return Err(StatusCode::PermissionDenied.with_message("denied by the test's fault script"));
            }
            Some(FaultAction::Disconnect) => {
                connection.close.cancel();
                connection.closed.cancelled().await;
            }
            Some(FaultAction::Stall) => connection.closed.cancelled().await,
            Some(FaultAction::DoAfterDisconnect) => {
                connection.closed.cancelled().await;
                take_permit(&injector.delayed_allowed).await?;
                delayed = Some(DelayedOperation(&injector.delayed_done));
            }
            Some(FaultAction::DoAfterDelayed) => {
                injector.delayed_allowed.add_permits(1);
                take_permit(&injector.delayed_done).await?;
            }
            _ => {}
        }
        // Nothing else is done for a closed connection, so that tests know what was done.
        if connection.closed.is_cancelled() && delayed.is_none() {
            return Err(scripted_failure());
        }
        Ok(Self {
            action,
            connection,
            _delayed: delayed,
        })
    }

    /// Whether a receiver takes the file away.
    pub(crate) fn takes_away(&self) -> bool {
        self.action == Some(FaultAction::TakeAway)
    }

    /// The bytes to write instead of `data`.
    pub(crate) fn altered(&self, mut data: Vec<u8>) -> Vec<u8> {
        match self.action {
            Some(FaultAction::WriteHalf | FaultAction::WriteHalfSilently) => data.truncate(data.len() / 2),
            Some(FaultAction::CorruptFirstByte) => data.iter_mut().take(1).for_each(|byte| *byte ^= 1),
            _ => {}
        }
        data
    }

    /// To be called after the operation was carried out. Returns the answer, another answer, or never.
    pub(crate) async fn end<T>(self, answer: T) -> Result<T, StatusReply> {
        match self.action {
            Some(FaultAction::DoThenFail | FaultAction::WriteHalf) => return Err(scripted_failure()),
            Some(FaultAction::DoThenDisconnect) => self.connection.close.cancel(),
            Some(FaultAction::DoThenStall) => {}
            _ => return Ok(answer),
        }
        self.connection.closed.cancelled().await;
        Ok(answer)
    }
}

fn scripted_failure() -> StatusReply {
    StatusCode::Failure.with_message("failed by the test's fault script")
}
