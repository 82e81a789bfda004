//! Why a request to the server has no answer.

use logferry_http_client::HttpError;

/// A request has no answer that can be used. Whether the server took it is not known.
#[derive(Debug, thiserror::Error)]
pub enum OpenSearchError {
    /// There is no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
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
