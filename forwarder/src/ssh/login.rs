//! Logging in: by password, given or asked for, by key, by key and password, or by an agent's key.
//!
//! Invariant: what the server does not take is not tried, and nothing is tried twice. Servers count failed logins, and
//! lock accounts.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use logferry_config::{Destination, Login, Secret};
use ssh2::{ErrorCode, KeyboardInteractivePrompt, Prompt};

use super::{Handshake, is_cut};
use crate::error::DeliveryError;

/// The environment variable that names the agent's socket (ssh-agent(1)).
const AGENT_SOCKET: &str = "SSH_AUTH_SOCK";

/// `LIBSSH2_ERROR_FILE` and `_KEYFILE_AUTH_FAILED`: the key could not be had from its file.
const KEY_UNUSABLE: [ErrorCode; 2] = [ErrorCode::Session(-16), ErrorCode::Session(-48)];

/// `LIBSSH2_ERROR_PASSWORD_EXPIRED`.
const PASSWORD_EXPIRED: ErrorCode = ErrorCode::Session(-15);

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server takes no login of the configured kind.
    #[error("it takes {offered} from this user, and a {kind} is configured")]
    NotOffered {
        /// What the server takes.
        offered: Methods,
        /// What is configured.
        kind: Kind,
    },
    /// The server refused.
    #[error("it refuses the {kind}; from this user it takes {offered}")]
    Refused {
        /// What was shown to it.
        kind: Kind,
        /// What the server takes.
        offered: Methods,
    },
    /// The server took what was shown, and wants more.
    #[error("it takes the {kind}, and wants something more that is not configured; it takes {offered}")]
    WantsMore {
        /// What was shown to it.
        kind: Kind,
        /// What the server takes.
        offered: Methods,
    },
    /// The password is too old.
    #[error("the password has expired and must be changed at the server")]
    Expired,
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
        /// What libssh2 said.
        #[source]
        source: ssh2::Error,
    },
    /// Nothing says where the agent is.
    #[error("there is no SSH agent: {AGENT_SOCKET} is not set; write `agent_socket`")]
    NoAgent,
    /// The agent does not answer.
    #[error("the SSH agent at {} does not answer", .socket.display())]
    Agent {
        /// Its socket.
        socket: PathBuf,
        /// What libssh2 said.
        #[source]
        source: ssh2::Error,
    },
    /// The agent holds no key.
    #[error("the SSH agent at {} holds no key: add one with ssh-add", .socket.display())]
    AgentEmpty {
        /// Its socket.
        socket: PathBuf,
    },
    /// Something else went wrong.
    #[error("the {kind} could not be tried")]
    Failed {
        /// What was to be shown.
        kind: Kind,
        /// What libssh2 said.
        #[source]
        source: ssh2::Error,
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
            Self::Expired => Some("then store the new one"),
            Self::KeyFile { .. } => Some("check path and rights"),
            Self::KeyUnusable { .. } => Some("check `key_file` and `passphrase_file`"),
            Self::Agent { .. } => Some("is it running, and may this user use its socket?"),
            Self::NoAgent | Self::AgentEmpty { .. } | Self::Failed { .. } => None,
        }
    }
}

/// What proves who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A password.
    Password,
    /// A key.
    Key,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "password",
            Self::Key => "key",
        })
    }
}

/// The kinds of login that a server takes, as it lists them: `publickey,password`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Methods(String);

impl Methods {
    fn has(&self, method: &str) -> bool {
        self.0.split(',').any(|offered| offered == method)
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        write!(f, "{}", self.0.escape_debug())
    }
}

/// Logs in as the configuration says.
pub(super) fn log_in(handshake: &Handshake, destination: &Destination) -> Result<(), DeliveryError> {
    let user = &destination.user;
    let attempt = Attempt {
        handshake,
        user,
        offered: offered(handshake, user)?,
    };
    if handshake.session.authenticated() {
        return Ok(());
    }
    match &destination.login {
        Login::Password(password) => attempt.password(password),
        Login::Key { file, passphrase } => attempt.key_file(file, passphrase.as_ref()),
        Login::KeyAndPassword {
            file,
            passphrase,
            password,
        } => attempt.key_file_and_password(file, passphrase.as_ref(), password),
        Login::Agent { socket } => attempt.agent(socket.as_deref()),
    }
}

/// Asks what the server takes.
fn offered(handshake: &Handshake, user: &str) -> Result<Methods, DeliveryError> {
    let session = &handshake.session;
    // ssh2 panics on a list that is not UTF-8, instead of refusing it.
    let ask = || catch_unwind(AssertUnwindSafe(|| session.auth_methods(user).map(str::to_owned)));
    let list = handshake.complete(|| ask().unwrap_or_else(|_| Ok(String::new())))?;
    match list {
        Ok(list) => Ok(Methods(list)),
        // The question itself was enough for it.
        Err(_) if session.authenticated() => Ok(Methods(String::new())),
        Err(error) => Err(handshake.cut_in_login(error)),
    }
}

/// A login at a server that is known to take some methods.
struct Attempt<'a> {
    handshake: &'a Handshake,
    user: &'a str,
    offered: Methods,
}

impl Attempt<'_> {
    fn password(&self, password: &Secret) -> Result<(), DeliveryError> {
        let (session, password) = (&self.handshake.session, password.expose());
        let result = if self.offered.has("password") {
            self.handshake
                .complete(|| session.userauth_password(self.user, password))?
        } else if self.offered.has("keyboard-interactive") {
            // Many servers take a password only as the answer to a question of theirs (RFC 4256).
            let mut answers = Answers {
                password,
                given: false,
            };
            self.handshake
                .complete(|| session.userauth_keyboard_interactive(self.user, &mut answers))?
        } else {
            return Err(self.not_offered(Kind::Password));
        };
        self.judge(Kind::Password, result)
    }

    fn key_file(&self, file: &Path, passphrase: Option<&Secret>) -> Result<(), DeliveryError> {
        let result = self.show_key(file, passphrase)?;
        self.judge(Kind::Key, result)
    }

    /// libssh2 does not tell "right, and now the other" from "wrong" (RFC 4252, section 5.1); the list that the
    /// server gives after it does: it no longer has what was done.
    fn key_file_and_password(
        mut self,
        file: &Path,
        passphrase: Option<&Secret>,
        password: &Secret,
    ) -> Result<(), DeliveryError> {
        let result = self.show_key(file, passphrase)?;
        if self.handshake.session.authenticated() {
            return Ok(());
        }
        if let Err(error) = &result
            && is_cut(error)
        {
            return self.judge(Kind::Key, result);
        }
        let left = offered(self.handshake, self.user)?;
        if left.has("publickey") || left == self.offered {
            return self.judge(Kind::Key, result);
        }
        self.offered = left;
        self.password(password)
    }

    fn show_key(
        &self,
        file: &Path,
        passphrase: Option<&Secret>,
    ) -> Result<Result<(), ssh2::Error>, DeliveryError> {
        let path = || file.to_owned();
        // libssh2 does not tell a key that is missing from one that is not accepted.
        File::open(file).map_err(|source| self.refused(LoginError::KeyFile { path: path(), source }))?;
        if !self.offered.has("publickey") {
            return Err(self.not_offered(Kind::Key));
        }
        let passphrase = passphrase.map(Secret::expose);
        let session = &self.handshake.session;
        let shown = self
            .handshake
            .complete(|| session.userauth_pubkey_file(self.user, None, file, passphrase))?;
        match shown {
            Err(source) if KEY_UNUSABLE.contains(&source.code()) => {
                Err(self.refused(LoginError::KeyUnusable { path: path(), source }))
            }
            shown => Ok(shown),
        }
    }

    /// Shows the agent's keys one after the other.
    fn agent(&self, socket: Option<&Path>) -> Result<(), DeliveryError> {
        if !self.offered.has("publickey") {
            return Err(self.not_offered(Kind::Key));
        }
        let from_environment = || std::env::var_os(AGENT_SOCKET).map(PathBuf::from);
        let socket = socket.map(Path::to_owned).or_else(from_environment);
        let socket = socket.ok_or_else(|| self.refused(LoginError::NoAgent))?;
        let silent = |source| {
            let socket = socket.clone();
            self.refused(LoginError::Agent { socket, source })
        };
        // The agent is on this host: libssh2 waits for its answers as long as they take, also when we are to stop.
        let mut agent = self.handshake.session.agent().map_err(silent)?;
        agent.set_identity_path(&socket).map_err(silent)?;
        agent.connect().map_err(silent)?;
        self.handshake
            .complete(|| agent.list_identities())?
            .map_err(silent)?;
        let keys = agent.identities().map_err(silent)?;
        let mut result = None;
        for key in &keys {
            let shown = self.handshake.complete(|| agent.userauth(self.user, key))?;
            if shown.is_ok() {
                return self.judge(Kind::Key, shown);
            }
            result = Some(shown);
        }
        match result {
            Some(refused) => self.judge(Kind::Key, refused),
            None => Err(self.refused(LoginError::AgentEmpty {
                socket: socket.clone(),
            })),
        }
    }

    fn judge(&self, kind: Kind, result: Result<(), ssh2::Error>) -> Result<(), DeliveryError> {
        let offered = self.offered.clone();
        match result {
            _ if self.handshake.session.authenticated() => Ok(()),
            Ok(()) => Err(self.refused(LoginError::WantsMore { kind, offered })),
            Err(error) if is_cut(&error) => Err(self.handshake.cut_in_login(error)),
            Err(error) if error.code() == PASSWORD_EXPIRED => Err(self.refused(LoginError::Expired)),
            Err(error) if is_refusal(&error) => Err(self.refused(LoginError::Refused { kind, offered })),
            Err(source) => Err(self.refused(LoginError::Failed { kind, source })),
        }
    }

    fn not_offered(&self, kind: Kind) -> DeliveryError {
        let offered = self.offered.clone();
        self.refused(LoginError::NotOffered { offered, kind })
    }

    fn refused(&self, source: LoginError) -> DeliveryError {
        DeliveryError::Login {
            address: self.handshake.address.clone(),
            user: self.user.to_owned(),
            source,
        }
    }
}

/// `LIBSSH2_ERROR_AUTHENTICATION_FAILED` and `_PUBLICKEY_UNVERIFIED`.
fn is_refusal(error: &ssh2::Error) -> bool {
    [ErrorCode::Session(-18), ErrorCode::Session(-19)].contains(&error.code())
}

/// Answers the server's questions: the password once to what is to be typed unseen, nothing to anything else.
struct Answers<'a> {
    password: &'a str,
    given: bool,
}

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        let answer = |prompt: &Prompt<'_>| {
            if prompt.echo || self.given {
                return String::new();
            }
            self.given = true;
            self.password.to_owned()
        };
        prompts.iter().map(answer).collect()
    }
}
