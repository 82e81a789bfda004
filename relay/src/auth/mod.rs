//! Who may send, and whose lines they are: TLS, client certificates, tokens, addresses, and reloading their files.
//!
//! May be changed here alone: how a client is identified, which of its names counts, the format of the tokens file, and
//! how changed files are noticed. Nothing here reads a request's body or writes to the spool.

mod authorize;
mod certificate;
mod credentials;
mod reload;
mod tls;
mod tokens;

pub(crate) use self::authorize::{AuthorizationError, PeerIdentity, authorize, is_by_address};
pub use self::credentials::{CredentialCheck, check_files};
pub(crate) use self::credentials::{Credentials, CredentialsReloader};
pub use self::reload::CredentialFileError;
pub(crate) use self::tls::{FailedHandshake, TlsFailure};
pub(crate) use self::tokens::{TokenOwner, Tokens, bearer_token};
