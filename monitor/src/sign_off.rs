//! Signs off delivered windows at each look.

use std::error::Error;

use jiff::Timestamp;
use logferry_config::MonitorSettings;
use logferry_inspection::sign_off::sign_windows;
use logferry_ledger::Ledger;
use logferry_text::{duration, error_chain};

/// Signs some of the windows that are complete and not signed. An error is logged: the next look tries again.
pub(crate) fn sign(ledger: &mut Ledger, config: &MonitorSettings, now: Timestamp) {
    if let Err(error) = sign_windows(ledger, &config.data_dir, now) {
        tracing::error!(
            error = &error as &dyn Error,
            "cannot sign off delivered windows in {}: {}; this is tried again in {}",
            config.data_dir.display(),
            error_chain(&error),
            duration(config.interval)
        );
    }
}
