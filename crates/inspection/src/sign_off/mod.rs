//! Signs off the windows whose batches are all delivered, and pages of the audit, so that a later change can be noticed.
//!
//! `record` is the text of a record and its chain (pure), `key` the key, `signer` what the monitor does at each look, `page`
//! a signed page. The texts are read by later versions: a field may be added, none may change.
//!
//! What it proves: who changes rows of the ledger and has not the key cannot make a record that fits. Who has the key, as
//! root on the relay host has, can. So keep a copy of `audit.pub` elsewhere, and pages.

mod key;
mod page;
mod record;
mod signer;

pub use key::{KEY_FILE, KeyError, PUBLIC_KEY_FILE, PublicKey, SigningKeyFile};
pub use page::{PageFault, PageSignature, check_page, sign_page};
pub(crate) use record::{RecordFault, WindowRecord, rows_digest};
pub use signer::{SignError, sign_windows};
