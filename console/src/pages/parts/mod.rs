//! What several pages use: the frame around each, times, links, the reader's zone, sentences, names for filters. It needs none of the pages.

pub(crate) mod frame;
pub(crate) mod links;
pub(crate) mod prose;
pub(crate) mod reader_zone;
pub(crate) mod source_names;
pub(crate) mod times;
