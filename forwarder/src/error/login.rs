//! Why a login fails.

use std::path::PathBuf;
use std::{fmt, io};

use russh::{AgentAuthError, MethodKind, MethodSet};

/// The environment variable that names the agent's socket (ssh-agent(1)).
pub(crate) const AGENT_SOCKET: &str = "SSH_AUTH_SOCK";

/// A login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server accepts other methods than the configured one.
    #[error("the server accepts {1} from this user, but a {0} is configured")]
    NotOffered(Credential, LoginMethods),
    /// The server refused the credential.
    #[error("the server refuses the {0}; from this user it accepts {1}")]
    Refused(Credential, LoginMethods),
    /// The server accepted the credential and wants a further one.
    #[error(
        "the server accepts the {0} and wants a further login method that is not configured; it accepts {1}"
    )]
    WantsMore(Credential, LoginMethods),
    /// The server does not answer a password. RFC 4252, section 8, allows it to request a new password instead.
    #[error("the server neither accepts nor refuses the password")]
    NotAnswered,
    /// The key file cannot be read.
    #[error("cannot read the key file {}", .0.display())]
    KeyFile(PathBuf, #[source] io::Error),
    /// The key file contains no usable key.
    #[error("cannot use the key file {}: it is not a private key, or its passphrase is wrong", .0.display())]
    KeyUnusable(PathBuf, #[source] russh::keys::Error),
    /// The key file is encrypted, and no passphrase is configured.
    #[error("cannot use the key file {} without its passphrase", .0.display())]
    KeyEncrypted(PathBuf, #[source] russh::keys::Error),
    /// The key file contains the public half of a key.
    #[error("cannot use the key file {}: it is a public key", .0.display())]
    KeyPublic(PathBuf, #[source] russh::keys::Error),
    /// The key file is encrypted in a way that is not supported.
    #[error("cannot use the key file {}: it is encrypted with {cipher}, which is not supported", .file.display())]
    KeyCipher {
        /// The file.
        file: PathBuf,
        /// The name of the cipher.
        cipher: String,
    },
    /// The agent's socket is not known.
    #[error("there is no SSH agent: {AGENT_SOCKET} is not set; set `agent_socket`")]
    NoAgent,
    /// The agent does not answer at its socket.
    #[error("the SSH agent at {} does not answer", .0.display())]
    Agent(PathBuf, #[source] russh::keys::Error),
    /// The agent holds no key.
    #[error("the SSH agent at {} holds no key: add one with ssh-add", .0.display())]
    AgentEmpty(PathBuf),
    /// The agent refused to sign with its key; the server was not asked.
    #[error("the SSH agent does not sign with its key")]
    NotSigned(#[source] AgentAuthError),
}

impl LoginError {
    /// The cure, unless the message names it.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NotOffered(..) | Self::WantsMore(..) => {
                Some("configure a method that it accepts: password_file, key_file (or both), agent: true")
            }
            Self::Refused(..) => Some("check `user` and the password or key with the server's operator"),
            Self::NotAnswered => {
                Some("the password may have expired: change it at the server and store the new one")
            }
            Self::KeyFile(..) => Some("check its path and permissions"),
            Self::KeyCipher { .. } => {
                Some("`ssh-keygen -p -f` with the file's name writes the key anew, with a cipher of today")
            }
            Self::KeyUnusable(..) => Some("check `key_file` and `passphrase_file`"),
            Self::KeyEncrypted(..) => Some("set `passphrase_file`, or make a key without a passphrase"),
            Self::KeyPublic(..) => {
                Some("set `key_file` to the private half, which has the name without .pub")
            }
            Self::Agent(..) => Some("check that it runs and that this user may use its socket"),
            Self::NotSigned(..) => {
                Some("the agent may wait for a confirmation, or the key's token may be missing")
            }
            Self::NoAgent | Self::AgentEmpty(..) => None,
        }
    }
}

/// A proof of identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A password.
    Password,
    /// A key.
    Key,
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "password",
            Self::Key => "key",
        })
    }
}

/// The login methods that a server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginMethods(pub(crate) MethodSet);

impl LoginMethods {
    pub(crate) fn has(&self, method: MethodKind) -> bool {
        self.0.contains(&method)
    }
}

impl fmt::Display for LoginMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no method known here");
        }
        let names: Vec<&str> = self.0.iter().map(Into::into).collect();
        f.write_str(&names.join(","))
    }
}
