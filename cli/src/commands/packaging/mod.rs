//! Hidden commands for packages: `./package` and the scripts in `deploy/package/` call them.
//!
//! What `ledger-versions` prints is a contract between versions: the scripts of a package read it from the version that is
//! installed, which may be a later one.

mod ledger_versions;
mod man_pages;

pub(crate) use ledger_versions::print as ledger_versions;
pub(crate) use man_pages::write as man_pages;
