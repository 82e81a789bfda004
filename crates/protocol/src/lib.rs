//! What sender and relay say to each other.
//!
//! HTTP/1.1, three requests, all below `/v1`:
//!
//! | request | body | answers |
//! | --- | --- | --- |
//! | `POST /v1/streams` | [`resolve::ResolveRequest`] (JSON) | 200 [`resolve::ResolveResponse`]: the streams the relay knows that a file could be |
//! | `POST /v1/chunks` | the chunk's kept lines; its [`chunk::ChunkHeader`] in `ferry-*` headers | 200 [`chunk::Receipt`] once durable; 409 [`chunk::Receipt`] when `start` is not the committed offset |
//! | `POST /v1/heartbeat` | [`heartbeat::Heartbeat`] (JSON) | 204 |
//!
//! Everything else is 400 malformed, 403 not allowed here, 413 too large, 503 with `Retry-After`: wait. A refusal's
//! body is one line saying why.
//!
//! Beside them the old shippers' `POST /upload`: JSON `{"log": "LINES", "host": "ADDRESS"}`, answered 200
//! `OK - N lines` once durable. It names no stream, so the relay can only go by the body: the lines that were
//! stored last under an answer which did not get through are not stored again (`docs/migrate.md` has the rule).
//!
//! Invariants:
//! - A (source, stream, offset) names one byte of one physical log file for ever.
//! - A chunk is taken only if it starts at its stream's committed offset, so a range is stored once however often
//!   it is sent.
//! - The relay's committed offset is the truth; whatever a sender remembers is a hint.

pub mod chunk;
pub mod heartbeat;
pub mod names;
pub mod resolve;
pub mod stream;

/// Path of the request that ships a chunk.
pub const CHUNKS_PATH: &str = "/v1/chunks";
/// Path of the request that asks which known streams a file could be.
pub const STREAMS_PATH: &str = "/v1/streams";
/// Path of the request that reports how the sender is.
pub const HEARTBEAT_PATH: &str = "/v1/heartbeat";
/// Path of the request by which the old shippers post lines.
pub const UPLOAD_PATH: &str = "/upload";
/// Header in which a sender names its source; heeded only where the group trusts it.
pub const SOURCE_HEADER: &str = "ferry-source";
