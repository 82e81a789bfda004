//! Users and tokens as the commands `logferry console user|token` change them. They work while the console runs and while it
//! does not, and are in the trail of actions.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use logferry_durable::{Disk, RealDisk};
use serde::Serialize;

use crate::access::scope::AccessScope;
use crate::access::{password, secret_text};
use crate::database::{ConsoleDb, TokenRow, UserRow};
use crate::error::ConsoleError;

/// Characters of a name.
const NAME_MAX: usize = 64;

/// The accounts in the console's folder.
#[derive(Debug)]
pub struct Accounts {
    db: ConsoleDb,
}

/// All accounts, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountList {
    /// By name.
    pub users: Vec<ListedUser>,
    /// By name.
    pub tokens: Vec<ListedToken>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedUser {
    /// The name at the login.
    pub name: String,
    /// What it may.
    pub scope: AccessScope,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedToken {
    /// Its name.
    pub name: String,
    /// What it may.
    pub scope: AccessScope,
    /// When it was added.
    pub created_at: Timestamp,
    /// Until when it counts; `None`: for ever.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl Accounts {
    /// Opens `console.db` in the console's folder; both are made if they are not there.
    pub fn open(state_dir: &Path) -> Result<Self, ConsoleError> {
        RealDisk.create_dir_all(state_dir)?;
        let db = ConsoleDb::open_or_create(state_dir)?;
        Ok(Self { db })
    }

    /// All accounts.
    pub fn list(&self) -> Result<AccountList, ConsoleError> {
        let users = self.db.users()?.into_iter().map(|user| ListedUser {
            name: user.name,
            scope: user.scope,
            created_at: user.created_at,
        });
        let tokens = self.db.tokens()?.into_iter().map(|token| ListedToken {
            name: token.name,
            scope: token.scope,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        });
        Ok(AccountList {
            users: users.collect(),
            tokens: tokens.collect(),
        })
    }

    /// Why a name cannot be one; `None` if it can.
    pub fn name_refusal(name: &str) -> Option<String> {
        let is_plain = |c: char| c.is_alphanumeric() || "._-@".contains(c);
        (name.is_empty() || name.chars().count() > NAME_MAX || !name.chars().all(is_plain)).then(|| {
            format!("`{name}` is no name for an account; write 1 to {NAME_MAX} letters, digits, `.`, `_`, `-` or `@`")
        })
    }

    /// Adds a user, or gives one another password and scope; whether it is new.
    pub fn put_user(&mut self, name: &str, password: &str, scope: AccessScope) -> Result<bool, ConsoleError> {
        let refused = Self::name_refusal(name).or_else(|| password::refusal(password));
        refused.map_or(Ok(()), |text| Err(ConsoleError::Refused(text)))?;
        let user = UserRow {
            name: name.to_owned(),
            password_hash: password::hash(password).map_err(ConsoleError::Refused)?,
            scope,
            created_at: Timestamp::now(),
        };
        self.db.put_user(&user)
    }

    /// Removes a user, whose sessions end at once; whether there was one.
    pub fn remove_user(&mut self, name: &str) -> Result<bool, ConsoleError> {
        self.db.remove_user(name)
    }

    /// Adds a token; its text is told now and never again.
    pub fn add_token(
        &mut self,
        name: &str,
        scope: AccessScope,
        lasts: Option<SignedDuration>,
    ) -> Result<String, ConsoleError> {
        if let Some(refused) = Self::name_refusal(name) {
            return Err(ConsoleError::Refused(refused));
        }
        let secret = secret_text::new_secret().map_err(ConsoleError::Refused)?;
        let text = format!("{}{secret}", secret_text::TOKEN_PREFIX);
        let now = Timestamp::now();
        let token = TokenRow {
            name: name.to_owned(),
            scope,
            created_at: now,
            expires_at: lasts.map(|lasts| now.checked_add(lasts).unwrap_or(Timestamp::MAX)),
            last_used_at: None,
        };
        if self.db.add_token(&token, &secret_text::hash(&text))? {
            return Ok(text);
        }
        Err(ConsoleError::Refused(format!(
            "there is a token {name} already; take another name, or run `logferry console token remove {name}` first"
        )))
    }

    /// Removes a token, which counts no more at once; whether there was one.
    pub fn remove_token(&mut self, name: &str) -> Result<bool, ConsoleError> {
        self.db.remove_token(name)
    }
}
