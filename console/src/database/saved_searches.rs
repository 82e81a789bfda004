//! Searches that somebody keeps, for all.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::{ConsoleDb, actions, milliseconds, timestamp};
use crate::error::ConsoleError;

/// How many there may be.
const SEARCHES_MAX: i64 = 500;

/// A search that somebody keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedSearch {
    pub(crate) name: String,
    /// What stands behind the question mark in the address of the search.
    pub(crate) query: String,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
}

impl ConsoleDb {
    /// All, by name.
    pub(crate) fn saved_searches(&self) -> Result<Vec<SavedSearch>, ConsoleError> {
        self.read("list the saved searches", |sql| {
            let query = "SELECT name, query, created_at, created_by FROM saved_searches ORDER BY name";
            let row = |row: &Row<'_>| {
                Ok(SavedSearch {
                    name: row.get(0)?,
                    query: row.get(1)?,
                    created_at: timestamp(row.get(2)?),
                    created_by: row.get(3)?,
                })
            };
            sql.prepare_cached(query)?.query_map([], row)?.collect()
        })
    }

    /// Keeps a search, in the place of one with the same name; false if there are too many.
    pub(crate) fn save_search(
        &mut self,
        name: &str,
        query: &str,
        who: &str,
        now: Timestamp,
    ) -> Result<bool, ConsoleError> {
        self.write("save a search", |sql| {
            let count: i64 = sql.query_row(
                "SELECT count(*) FROM saved_searches WHERE name <> ?1",
                [name],
                |row| row.get(0),
            )?;
            if count >= SEARCHES_MAX {
                return Ok(false);
            }
            sql.execute(
                "INSERT INTO saved_searches (name, query, created_at, created_by) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET query = ?2, created_at = ?3, created_by = ?4",
                params![name, query, milliseconds(now), who],
            )?;
            actions::add(sql, who, "save search", name, query, now)?;
            Ok(true)
        })
    }

    /// Removes one; whether there was one.
    pub(crate) fn remove_search(
        &mut self,
        name: &str,
        who: &str,
        now: Timestamp,
    ) -> Result<bool, ConsoleError> {
        self.write("remove a saved search", |sql| {
            let removed = sql.execute("DELETE FROM saved_searches WHERE name = ?1", [name])?;
            if removed > 0 {
                actions::add(sql, who, "remove search", name, "", now)?;
            }
            Ok(removed > 0)
        })
    }
}
