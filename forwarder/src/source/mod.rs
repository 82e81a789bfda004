//! The bytes to be sent: a sealed batch's file as it is, a compressed copy of it, or a small file made in memory.
//! Every reader here computes the checksums of the bytes it returns. Staging of compressed files may be changed here
//! without looking elsewhere; finding, reading and measuring a batch's file is in `crates/spool`.

pub(crate) mod compressed_staging;
mod source_file;
mod staged_file;

pub(crate) use source_file::{BatchFileReader, SourceFile};
pub(crate) use staged_file::{StagedBytes, StagedFile};
