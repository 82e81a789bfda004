//! The simulated disk's faults: which operations fail.

use std::io;

use logferry_durable::DiskOperation;

/// Faults that a test has ordered.
#[derive(Debug, Default)]
pub(crate) struct OrderedDiskFaults {
    /// Each happens once, at the first matching operation.
    pub(crate) once: Vec<(DiskOperation, io::ErrorKind)>,
    /// This many changes still succeed, then everything fails.
    pub(crate) changes_left: Option<u64>,
}

impl OrderedDiskFaults {
    /// Call this once at the start of each operation.
    pub(crate) fn check(&mut self, operation: DiskOperation) -> io::Result<()> {
        if self.changes_left == Some(0) {
            return Err(io::Error::other("simulated: the disk has failed"));
        }
        if let Some(index) = self.once.iter().position(|(fails, _)| *fails == operation) {
            let (_, kind) = self.once.remove(index);
            return Err(kind.into());
        }
        if let Some(left) = &mut self.changes_left
            && is_change(operation)
        {
            *left -= 1;
        }
        Ok(())
    }
}

fn is_change(operation: DiskOperation) -> bool {
    use DiskOperation::{
        Append, CreateDir, FreeSpace, Link, List, Open, Read, Remove, Rename, Sync, Truncate,
    };
    match operation {
        CreateDir | Open | Append | Sync | Truncate | Rename | Link | Remove => true,
        Read | List | FreeSpace => false,
    }
}
