//! From blocks of bytes to chunks: where to cut, which lines to exclude, and the buffers that hold both.
//!
//! Nothing here knows streams or the relay, and only `line_marks` reads files, through handles. Exclusion rules and cutting may be changed here without looking
//! elsewhere, as long as a cut depends only on the file's bytes at an offset.

pub(crate) mod buffers;
pub(crate) mod chunker;
pub(crate) mod exclusion;
pub(crate) mod line_marks;
