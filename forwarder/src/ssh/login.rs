//! Logging in: by password, asked for in either of two ways, or by key.

use std::fs::File;

use logferry_config::{Destination, Login};
use ssh2::{KeyboardInteractivePrompt, Prompt};

use super::Handshake;
use crate::error::DeliveryError;

/// Logs in as the configuration says.
pub(super) fn log_in(handshake: &Handshake, destination: &Destination) -> Result<(), DeliveryError> {
    let Destination { user, login, .. } = destination;
    let session = &handshake.session;
    let refused = |source| DeliveryError::Login {
        address: handshake.address.clone(),
        user: user.clone(),
        source,
    };
    match login {
        Login::Password(password) => {
            let password = password.expose();
            let refusal = handshake.complete(|| session.userauth_password(user, password))?;
            if session.authenticated() {
                return Ok(());
            }
            // Many servers take a password only as the answer to a question of theirs (RFC 4256).
            let mut answers = Answers {
                password,
                given: false,
            };
            let asked = handshake.complete(|| session.userauth_keyboard_interactive(user, &mut answers))?;
            if !session.authenticated() {
                // When nothing was asked, the first refusal is the one that tells something.
                if answers.given { asked } else { refusal }.map_err(refused)?;
            }
        }
        Login::Key { file, passphrase } => {
            // libssh2 does not tell a key that is missing from one that is not accepted.
            File::open(file).map_err(|source| DeliveryError::KeyFile {
                path: file.clone(),
                source,
            })?;
            let passphrase = passphrase.as_ref().map(logferry_config::Secret::expose);
            handshake
                .complete(|| session.userauth_pubkey_file(user, None, file, passphrase))?
                .map_err(refused)?;
        }
    }
    if session.authenticated() {
        return Ok(());
    }
    // `LIBSSH2_ERROR_AUTHENTICATION_FAILED`: the server wants a second factor that we do not have.
    Err(refused(ssh2::Error::from_errno(ssh2::ErrorCode::Session(-18))))
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
