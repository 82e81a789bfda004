//! The store as the indexer and a search see it, on a simulated disk; its hits beside those of a plain grep.

mod crash;
mod damage;
mod fixture;
mod grep;
mod hostile;
mod paging;
mod removed_files;
mod retention;
mod spool;
