//! Logs in: by password (sent, or as the answer to a prompt), by key, by key and password, or by a key of an agent.
//!
//! Invariant: a method that the server does not accept is not tried, and none is tried twice. Servers count failed logins
//! and lock accounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logferry_config::{Destination, HostKeyPolicy, Login, Secret};
use logferry_durable::ContentDigest;
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse as Asked, Prompt};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::{HashAlg, PublicKey};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, decode_secret_key};
use russh::{AgentAuthError, MethodKind, MethodSet};
use tokio::net::UnixStream;

use super::key_cipher::unsupported_cipher;
use super::unauthenticated::UnauthenticatedSession;
use crate::error::DeliveryError;
use crate::error::login::{AGENT_SOCKET, Credential, LoginError, LoginMethods};

/// The most rounds of prompts that are answered.
const PROMPT_ROUNDS_MAX: usize = 16;

/// The files that decide whether a login works: the known hosts and the key.
pub(crate) fn credential_files(destination: &Destination) -> ContentDigest {
    let known_hosts = match &destination.host_key {
        HostKeyPolicy::KnownHosts(path) => Some(path),
        HostKeyPolicy::Fingerprint(_) => None,
    };
    let key = match &destination.login {
        Login::Key { file, .. } | Login::KeyAndPassword { file, .. } => Some(file),
        Login::Password(_) | Login::Agent { .. } => None,
    };
    ContentDigest::of_files(known_hosts.into_iter().chain(key))
}

/// What is wrong with the destination's key file, if it has one; `None` if it can be used.
pub(crate) fn key_finding(destination: &Destination) -> Option<String> {
    let (Login::Key { file, passphrase } | Login::KeyAndPassword { file, passphrase, .. }) =
        &destination.login
    else {
        return None;
    };
    let error = read_key(file, passphrase.as_ref()).err()?;
    let advice = error
        .advice()
        .map_or_else(String::new, |advice| format!("; {advice}"));
    Some(format!("{error}{advice}"))
}

fn read_key(file: &Path, passphrase: Option<&Secret>) -> Result<PrivateKey, LoginError> {
    let path = || file.to_owned();
    let text = fs::read_to_string(file).map_err(|source| LoginError::KeyFile(path(), source))?;
    decode_secret_key(&text, passphrase.map(Secret::expose)).map_err(|source| {
        match (unsupported_cipher(&text), passphrase) {
            (Some(cipher), _) => LoginError::KeyCipher { file: path(), cipher },
            (None, None) if text.contains("PRIVATE KEY") => LoginError::KeyEncrypted(path(), source),
            (None, _) if text.starts_with("ssh-") => LoginError::KeyPublic(path(), source),
            (None, _) => LoginError::KeyUnusable(path(), source),
        }
    })
}

/// Logs in as the configuration says.
pub(super) async fn log_in(
    session: &mut UnauthenticatedSession,
    destination: &Destination,
) -> Result<(), DeliveryError> {
    let user = &destination.user;
    let asked = session.handle.authenticate_none(user);
    let answer = session.target.run_step(asked).await?;
    let offered = match answer.map_err(|_| session.cut_during_login())? {
        // The server requires no credential.
        AuthResult::Success => return Ok(()),
        AuthResult::Failure {
            remaining_methods, ..
        } => LoginMethods(remaining_methods),
    };
    if session.peer.is_cut() {
        return Err(session.cut_during_login());
    }
    let mut attempt = LoginAttempt {
        session,
        user,
        offered,
    };
    match &destination.login {
        Login::Password(password) => attempt.password(password).await,
        Login::Key { file, passphrase } => attempt.key_file(file, passphrase.as_ref(), None).await,
        Login::KeyAndPassword {
            file,
            passphrase,
            password,
        } => attempt.key_file(file, passphrase.as_ref(), Some(password)).await,
        Login::Agent { socket } => attempt.agent(socket.as_deref()).await,
    }
}

/// A login at a server whose accepted methods are known.
struct LoginAttempt<'a> {
    session: &'a mut UnauthenticatedSession,
    user: &'a str,
    offered: LoginMethods,
}

impl LoginAttempt<'_> {
    async fn password(&mut self, password: &Secret) -> Result<(), DeliveryError> {
        let answer = if self.offered.has(MethodKind::Password) {
            self.send_password(password).await?
        } else if self.offered.has(MethodKind::KeyboardInteractive) {
            // Many servers accept a password only as the answer to a prompt (RFC 4256).
            self.answer_prompts(password).await?
        } else {
            return Err(self.not_offered(Credential::Password));
        };
        self.finish(Credential::Password, answer)
    }

    async fn send_password(&mut self, password: &Secret) -> Result<AuthResult, DeliveryError> {
        let UnauthenticatedSession { handle, target, .. } = &mut *self.session;
        let given = handle.authenticate_password(self.user, password.expose());
        match target.run_step(given).await {
            Ok(result) => self.outcome(result),
            Err(DeliveryError::Unreachable(..)) => Err(self.refused(LoginError::NotAnswered)),
            Err(stopped) => Err(stopped),
        }
    }

    /// Answers the first prompt without echo with the password, and every other prompt with an empty text.
    async fn answer_prompts(&mut self, password: &Secret) -> Result<AuthResult, DeliveryError> {
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
        let mut asked = target.run_step(started).await?;
        for _ in 0..PROMPT_ROUNDS_MAX {
            let prompts = match asked {
                Ok(Asked::InfoRequest { prompts, .. }) => prompts,
                Ok(Asked::Success) => return Ok(AuthResult::Success),
                Ok(Asked::Failure {
                    remaining_methods,
                    partial_success,
                }) => {
                    return self.outcome(Ok(AuthResult::Failure {
                        remaining_methods,
                        partial_success,
                    }));
                }
                Err(_) => return Err(self.session.cut_during_login()),
            };
            let answers = prompts.iter().map(&mut answer_to).collect();
            let answered = handle.authenticate_keyboard_interactive_respond(answers);
            asked = target.run_step(answered).await?;
        }
        Ok(AuthResult::Failure {
            remaining_methods: MethodSet::empty(),
            partial_success: false,
        })
    }

    /// By key, and by password as well if the server requires that and one is configured.
    async fn key_file(
        &mut self,
        file: &Path,
        passphrase: Option<&Secret>,
        password: Option<&Secret>,
    ) -> Result<(), DeliveryError> {
        match (self.try_key_file(file, passphrase).await?, password) {
            (
                AuthResult::Failure {
                    remaining_methods,
                    partial_success: true,
                },
                Some(password),
            ) => {
                self.offered = LoginMethods(remaining_methods);
                self.password(password).await
            }
            (answer, _) => self.finish(Credential::Key, answer),
        }
    }

    async fn try_key_file(
        &mut self,
        file: &Path,
        passphrase: Option<&Secret>,
    ) -> Result<AuthResult, DeliveryError> {
        let key = read_key(file, passphrase).map_err(|error| self.refused(error))?;
        if !self.offered.has(MethodKind::PublicKey) {
            return Err(self.not_offered(Credential::Key));
        }
        let hash = self.hash_for(key.public_key()).await?;
        let UnauthenticatedSession { handle, target, .. } = &mut *self.session;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let shown = handle.authenticate_publickey(self.user, key);
        let result = target.run_step(shown).await?;
        self.outcome(result)
    }

    /// The hash for signatures of an RSA key: the best one that the server lists, or SHA-1 if it lists none, as old servers
    /// do (RFC 8332, section 3.3).
    async fn hash_for(&mut self, key: &PublicKey) -> Result<Option<HashAlg>, DeliveryError> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let UnauthenticatedSession { handle, target, .. } = &*self.session;
        let best = target.run_step(handle.best_supported_rsa_hash()).await?;
        best.map(Option::flatten)
            .map_err(|_| self.session.cut_during_login())
    }

    /// Tries the agent's keys one after the other.
    async fn agent(&mut self, socket: Option<&Path>) -> Result<(), DeliveryError> {
        if !self.offered.has(MethodKind::PublicKey) {
            return Err(self.not_offered(Credential::Key));
        }
        let from_environment = || std::env::var_os(AGENT_SOCKET).map(PathBuf::from);
        let socket = socket.map(Path::to_owned).or_else(from_environment);
        let socket = socket.ok_or_else(|| self.refused(LoginError::NoAgent))?;
        let (mut agent, keys) = self.agent_keys(&socket).await?;
        let mut last = None;
        for key in keys {
            let shown = self.try_agent_key(&mut agent, key).await?;
            match shown {
                Ok(AuthResult::Failure {
                    partial_success: false,
                    ..
                })
                | Err(_) => last = Some(shown),
                Ok(answer) => return self.finish(Credential::Key, answer),
            }
        }
        match last {
            Some(Ok(answer)) => self.finish(Credential::Key, answer),
            Some(Err(source)) => Err(self.refused(LoginError::NotSigned(source))),
            None => Err(self.refused(LoginError::AgentEmpty(socket))),
        }
    }

    async fn agent_keys(
        &self,
        socket: &Path,
    ) -> Result<(AgentClient<UnixStream>, Vec<AgentIdentity>), DeliveryError> {
        let silent = |source| self.refused(LoginError::Agent(socket.to_owned(), source));
        let listed = async {
            let mut agent = AgentClient::connect_uds(socket).await?;
            let keys = agent.request_identities().await?;
            Ok((agent, keys))
        };
        match self.session.target.run_step(listed).await {
            Ok(listed) => listed.map_err(silent),
            Err(DeliveryError::Unreachable(_, source)) => Err(silent(source.into())),
            Err(stopped) => Err(stopped),
        }
    }

    /// The server's answer to a key of the agent, or why the agent does not sign with it.
    async fn try_agent_key(
        &mut self,
        agent: &mut AgentClient<UnixStream>,
        key: AgentIdentity,
    ) -> Result<Result<AuthResult, AgentAuthError>, DeliveryError> {
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
        let result = target.run_step(shown).await?;
        match result {
            Ok(result) => self.outcome(Ok(result)).map(Ok),
            Err(AgentAuthError::Send(_)) => Err(self.session.cut_during_login()),
            Err(error) => Ok(Err(error)),
        }
    }

    /// russh reports a closed session as a failure without remaining methods.
    fn outcome(&self, result: Result<AuthResult, russh::Error>) -> Result<AuthResult, DeliveryError> {
        match result {
            Ok(AuthResult::Failure {
                remaining_methods,
                partial_success: false,
            }) if remaining_methods.is_empty() && self.session.peer.is_cut() => {
                Err(self.session.cut_during_login())
            }
            answer => answer.map_err(|_| self.session.cut_during_login()),
        }
    }

    fn finish(&self, kind: Credential, answer: AuthResult) -> Result<(), DeliveryError> {
        match answer {
            AuthResult::Success => Ok(()),
            // The credential is accepted, and one of these methods is required as well (RFC 4252, section 5.1).
            AuthResult::Failure {
                remaining_methods,
                partial_success: true,
            } => Err(self.refused(LoginError::WantsMore(kind, LoginMethods(remaining_methods)))),
            AuthResult::Failure { .. } => Err(self.refused(LoginError::Refused(kind, self.offered.clone()))),
        }
    }

    fn not_offered(&self, kind: Credential) -> DeliveryError {
        self.refused(LoginError::NotOffered(kind, self.offered.clone()))
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
    fn cut_during_login(&self) -> DeliveryError {
        DeliveryError::CutInLogin(self.target.address.clone(), self.peer.disconnect_reason())
    }
}
