//! The bytes to be sent: a sealed batch's file as it is, a compressed copy of it, or a small file made in memory.
//! Every reader here computes the checksums of the bytes it hands out. Compression and its levels may be changed here
//! without looking elsewhere.

mod batch_reader;
pub(crate) mod compressed_staging;
mod source_file;
mod spool;

pub(crate) use compressed_staging::StagedFile;
pub(crate) use source_file::{Sha256Hash, SourceFile};
pub(crate) use spool::Spool;
