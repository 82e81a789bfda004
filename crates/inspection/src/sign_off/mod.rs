//! Signs off the windows whose batches are all delivered, and pages of the audit, so that a later change can be noticed.
//!
//! `record` is the text of a record and its chain (pure), `chain_end` the file that says how far the chain goes, `key` the key,
//! `signer` what the monitor does at each look, `page` a signed page, `window_proof` a file about one signed window. The texts are
//! read by later versions: a field may be added, none may change.
//!
//! What it proves: who changes rows of the ledger and has not the key cannot make a record that fits, and cannot cut off records
//! without changing the file of the chain's end, too. Who has the key, as root on the relay host has, can. So keep a copy of
//! `audit.pub` elsewhere, and pages.

mod chain_end;
mod key;
mod page;
mod record;
mod signer;
mod window_proof;

pub(crate) use chain_end::{ChainEndFile, LedgerChain};
pub use key::{KEY_FILE, KeyError, PUBLIC_KEY_FILE, PublicKey, SigningKeyFile};
pub use page::{PageFault, PageSignature, check_page, sign_page};
pub(crate) use record::{RecordFault, WindowRecord, rows_digest};
pub use signer::{SignError, SigningReach, sign_windows};
pub use window_proof::{ProofFault, ProvenWindow, WindowProof};
