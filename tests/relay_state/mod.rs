//! The relay's data folder: a lost or damaged ledger, `fsck`, `fsck --rebuild`.

mod fsck;
mod lost_ledger;
mod rebuild;
mod stray_files;
