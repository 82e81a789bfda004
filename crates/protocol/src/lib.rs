//! The messages between sender and relay.
//!
//! HTTP/1.1, three requests, all below `/v1`:
//!
//! | request | body | answers |
//! | --- | --- | --- |
//! | `POST /v1/streams` | [`resolve::ResolveRequest`] (JSON) | 200 [`resolve::ResolveResponse`]: the streams the relay knows that a file could be |
//! | `POST /v1/chunks` | the chunk's kept lines; its [`chunk::ChunkHeader`] in `ferry-*` headers | 200 [`chunk::Receipt`] once durable; 409 [`chunk::Receipt`] when `start` is not the committed offset |
//! | `POST /v1/heartbeat` | [`heartbeat::Heartbeat`] (JSON) | 204 |
//!
//! Everything else is 400 malformed, 401 or 403 not allowed here, 413 too large, 415 unknown encoding, 421 another
//! relay than the one meant, 429 or 503 with `Retry-After`: wait. A refusal's body is one line saying why.
//!
//! A chunk's body may be compressed (`Content-Encoding: zstd` or `gzip`). Its header describes
//! the uncompressed body; [`PLAIN_LENGTH_HEADER`] gives the length of that body, so that the relay reserves no more memory than needed.
//!
//! A sender that knows its relay's ledger names it in [`LEDGER_HEADER`] with each chunk and heartbeat, and every
//! other relay rejects them. So a chunk whose answer was lost cannot be stored a second time by another relay.
//!
//! A sender names itself and its process in [`SENDER_HEADER`] with each request. A relay that does not know the header
//! ignores it, and a sender without it is served as before. To a process whose id another process uses, the relay answers
//! 409 with [`ID_TAKEN_HEADER`], whatever it asked: it makes a new id and asks again.
//!
//! The old shippers use `POST /upload`: JSON `{"log": "LINES", "host": "ADDRESS"}`, answered 200
//! `OK - N lines` once durable. It names no stream, so the relay compares bodies: lines that were stored
//! last, and whose answer did not reach the shipper, are not stored again (`docs/migrate.md` has the rule).
//!
//! Invariants:
//! - A (source, stream, offset) names one byte of one physical log file for ever.
//! - A chunk is taken only if it starts at its stream's committed offset, so a range is stored once however often
//!   it is sent.
//! - The relay's committed offset is the truth; the offset that a sender remembers is a hint.

pub mod chunk;
pub mod heartbeat;
pub mod names;
pub mod resolve;
pub mod sender;
pub mod stream;

/// Path of the request that ships a chunk.
pub const CHUNKS_PATH: &str = "/v1/chunks";
/// Path of the request that asks which known streams have the head of a file.
pub const STREAMS_PATH: &str = "/v1/streams";
/// Path of the request that reports the state of the sender.
pub const HEARTBEAT_PATH: &str = "/v1/heartbeat";
/// Path of the request by which the old shippers post lines.
pub const UPLOAD_PATH: &str = "/upload";
/// Header in which a sender names its source. It counts only if the group trusts it.
pub const SOURCE_HEADER: &str = "ferry-source";
/// Header with the length of a compressed body before it was compressed, in bytes.
pub const PLAIN_LENGTH_HEADER: &str = "ferry-plain-length";
/// Header in which a sender names the ledger that the request is for.
pub const LEDGER_HEADER: &str = "ferry-ledger";
/// Header in which a sender names itself and its process: a [`sender::SenderName`].
pub const SENDER_HEADER: &str = "ferry-sender";
/// Header of the answer 409 to a process whose id another process uses; its value is `1`.
pub const ID_TAKEN_HEADER: &str = "ferry-sender-taken";
