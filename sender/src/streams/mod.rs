//! One stream: which file holds it, how far it is read, sent and acknowledged, and reading its next chunk.
//!
//! Time and files are arguments. The rules by which a file is recognised (`identity`) must stay in step with
//! `logferry_protocol::stream`; the rest may be changed here without looking elsewhere.

pub(crate) mod identity;
pub(crate) mod orphan;
pub(crate) mod read;
pub(crate) mod timed_line;
pub(crate) mod tracked_stream;
