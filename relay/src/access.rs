//! What clients have to show, and the relay itself: the files of TLS and of tokens, for all groups.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use logferry_config::RelaySettings;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::renewal::{Current, FileError, Renewal};
use crate::tls::{self, Tls};
use crate::tokens::{self, Tokens};

/// How often the files are looked at.
const GLANCE: Duration = Duration::from_secs(2);
/// How often a certificate that ends soon is spoken of.
const REMINDER: Duration = Duration::from_hours(24);

/// What is in force at this moment, for one group.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    tls: Option<Current<Tls>>,
    tokens: Option<Current<Tokens>>,
}

impl Access {
    /// How to make a connection private, where that is asked for.
    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.as_ref().map(|current| Arc::clone(&current.borrow()))
    }

    /// The tokens, where one is asked for.
    pub(crate) fn tokens(&self) -> Option<Arc<Tokens>> {
        self.tokens.as_ref().map(|current| Arc::clone(&current.borrow()))
    }
}

/// The files, and who looks after them.
#[derive(Debug)]
pub(crate) struct Keeper {
    tls: Option<Renewal<Tls>>,
    tokens: Option<Renewal<Tokens>>,
    /// When the certificate was spoken of last.
    reminded: Option<Instant>,
}

impl Keeper {
    /// Reads all of them.
    pub(crate) fn load(config: &RelaySettings) -> Result<Self, FileError> {
        Ok(Self {
            tls: config.tls.as_ref().map(tls::load).transpose()?,
            tokens: config.tokens_file.as_deref().map(tokens::load).transpose()?,
            reminded: None,
        })
    }

    pub(crate) fn access(&self) -> Access {
        Access {
            tls: self.tls.as_ref().map(Renewal::current),
            tokens: self.tokens.as_ref().map(Renewal::current),
        }
    }

    /// Looks at the files until `shutdown`.
    pub(crate) async fn keep(mut self, shutdown: CancellationToken) {
        if self.tls.is_none() && self.tokens.is_none() {
            return;
        }
        let mut ticks = tokio::time::interval(GLANCE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            // It fails only when the process ends.
            let Ok(keeper) = looked.await else { return };
            self = keeper;
        }
    }

    fn look(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            tokens.look();
        }
        let Some(tls) = &mut self.tls else { return };
        if tls.look() {
            self.reminded = None;
        }
        if self.reminded.is_none_or(|at| at.elapsed() >= REMINDER) {
            self.reminded = Some(Instant::now());
            if let Some(concern) = tls.current().borrow().concern(Timestamp::now()) {
                tracing::warn!("{concern}");
            }
        }
    }
}

/// What `logferry check` has to say of the files that a configuration names.
#[derive(Debug, Default)]
pub struct Findings {
    /// With which the relay would not start.
    pub problems: Vec<FileError>,
    /// With which it starts.
    pub warnings: Vec<String>,
}

/// Reads the files of TLS and of tokens as the relay would.
pub fn check_files(config: &RelaySettings) -> Findings {
    let mut findings = Findings::default();
    match config.tls.as_ref().map(tls::load) {
        Some(Ok(tls)) => findings
            .warnings
            .extend(tls.current().borrow().concern(Timestamp::now())),
        Some(Err(error)) => findings.problems.push(error),
        None => {}
    }
    if let Some(Err(error)) = config.tokens_file.as_deref().map(tokens::load) {
        findings.problems.push(error);
    }
    findings
}
