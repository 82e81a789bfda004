//! The credentials of clients and of the relay: TLS and token files, shared by all groups.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::RelaySettings;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::auth::reload::{CredentialFileError, CurrentValue, ReloadedFiles};
use crate::auth::tls::{self, RelayTls};
use crate::auth::tokens::{self, Tokens};

/// How often the files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How often the warning about a certificate is repeated.
const WARNING_INTERVAL: Duration = Duration::from_hours(24);

/// The credentials in use now, for one group.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    tls: Option<CurrentValue<RelayTls>>,
    tokens: Option<CurrentValue<Tokens>>,
}

impl Credentials {
    pub(crate) fn tls(&self) -> Option<Arc<RelayTls>> {
        self.tls.as_ref().map(|current| Arc::clone(&current.borrow()))
    }

    pub(crate) fn tokens(&self) -> Option<Arc<Tokens>> {
        self.tokens.as_ref().map(|current| Arc::clone(&current.borrow()))
    }
}

/// Reads the files, and reads them again when they change.
#[derive(Debug)]
pub(crate) struct CredentialsReloader {
    tls: Option<ReloadedFiles<RelayTls>>,
    tokens: Option<ReloadedFiles<Tokens>>,
    /// Time of the last warning about the certificate.
    warned_at: Option<Instant>,
}

impl CredentialsReloader {
    pub(crate) fn load(config: &RelaySettings) -> Result<Self, CredentialFileError> {
        Ok(Self {
            tls: config.tls.as_ref().map(tls::load).transpose()?,
            tokens: config.tokens_file.as_deref().map(tokens::load).transpose()?,
            warned_at: None,
        })
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials {
            tls: self.tls.as_ref().map(ReloadedFiles::current),
            tokens: self.tokens.as_ref().map(ReloadedFiles::current),
        }
    }

    /// Reloads changed files until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        if self.tls.is_none() && self.tokens.is_none() {
            return;
        }
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let checked = tokio::task::spawn_blocking(move || {
                self.check_files();
                self
            });
            // It fails only when the process ends.
            let Ok(reloader) = checked.await else { return };
            self = reloader;
        }
    }

    fn check_files(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            tokens.reload_changed();
        }
        let Some(tls) = &mut self.tls else { return };
        if tls.reload_changed() {
            self.warned_at = None;
        }
        if self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            self.warned_at = Some(Instant::now());
            if let Some(warning) = tls.current().borrow().certificate_warning(Timestamp::now()) {
                tracing::warn!("{warning}");
            }
        }
    }
}

/// The result of checking the credential files of a configuration, for `logferry check`.
#[derive(Debug, Default)]
pub struct CredentialCheck {
    /// The relay would not start because of these, or no sender would take its certificate.
    pub problems: Vec<CredentialFileError>,
    /// The relay starts in spite of these.
    pub warnings: Vec<String>,
}

/// Reads the TLS and token files as the relay would.
pub fn check_files(config: &RelaySettings) -> CredentialCheck {
    let mut check = CredentialCheck::default();
    match config.tls.as_ref().map(tls::load) {
        Some(Ok(tls)) => {
            let (current, now) = (tls.current(), Timestamp::now());
            match current.borrow().certificate_refused(now) {
                Some(refused) => check.problems.push(refused),
                None => check.warnings.extend(current.borrow().certificate_warning(now)),
            }
        }
        Some(Err(error)) => check.problems.push(error),
        None => {}
    }
    if let Some(Err(error)) = config.tokens_file.as_deref().map(tokens::load) {
        check.problems.push(error);
    }
    check
}
