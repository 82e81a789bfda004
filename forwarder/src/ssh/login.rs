//! Logging in: by password, given or asked for, by key, by key and password, or by an agent's key.
//!
//! Invariant: what the server does not take is not tried, and nothing is tried twice. Servers count failed logins, and
//! lock accounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logferry_config::{Destination, Login, Secret};
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse as Asked, Prompt};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::{HashAlg, PublicKey};
use russh::keys::{PrivateKeyWithHashAlg, decode_secret_key};
use russh::{AgentAuthError, MethodKind};
use tokio::net::UnixStream;

use super::handshake::UnauthenticatedSession;
use crate::error::DeliveryError;
use crate::error::login::{AGENT_SOCKET, Credential, LoginError, LoginMethods};

/// How often a server may ask for more before it is taken to go on for ever.
const QUESTIONS_MAX: usize = 16;

/// Logs in as the configuration says.
pub(super) async fn log_in(
    session: &mut UnauthenticatedSession,
    destination: &Destination,
) -> Result<(), DeliveryError> {
    let user = &destination.user;
    let asked = session.handle.authenticate_none(user);
    let answer = session.target.step(asked).await?;
    let offered = match answer.map_err(|_| session.cut_in_login())? {
        // The question itself was enough for it.
        AuthResult::Success => return Ok(()),
        AuthResult::Failure {
            remaining_methods, ..
        } => LoginMethods(remaining_methods),
    };
    if session.peer.is_cut() {
        return Err(session.cut_in_login());
    }
    let mut attempt = LoginAttempt {
        session,
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
enum AuthOutcome {
    /// We are in.
    Accepted,
    /// It takes it, and wants one of these as well (RFC 4252, section 5.1).
    PartiallyAccepted(LoginMethods),
    /// It does not take it.
    Refused,
}

/// A login at a server that is known to take some methods.
struct LoginAttempt<'a> {
    session: &'a mut UnauthenticatedSession,
    user: &'a str,
    offered: LoginMethods,
}

impl LoginAttempt<'_> {
    async fn password(&mut self, password: &Secret) -> Result<(), DeliveryError> {
        let answer = if self.offered.has(MethodKind::Password) {
            self.give(password).await?
        } else if self.offered.has(MethodKind::KeyboardInteractive) {
            // Many servers take a password only as the answer to a question of theirs (RFC 4256).
            self.answer_with(password).await?
        } else {
            return Err(self.not_offered(Credential::Password));
        };
        self.finish(Credential::Password, answer)
    }

    async fn give(&mut self, password: &Secret) -> Result<AuthOutcome, DeliveryError> {
        let UnauthenticatedSession { handle, target, .. } = &mut *self.session;
        let given = handle.authenticate_password(self.user, password.expose());
        match target.step(given).await {
            Ok(result) => self.answer(result),
            Err(DeliveryError::Unreachable { .. }) => Err(self.refused(LoginError::NotAnswered)),
            Err(stopped) => Err(stopped),
        }
    }

    /// The password once to what is to be typed unseen, nothing to anything else.
    async fn answer_with(&mut self, password: &Secret) -> Result<AuthOutcome, DeliveryError> {
        let mut given = false;
        let mut answer_to = |prompt: &Prompt| {
            if prompt.echo || given {
                return String::new();
            }
            given = true;
            password.expose().to_owned()
        };
        let UnauthenticatedSession { handle, target, .. } = &mut *self.session;
        let started = handle.authenticate_keyboard_interactive_start(self.user, None);
        let mut asked = target.step(started).await?;
        for _ in 0..QUESTIONS_MAX {
            let prompts = match asked {
                Ok(Asked::InfoRequest { prompts, .. }) => prompts,
                Ok(Asked::Success) => return Ok(AuthOutcome::Accepted),
                Ok(Asked::Failure {
                    remaining_methods,
                    partial_success,
                }) => {
                    return self.answer(Ok(AuthResult::Failure {
                        remaining_methods,
                        partial_success,
                    }));
                }
                Err(_) => return Err(self.session.cut_in_login()),
            };
            let answers = prompts.iter().map(&mut answer_to).collect();
            let answered = handle.authenticate_keyboard_interactive_respond(answers);
            asked = target.step(answered).await?;
        }
        Ok(AuthOutcome::Refused)
    }

    async fn key_file(&mut self, file: &Path, passphrase: Option<&Secret>) -> Result<(), DeliveryError> {
        let answer = self.show_key(file, passphrase).await?;
        self.finish(Credential::Key, answer)
    }

    async fn key_file_and_password(
        &mut self,
        file: &Path,
        passphrase: Option<&Secret>,
        password: &Secret,
    ) -> Result<(), DeliveryError> {
        match self.show_key(file, passphrase).await? {
            AuthOutcome::PartiallyAccepted(wanted) => {
                self.offered = wanted;
                self.password(password).await
            }
            answer => self.finish(Credential::Key, answer),
        }
    }

    async fn show_key(
        &mut self,
        file: &Path,
        passphrase: Option<&Secret>,
    ) -> Result<AuthOutcome, DeliveryError> {
        let path = || file.to_owned();
        let text = fs::read_to_string(file)
            .map_err(|source| self.refused(LoginError::KeyFile { path: path(), source }))?;
        let key = decode_secret_key(&text, passphrase.map(Secret::expose))
            .map_err(|source| self.refused(LoginError::KeyUnusable { path: path(), source }))?;
        if !self.offered.has(MethodKind::PublicKey) {
            return Err(self.not_offered(Credential::Key));
        }
        let hash = self.hash_for(key.public_key()).await?;
        let UnauthenticatedSession { handle, target, .. } = &mut *self.session;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let shown = handle.authenticate_publickey(self.user, key);
        let result = target.step(shown).await?;
        self.answer(result)
    }

    /// By which hash an RSA key is to sign: the best that the server says it knows, and SHA-1 if it says nothing, as
    /// servers do that are older than the others (RFC 8332, section 3.3).
    async fn hash_for(&mut self, key: &PublicKey) -> Result<Option<HashAlg>, DeliveryError> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let UnauthenticatedSession { handle, target, .. } = &*self.session;
        let best = target.step(handle.best_supported_rsa_hash()).await?;
        best.map(Option::flatten).map_err(|_| self.session.cut_in_login())
    }

    /// Shows the agent's keys one after the other.
    async fn agent(&mut self, socket: Option<&Path>) -> Result<(), DeliveryError> {
        if !self.offered.has(MethodKind::PublicKey) {
            return Err(self.not_offered(Credential::Key));
        }
        let from_environment = || std::env::var_os(AGENT_SOCKET).map(PathBuf::from);
        let socket = socket.map(Path::to_owned).or_else(from_environment);
        let socket = socket.ok_or_else(|| self.refused(LoginError::NoAgent))?;
        let (mut agent, keys) = self.keys_of(&socket).await?;
        let mut last = None;
        for key in keys {
            let shown = self.show_key_of(&mut agent, key).await?;
            match shown {
                Ok(AuthOutcome::Refused) | Err(_) => last = Some(shown),
                Ok(answer) => return self.finish(Credential::Key, answer),
            }
        }
        match last {
            Some(Ok(answer)) => self.finish(Credential::Key, answer),
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
        match self.session.target.step(listed).await {
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
    ) -> Result<Result<AuthOutcome, AgentAuthError>, DeliveryError> {
        let hash = self.hash_for(&key.public_key()).await?;
        let UnauthenticatedSession { handle, target, .. } = &mut *self.session;
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
        let result = target.step(shown).await?;
        match result {
            Ok(result) => self.answer(Ok(result)).map(Ok),
            Err(AgentAuthError::Send(_)) => Err(self.session.cut_in_login()),
            Err(error) => Ok(Err(error)),
        }
    }

    /// A session that ends gives the same answer as a server that takes nothing any more.
    fn answer(&self, result: Result<AuthResult, russh::Error>) -> Result<AuthOutcome, DeliveryError> {
        match result {
            Ok(AuthResult::Success) => Ok(AuthOutcome::Accepted),
            Ok(AuthResult::Failure {
                remaining_methods,
                partial_success: true,
            }) => Ok(AuthOutcome::PartiallyAccepted(LoginMethods(remaining_methods))),
            Ok(AuthResult::Failure {
                remaining_methods, ..
            }) if !remaining_methods.is_empty() || !self.session.peer.is_cut() => Ok(AuthOutcome::Refused),
            Ok(AuthResult::Failure { .. }) | Err(_) => Err(self.session.cut_in_login()),
        }
    }

    fn finish(&self, kind: Credential, answer: AuthOutcome) -> Result<(), DeliveryError> {
        let offered = self.offered.clone();
        match answer {
            AuthOutcome::Accepted => Ok(()),
            AuthOutcome::PartiallyAccepted(offered) => {
                Err(self.refused(LoginError::WantsMore { kind, offered }))
            }
            AuthOutcome::Refused => Err(self.refused(LoginError::Refused { kind, offered })),
        }
    }

    fn not_offered(&self, kind: Credential) -> DeliveryError {
        let offered = self.offered.clone();
        self.refused(LoginError::NotOffered { offered, kind })
    }

    fn refused(&self, source: LoginError) -> DeliveryError {
        DeliveryError::Login {
            address: self.session.target.address.clone(),
            user: self.user.to_owned(),
            source: Box::new(source),
        }
    }
}

impl UnauthenticatedSession {
    fn cut_in_login(&self) -> DeliveryError {
        DeliveryError::CutInLogin {
            address: self.target.address.clone(),
            source: self.peer.disconnect_reason(),
        }
    }
}
