//! Logging in: by password, given or asked for, by key, by key and password, or by an agent's key.
//!
//! Invariant: what the server does not take is not tried, and nothing is tried twice. Servers count failed logins, and
//! lock accounts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use logferry_config::{Destination, Login, Secret};
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse as Asked, Prompt};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::{HashAlg, PublicKey};
use russh::keys::{PrivateKeyWithHashAlg, decode_secret_key};
use russh::{AgentAuthError, MethodKind, MethodSet};
use tokio::net::UnixStream;

use super::handshake::Greeting;
use crate::error::DeliveryError;

/// The environment variable that names the agent's socket (ssh-agent(1)).
const AGENT_SOCKET: &str = "SSH_AUTH_SOCK";

/// How often a server may ask for more before it is taken to go on for ever.
const QUESTIONS_MAX: usize = 16;

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

/// The kinds of login that a server takes, of those there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Methods(MethodSet);

impl Methods {
    fn has(&self, method: MethodKind) -> bool {
        self.0.contains(&method)
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing that is known here");
        }
        let names: Vec<&str> = self.0.iter().map(Into::into).collect();
        f.write_str(&names.join(","))
    }
}

/// Logs in as the configuration says.
pub(super) async fn log_in(greeting: &mut Greeting, destination: &Destination) -> Result<(), DeliveryError> {
    let user = &destination.user;
    let asked = greeting.handle.authenticate_none(user);
    let answer = greeting.route.step(asked).await?;
    let offered = match answer.map_err(|_| greeting.cut_in_login())? {
        // The question itself was enough for it.
        AuthResult::Success => return Ok(()),
        AuthResult::Failure {
            remaining_methods, ..
        } => Methods(remaining_methods),
    };
    if greeting.peer.is_cut() {
        return Err(greeting.cut_in_login());
    }
    let mut attempt = Attempt {
        greeting,
        user,
        offered,
    };
    match &destination.login {
        Login::Password(password) => attempt.password(password).await,
        Login::Key { file, passphrase } => attempt.key_file(file, passphrase.as_ref()).await,
        Login::KeyAndPassword {
            file,
            passphrase,
            password,
        } => {
            attempt
                .key_file_and_password(file, passphrase.as_ref(), password)
                .await
        }
        Login::Agent { socket } => attempt.agent(socket.as_deref()).await,
    }
}

/// What a server says to something that was shown.
enum Answer {
    /// We are in.
    Taken,
    /// It takes it, and wants one of these as well (RFC 4252, section 5.1).
    TakenInPart(Methods),
    /// It does not take it.
    Refused,
}

/// A login at a server that is known to take some methods.
struct Attempt<'a> {
    greeting: &'a mut Greeting,
    user: &'a str,
    offered: Methods,
}

impl Attempt<'_> {
    async fn password(&mut self, password: &Secret) -> Result<(), DeliveryError> {
        let answer = if self.offered.has(MethodKind::Password) {
            self.give(password).await?
        } else if self.offered.has(MethodKind::KeyboardInteractive) {
            // Many servers take a password only as the answer to a question of theirs (RFC 4256).
            self.answer_with(password).await?
        } else {
            return Err(self.not_offered(Kind::Password));
        };
        self.judge(Kind::Password, answer)
    }

    async fn give(&mut self, password: &Secret) -> Result<Answer, DeliveryError> {
        let Greeting { handle, route, .. } = &mut *self.greeting;
        let given = handle.authenticate_password(self.user, password.expose());
        match route.step(given).await {
            Ok(result) => self.answer(result),
            Err(DeliveryError::Unreachable { .. }) => Err(self.refused(LoginError::NotAnswered)),
            Err(stopped) => Err(stopped),
        }
    }

    /// The password once to what is to be typed unseen, nothing to anything else.
    async fn answer_with(&mut self, password: &Secret) -> Result<Answer, DeliveryError> {
        let mut given = false;
        let mut answer_to = |prompt: &Prompt| {
            if prompt.echo || given {
                return String::new();
            }
            given = true;
            password.expose().to_owned()
        };
        let Greeting { handle, route, .. } = &mut *self.greeting;
        let started = handle.authenticate_keyboard_interactive_start(self.user, None);
        let mut asked = route.step(started).await?;
        for _ in 0..QUESTIONS_MAX {
            let prompts = match asked {
                Ok(Asked::InfoRequest { prompts, .. }) => prompts,
                Ok(Asked::Success) => return Ok(Answer::Taken),
                Ok(Asked::Failure {
                    remaining_methods,
                    partial_success,
                }) => {
                    return self.answer(Ok(AuthResult::Failure {
                        remaining_methods,
                        partial_success,
                    }));
                }
                Err(_) => return Err(self.greeting.cut_in_login()),
            };
            let answers = prompts.iter().map(&mut answer_to).collect();
            let answered = handle.authenticate_keyboard_interactive_respond(answers);
            asked = route.step(answered).await?;
        }
        Ok(Answer::Refused)
    }

    async fn key_file(&mut self, file: &Path, passphrase: Option<&Secret>) -> Result<(), DeliveryError> {
        let answer = self.show_key(file, passphrase).await?;
        self.judge(Kind::Key, answer)
    }

    async fn key_file_and_password(
        &mut self,
        file: &Path,
        passphrase: Option<&Secret>,
        password: &Secret,
    ) -> Result<(), DeliveryError> {
        match self.show_key(file, passphrase).await? {
            Answer::TakenInPart(wanted) => {
                self.offered = wanted;
                self.password(password).await
            }
            answer => self.judge(Kind::Key, answer),
        }
    }

    async fn show_key(&mut self, file: &Path, passphrase: Option<&Secret>) -> Result<Answer, DeliveryError> {
        let path = || file.to_owned();
        let text = fs::read_to_string(file)
            .map_err(|source| self.refused(LoginError::KeyFile { path: path(), source }))?;
        let key = decode_secret_key(&text, passphrase.map(Secret::expose))
            .map_err(|source| self.refused(LoginError::KeyUnusable { path: path(), source }))?;
        if !self.offered.has(MethodKind::PublicKey) {
            return Err(self.not_offered(Kind::Key));
        }
        let hash = self.hash_for(key.public_key()).await?;
        let Greeting { handle, route, .. } = &mut *self.greeting;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let shown = handle.authenticate_publickey(self.user, key);
        let result = route.step(shown).await?;
        self.answer(result)
    }

    /// By which hash an RSA key is to sign: the best that the server says it knows, and SHA-1 if it says nothing, as
    /// servers do that are older than the others (RFC 8332, section 3.3).
    async fn hash_for(&mut self, key: &PublicKey) -> Result<Option<HashAlg>, DeliveryError> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let Greeting { handle, route, .. } = &*self.greeting;
        let best = route.step(handle.best_supported_rsa_hash()).await?;
        best.map(Option::flatten)
            .map_err(|_| self.greeting.cut_in_login())
    }

    /// Shows the agent's keys one after the other.
    async fn agent(&mut self, socket: Option<&Path>) -> Result<(), DeliveryError> {
        if !self.offered.has(MethodKind::PublicKey) {
            return Err(self.not_offered(Kind::Key));
        }
        let from_environment = || std::env::var_os(AGENT_SOCKET).map(PathBuf::from);
        let socket = socket.map(Path::to_owned).or_else(from_environment);
        let socket = socket.ok_or_else(|| self.refused(LoginError::NoAgent))?;
        let (mut agent, keys) = self.keys_of(&socket).await?;
        let mut last = None;
        for key in keys {
            let shown = self.show_key_of(&mut agent, key).await?;
            match shown {
                Ok(Answer::Refused) | Err(_) => last = Some(shown),
                Ok(answer) => return self.judge(Kind::Key, answer),
            }
        }
        match last {
            Some(Ok(answer)) => self.judge(Kind::Key, answer),
            Some(Err(source)) => Err(self.refused(LoginError::NotSigned { source })),
            None => Err(self.refused(LoginError::AgentEmpty { socket })),
        }
    }

    async fn keys_of(
        &self,
        socket: &Path,
    ) -> Result<(AgentClient<UnixStream>, Vec<AgentIdentity>), DeliveryError> {
        let silent = |source| {
            let socket = socket.to_owned();
            self.refused(LoginError::Agent { socket, source })
        };
        let listed = async {
            let mut agent = AgentClient::connect_uds(socket).await?;
            let keys = agent.request_identities().await?;
            Ok((agent, keys))
        };
        match self.greeting.route.step(listed).await {
            Ok(listed) => listed.map_err(silent),
            Err(DeliveryError::Unreachable { source, .. }) => Err(silent(source.into())),
            Err(stopped) => Err(stopped),
        }
    }

    /// What the server says to a key of the agent's, or why the agent does not sign with it.
    async fn show_key_of(
        &mut self,
        agent: &mut AgentClient<UnixStream>,
        key: AgentIdentity,
    ) -> Result<Result<Answer, AgentAuthError>, DeliveryError> {
        let hash = self.hash_for(&key.public_key()).await?;
        let Greeting { handle, route, .. } = &mut *self.greeting;
        let shown = async {
            match key {
                AgentIdentity::PublicKey { key, .. } => {
                    handle
                        .authenticate_publickey_with(self.user, key, hash, agent)
                        .await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    handle
                        .authenticate_certificate_with(self.user, certificate, hash, agent)
                        .await
                }
            }
        };
        let result = route.step(shown).await?;
        match result {
            Ok(result) => self.answer(Ok(result)).map(Ok),
            Err(AgentAuthError::Send(_)) => Err(self.greeting.cut_in_login()),
            Err(error) => Ok(Err(error)),
        }
    }

    /// A session that ends gives the same answer as a server that takes nothing any more.
    fn answer(&self, result: Result<AuthResult, russh::Error>) -> Result<Answer, DeliveryError> {
        match result {
            Ok(AuthResult::Success) => Ok(Answer::Taken),
            Ok(AuthResult::Failure {
                remaining_methods,
                partial_success: true,
            }) => Ok(Answer::TakenInPart(Methods(remaining_methods))),
            Ok(AuthResult::Failure {
                remaining_methods, ..
            }) if !remaining_methods.is_empty() || !self.greeting.peer.is_cut() => Ok(Answer::Refused),
            Ok(AuthResult::Failure { .. }) | Err(_) => Err(self.greeting.cut_in_login()),
        }
    }

    fn judge(&self, kind: Kind, answer: Answer) -> Result<(), DeliveryError> {
        let offered = self.offered.clone();
        match answer {
            Answer::Taken => Ok(()),
            Answer::TakenInPart(offered) => Err(self.refused(LoginError::WantsMore { kind, offered })),
            Answer::Refused => Err(self.refused(LoginError::Refused { kind, offered })),
        }
    }

    fn not_offered(&self, kind: Kind) -> DeliveryError {
        let offered = self.offered.clone();
        self.refused(LoginError::NotOffered { offered, kind })
    }

    fn refused(&self, source: LoginError) -> DeliveryError {
        DeliveryError::Login {
            address: self.greeting.route.address.clone(),
            user: self.user.to_owned(),
            source: Box::new(source),
        }
    }
}

impl Greeting {
    fn cut_in_login(&self) -> DeliveryError {
        DeliveryError::CutInLogin {
            address: self.route.address.clone(),
            source: self.peer.farewell(),
        }
    }
}
