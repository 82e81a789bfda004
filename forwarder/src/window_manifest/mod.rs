//! Window manifests: when a window is complete at a destination, what its manifest says, and the record in the ledger.
//! The conditions and the JSON are in `revision.rs` (pure), the queries in `writer.rs`. Both may be changed here without
//! looking elsewhere; the JSON keys are described in `docs/client/manifests.md`. Delivery is in `publish/`.

pub(crate) mod revision;
pub(crate) mod writer;
