//! The legacy shippers' `POST /upload`: bodies without stream and offset, stored once although they may come again.
//!
//! May be changed here alone: how such a body is parsed, and how the relay learns that its response was received. The
//! HTTP handler is `http/upload_request.rs`; the bodies without confirmed response are in `commit/upload_dedup.rs`.

mod ack_tracker;
mod parse;
mod upload_chunk;

pub(crate) use self::ack_tracker::{AckTracker, UnconfirmedResponse};
pub(crate) use self::parse::parse;
pub(crate) use self::upload_chunk::{upload_chunk, upload_log};
