//! Sessions. One lasts [`LIFETIME_MS`] from its last use; that is noted when half of it is over, so that a request that only reads
//! seldom writes.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::accounts::scope;
use super::{ConsoleDb, milliseconds};
use crate::access::scope::AccessScope;
use crate::access::secret_text::SecretHash;
use crate::error::ConsoleError;

/// How long a session lasts without use.
const LIFETIME_MS: i64 = 12 * 3_600_000;
/// How long it lasts at most; then its user logs in again.
const LONGEST_MS: i64 = 7 * 24 * 3_600_000;
/// Sessions of one user; a further login ends the oldest.
const OF_USER_MAX: i64 = 20;

/// The user of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionUser {
    pub(crate) name: String,
    pub(crate) scope: AccessScope,
}

impl ConsoleDb {
    /// Starts a session, and removes those that are over.
    pub(crate) fn start_session(
        &mut self,
        hash: &SecretHash,
        user: &str,
        address: &str,
        now: Timestamp,
    ) -> Result<(), ConsoleError> {
        let now = milliseconds(now);
        self.write("start a session", |sql| {
            sql.execute("DELETE FROM sessions WHERE expires_at <= ?1", [now])?;
            sql.execute(
                "INSERT INTO sessions (hash, user, address, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![hash, user, address, now, now + LIFETIME_MS],
            )?;
            sql.execute(
                "DELETE FROM sessions WHERE user = ?1 AND hash NOT IN
                 (SELECT hash FROM sessions WHERE user = ?1 ORDER BY created_at DESC LIMIT ?2)",
                params![user, OF_USER_MAX],
            )
            .map(drop)
        })
    }

    /// Ends a session.
    pub(crate) fn end_session(&mut self, hash: &SecretHash) -> Result<(), ConsoleError> {
        self.write("end a session", |sql| {
            sql.execute("DELETE FROM sessions WHERE hash = ?1", [hash])
                .map(drop)
        })
    }

    /// The user of a session that is not over.
    pub(crate) fn user_of_session(
        &mut self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<SessionUser>, ConsoleError> {
        let now = milliseconds(now);
        let found = self.read("find a session", |sql| {
            let query = "SELECT user, scope, sessions.created_at, expires_at FROM sessions
                         JOIN users ON users.name = sessions.user WHERE hash = ?1 AND expires_at > ?2";
            let row = |row: &rusqlite::Row<'_>| {
                let user = SessionUser {
                    name: row.get(0)?,
                    scope: scope(&row.get::<_, String>(1)?),
                };
                Ok((user, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
            };
            sql.prepare_cached(query)?
                .query_row(params![hash, now], row)
                .optional()
        })?;
        let Some((user, created, expires)) = found else {
            return Ok(None);
        };
        let until = (now + LIFETIME_MS).min(created + LONGEST_MS);
        if until - expires > LIFETIME_MS / 2 {
            self.write("keep a session", |sql| {
                let update = "UPDATE sessions SET expires_at = ?1 WHERE hash = ?2";
                sql.execute(update, params![until, hash])
            })?;
        }
        Ok(Some(user))
    }
}
