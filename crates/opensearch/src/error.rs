//! Why a request to the server has no answer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A request has no answer that can be used. Whether the server took it is not known.
#[derive(Debug, thiserror::Error)]
pub enum OpenSearchError {
    /// The host name has no address.
    #[error("cannot find the address of {host}; correct indexer.opensearch.url, or the name server")]
    Lookup {
        /// The host.
        host: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// No address answers.
    #[error("cannot connect to {url}")]
    Connect {
        /// The server.
        url: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be negotiated.
    #[error("cannot use TLS with {url}: {reason}")]
    Tls {
        /// The server.
        url: String,
        /// The reason, with advice.
        reason: String,
    },
    /// The file of authorities cannot be used.
    #[error("cannot use {} (indexer.opensearch.ca_file): {reason}", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection to {url} broke before its answer was complete")]
    Broken {
        /// The server.
        url: String,
        /// Hyper's error.
        #[source]
        source: hyper::Error,
    },
    /// There was no answer in time.
    #[error("{url} did not answer within {}", human(.after))]
    Timeout {
        /// The server.
        url: String,
        /// The time.
        after: Duration,
    },
    /// The answer is longer than this program reads.
    #[error("the answer of {url} is too long")]
    AnswerTooLong {
        /// The server.
        url: String,
    },
    /// The answer is not that of such a server.
    #[error(
        "{url} gave an answer that no OpenSearch gives: {reason}; correct indexer.opensearch.url if another server is there"
    )]
    Unexpected {
        /// The server.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refuses the request.
    #[error("{url} refuses it with status {status}: {reason}{advice}", advice = advice(*.status))]
    Refused {
        /// The server.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's reason.
        reason: String,
    },
}

/// What to do about a status.
pub(crate) fn advice(status: u16) -> &'static str {
    match status {
        401 => "; correct user and password_file, or api_key_file, in indexer.opensearch",
        403 => "; give the user of indexer.opensearch the rights that docs/index/opensearch.md names",
        _ => "",
    }
}

fn human(time: &Duration) -> String {
    format!("{} s", time.as_secs())
}
