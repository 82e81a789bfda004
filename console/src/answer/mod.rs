//! What comes in and what goes out: where a request comes from, its input, problems, JSON, bodies that are written while they are
//! read. Nothing here knows what is shown.

pub(crate) mod input;
pub(crate) mod json_body;
pub(crate) mod listed_page;
pub(crate) mod peer;
pub(crate) mod piece_writer;
pub(crate) mod problem;
pub(crate) mod stream_body;
pub(crate) mod visible_text;
