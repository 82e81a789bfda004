//! Faults from outside: kills, lost responses, a refusing or restored relay, a full disk, deleted log files.
//! Tests of a new fault belong here.

mod crashes;
mod full_disk;
mod indexer;
mod lost_log_files;
mod lost_responses;
mod opensearch;
mod relay_outages;
mod spool_folders;
