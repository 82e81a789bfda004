//! How many files a process may have open.

use nix::sys::resource::{Resource, getrlimit};

/// What it commonly is, if it cannot be found out.
const COMMON: u64 = 1024;

/// How many files, connections included, this process may have open (getrlimit(2)).
pub fn open_files_max() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(COMMON, |(limit, _)| limit);
    usize::try_from(limit).unwrap_or(usize::MAX)
}
