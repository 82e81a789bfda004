//! Why a login failed.

use std::path::PathBuf;
use std::{fmt, io};

use russh::{AgentAuthError, MethodKind, MethodSet};

/// The environment variable that names the agent's socket (ssh-agent(1)).
pub(crate) const AGENT_SOCKET: &str = "SSH_AUTH_SOCK";

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server takes no login of the configured kind.
    #[error("it takes {offered} from this user, and a {kind} is configured")]
    NotOffered {
        /// What the server takes.
        offered: LoginMethods,
        /// What is configured.
        kind: Credential,
    },
    /// The server refused.
    #[error("it refuses the {kind}; from this user it takes {offered}")]
    Refused {
        /// What was shown to it.
        kind: Credential,
        /// What the server takes.
        offered: LoginMethods,
    },
    /// The server took what was shown, and wants more.
    #[error("it takes the {kind}, and wants something more that is not configured; it takes {offered}")]
    WantsMore {
        /// What was shown to it.
        kind: Credential,
        /// What the server takes.
        offered: LoginMethods,
    },
    /// The server says nothing to a password: RFC 4252, section 8, lets it ask for a new one, which nobody here has.
    #[error("it does not answer the password")]
    NotAnswered,
    /// The key file cannot be read.
    #[error("cannot read the key file {}", .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key file holds no key that can be used.
    #[error("cannot use the key file {}: it is no private key, or its passphrase is another one", .path.display())]
    KeyUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: russh::keys::Error,
    },
    /// Nothing says where the agent is.
    #[error("there is no SSH agent: {AGENT_SOCKET} is not set; write `agent_socket`")]
    NoAgent,
    /// The agent does not answer.
    #[error("the SSH agent at {} does not answer", .socket.display())]
    Agent {
        /// Its socket.
        socket: PathBuf,
        /// What went wrong.
        #[source]
        source: russh::keys::Error,
    },
    /// The agent holds no key.
    #[error("the SSH agent at {} holds no key: add one with ssh-add", .socket.display())]
    AgentEmpty {
        /// Its socket.
        socket: PathBuf,
    },
    /// The agent gives no signature by its key, and the server was not asked.
    #[error("the SSH agent does not sign with its key")]
    NotSigned {
        /// What went wrong.
        #[source]
        source: AgentAuthError,
    },
}

impl LoginError {
    /// What to do about it, where the message does not say so itself.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NotOffered { .. } | Self::WantsMore { .. } => {
                Some("configure what it takes: password_file, key_file (or both), agent: true")
            }
            Self::Refused { .. } => Some("check `user` and the password or key with the server's operator"),
            Self::NotAnswered => {
                Some("it may have expired: have it changed at the server, and store the new one")
            }
            Self::KeyFile { .. } => Some("check path and rights"),
            Self::KeyUnusable { .. } => Some("check `key_file` and `passphrase_file`"),
            Self::Agent { .. } => Some("is it running, and may this user use its socket?"),
            Self::NotSigned { .. } => Some("does it want a confirmation, or is the key's token missing?"),
            Self::NoAgent | Self::AgentEmpty { .. } => None,
        }
    }
}

/// What proves who we are.
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

/// The kinds of login that a server takes, of those there are.
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
            return f.write_str("nothing that is known here");
        }
        let names: Vec<&str> = self.0.iter().map(Into::into).collect();
        f.write_str(&names.join(","))
    }
}
