//! Users and tokens.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{ConsoleDb, actions, milliseconds, timestamp};
use crate::access::scope::AccessScope;
use crate::access::secret_text::SecretHash;
use crate::error::ConsoleError;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRow {
    pub(crate) name: String,
    pub(crate) password_hash: String,
    pub(crate) scope: AccessScope,
    pub(crate) created_at: Timestamp,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRow {
    pub(crate) name: String,
    pub(crate) scope: AccessScope,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) last_used_at: Option<Timestamp>,
}

/// A token's last use is noted so often: a request that only reads does not write.
const USE_NOTED_EVERY_MS: i64 = 60_000;

impl ConsoleDb {
    /// The users by name.
    pub(crate) fn users(&self) -> Result<Vec<UserRow>, ConsoleError> {
        self.read("list the users", |sql| {
            let query = "SELECT name, password_hash, scope, created_at FROM users ORDER BY name";
            sql.prepare_cached(query)?.query_map([], user_row)?.collect()
        })
    }

    /// The user of this name.
    pub(crate) fn user(&self, name: &str) -> Result<Option<UserRow>, ConsoleError> {
        self.read("find a user", |sql| {
            let query = "SELECT name, password_hash, scope, created_at FROM users WHERE name = ?1";
            sql.prepare_cached(query)?.query_row([name], user_row).optional()
        })
    }

    /// Adds a user, or gives one another password and scope, which ends its sessions; whether it is new.
    pub(crate) fn put_user(&mut self, user: &UserRow) -> Result<bool, ConsoleError> {
        self.write("add a user", |sql| {
            let ended = sql.execute("DELETE FROM sessions WHERE user = ?1", [&user.name])?;
            let known = "SELECT count(*) FROM users WHERE name = ?1";
            let is_new = ended == 0 && sql.query_row(known, [&user.name], |row| row.get::<_, i64>(0))? == 0;
            sql.execute(
                "INSERT INTO users (name, password_hash, scope, created_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET password_hash = ?2, scope = ?3",
                params![
                    user.name,
                    user.password_hash,
                    user.scope.as_str(),
                    milliseconds(user.created_at)
                ],
            )?;
            let action = if is_new { "add user" } else { "change user" };
            note(sql, action, &user.name, user.scope.as_str())?;
            Ok(is_new)
        })
    }

    /// Removes a user with its sessions; whether there was one.
    pub(crate) fn remove_user(&mut self, name: &str) -> Result<bool, ConsoleError> {
        self.write("remove a user", |sql| {
            let is_removed = sql.execute("DELETE FROM users WHERE name = ?1", [name])? > 0;
            if is_removed {
                note(sql, "remove user", name, "")?;
            }
            Ok(is_removed)
        })
    }

    /// The tokens by name.
    pub(crate) fn tokens(&self) -> Result<Vec<TokenRow>, ConsoleError> {
        self.read("list the tokens", |sql| {
            let query = "SELECT name, scope, created_at, expires_at, last_used_at FROM tokens ORDER BY name";
            sql.prepare_cached(query)?.query_map([], token_row)?.collect()
        })
    }

    /// Adds a token; false if there is one of this name.
    pub(crate) fn add_token(&mut self, token: &TokenRow, hash: &SecretHash) -> Result<bool, ConsoleError> {
        self.write("add a token", |sql| {
            let added = sql.execute(
                "INSERT OR IGNORE INTO tokens (name, hash, scope, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    token.name,
                    hash,
                    token.scope.as_str(),
                    milliseconds(token.created_at),
                    token.expires_at.map(milliseconds)
                ],
            )?;
            if added > 0 {
                note(sql, "add token", &token.name, token.scope.as_str())?;
            }
            Ok(added > 0)
        })
    }

    /// Removes a token; whether there was one.
    pub(crate) fn remove_token(&mut self, name: &str) -> Result<bool, ConsoleError> {
        self.write("remove a token", |sql| {
            let is_removed = sql.execute("DELETE FROM tokens WHERE name = ?1", [name])? > 0;
            if is_removed {
                note(sql, "remove token", name, "")?;
            }
            Ok(is_removed)
        })
    }

    /// The token with this hash, unless it has expired; notes that it is used.
    pub(crate) fn token_by_hash(
        &mut self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<TokenRow>, ConsoleError> {
        let found = self.read("find a token", |sql| {
            let query =
                "SELECT name, scope, created_at, expires_at, last_used_at FROM tokens WHERE hash = ?1";
            sql.prepare_cached(query)?.query_row([hash], token_row).optional()
        })?;
        let is_valid = |token: &TokenRow| token.expires_at.is_none_or(|until| now < until);
        let Some(token) = found.filter(is_valid) else {
            return Ok(None);
        };
        let noted = token.last_used_at.map_or(i64::MIN, milliseconds);
        if milliseconds(now).saturating_sub(noted) >= USE_NOTED_EVERY_MS {
            self.write("note the use of a token", |sql| {
                let update = "UPDATE tokens SET last_used_at = ?1 WHERE hash = ?2";
                sql.execute(update, params![milliseconds(now), hash])
            })?;
        }
        Ok(Some(token))
    }
}

/// Accounts are changed on the host alone, by whoever may write the console's folder.
fn note(sql: &Connection, action: &str, name: &str, scope: &str) -> rusqlite::Result<()> {
    actions::add(sql, "command on the host", action, name, scope, Timestamp::now())
}

/// A scope that no version knows may only look.
pub(super) fn scope(text: &str) -> AccessScope {
    text.parse().unwrap_or(AccessScope::Read)
}

fn user_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    Ok(UserRow {
        name: row.get(0)?,
        password_hash: row.get(1)?,
        scope: scope(&row.get::<_, String>(2)?),
        created_at: timestamp(row.get(3)?),
    })
}

fn token_row(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        name: row.get(0)?,
        scope: scope(&row.get::<_, String>(1)?),
        created_at: timestamp(row.get(2)?),
        expires_at: row.get::<_, Option<i64>>(3)?.map(timestamp),
        last_used_at: row.get::<_, Option<i64>>(4)?.map(timestamp),
    })
}
