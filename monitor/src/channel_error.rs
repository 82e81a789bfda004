//! Why a channel has not taken a message, worded for the operator who has to repair it.

use std::time::Duration;

use logferry_http_client::HttpError;
use logferry_ledger::MessageOutcome;

/// Why a channel has not taken a message.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server refused it.
    #[error("{host} answered {status}{}{}", reason(.text), advice(*.status))]
    Answer {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of its text.
        text: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The program cannot be started.
    #[error("cannot start the command: {0}; check its path and whether this user may run it")]
    Start(String),
    /// The program has failed.
    #[error("{0}; a command that has taken a message ends with 0")]
    Ended(String),
    /// The program took too long.
    #[error("{program} did not end within {} s and was killed", .limit.as_secs())]
    CommandTimedOut {
        /// Its path.
        program: String,
        /// The time limit.
        limit: Duration,
    },
}

fn reason(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!(" ({text})")
}

const fn advice(status: u16) -> &'static str {
    match status {
        300..=399 => "; it wants another address, which is not followed: write that address",
        401 | 403 | 404 | 410 => "; the address may have been withdrawn: get a new one",
        429 => "; it asks to wait",
        _ => "",
    }
}

impl ChannelError {
    /// What is known of the message.
    pub(crate) fn outcome(&self) -> MessageOutcome {
        match self {
            Self::Http(error) if error.may_be_taken() => MessageOutcome::Unknown,
            // It may have kept the message before it failed.
            Self::Answer { status: 500.., .. } if !self.asks_to_wait() => MessageOutcome::Refused,
            // A command has taken a message when it ends with 0, and only then.
            Self::Ended(_) | Self::CommandTimedOut { .. } => MessageOutcome::Refused,
            Self::Http(_) | Self::Answer { .. } | Self::Start(_) => MessageOutcome::NotTaken,
        }
    }

    fn asks_to_wait(&self) -> bool {
        matches!(
            self,
            Self::Answer {
                status: 429 | 503,
                ..
            }
        )
    }

    /// How long the other side asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer { retry_after, .. } if self.asks_to_wait() => *retry_after,
            _ => None,
        }
    }
}
