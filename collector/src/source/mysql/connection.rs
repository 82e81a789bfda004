//! A connection to the server, and the statements that the source needs.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::{Offset, TimeZone};
use logferry_config::MysqlSettings;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Params, Row, Value as SqlValue};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::MysqlError;
use super::progress::RowKey;
use super::rows::{FollowedRows, ROUND_BYTES, TableRow, UnmarkedRows, len_of};
use super::tls;
use super::values::{BINARY_CHARSET, ColumnKind, json_of};

/// How long a statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_mins(1);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long the server may count rows, in seconds: nothing is read meanwhile.
const COUNT_SECONDS: u32 = 2;
/// How long the end of a connection may take: a statement that was left alone may still run.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// The server asks whether we are still there (tcp(7)), and we whether it is.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The numbers of errors that say that a right is missing (MariaDB: `ER_TABLEACCESS_DENIED_ERROR`, `ER_COLUMNACCESS_DENIED_ERROR`).
const DENIED: [u16; 2] = [1142, 1143];
/// The number of the error that says that user or password are wrong, or that the user needs TLS (`ER_ACCESS_DENIED_ERROR`).
const ACCESS_DENIED: u16 = 1045;

/// What a probe finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableFound {
    /// Whether rows may be marked; else they are followed by their id.
    pub may_mark: bool,
    /// Rows that are not marked; `None`: nobody knows.
    pub waiting: Option<u64>,
    /// The connection of the server that reads the table now.
    pub reader: Option<u64>,
}

/// A connection to the server of a table, for the source one that holds the table's lock.
pub(super) struct TableConnection {
    conn: Conn,
    settings: MysqlSettings,
    server: String,
    /// With its database, quoted.
    table: String,
    /// The zone of times that name none.
    pub(super) zone: TimeZone,
}

impl TableConnection {
    /// Connects, takes the table's lock, and looks at its columns.
    pub(super) async fn open(settings: &MysqlSettings) -> Result<Self, MysqlError> {
        let mut connection = Self::connect(settings).await?;
        connection.lock().await?;
        connection.prepare().await?;
        Ok(connection)
    }

    /// Tries all that [`Self::open`] and a round need. Changes nothing, and takes no lock.
    pub(super) async fn probe(settings: &MysqlSettings) -> Result<TableFound, MysqlError> {
        let mut connection = Self::connect(settings).await?;
        connection.prepare().await?;
        let waiting = match &settings.sent {
            Some(sent) => {
                connection.try_mark(sent).await?;
                connection.count_unmarked(sent).await?
            }
            None => None,
        };
        let reader = connection.lock_holder().await?;
        connection.close().await;
        Ok(TableFound {
            may_mark: settings.sent.is_some(),
            waiting,
            reader,
        })
    }

    async fn connect(settings: &MysqlSettings) -> Result<Self, MysqlError> {
        let server = format!("{}:{}", settings.host, settings.port);
        let mut opts = OptsBuilder::default()
            .ip_or_hostname(settings.host.clone())
            .tcp_port(settings.port)
            .user(Some(settings.user.clone()))
            .pass(
                settings
                    .password
                    .as_ref()
                    .map(|password| password.expose().to_owned()),
            )
            .db_name(Some(settings.database.clone()))
            .tcp_keepalive(Some(KEEPALIVE))
            .prefer_socket(false);
        if let Some(tls) = &settings.tls {
            let options = tls::options(tls).await;
            opts = opts.ssl_opts(options.map_err(|reason| MysqlError::Tls {
                server: server.clone(),
                reason,
            })?);
        }
        let connected = tokio::time::timeout(CONNECT_LIMIT, Conn::new(opts)).await;
        let connected = connected.map_err(|_| MysqlError::TimedOut {
            server: server.clone(),
            limit: CONNECT_LIMIT,
        })?;
        let conn = connected.map_err(|error| not_connected(settings, server.clone(), error))?;
        let table = format!("{}.{}", quoted(&settings.database), quoted(&settings.table));
        Ok(Self {
            conn,
            settings: settings.clone(),
            server,
            table,
            zone: TimeZone::UTC,
        })
    }

    async fn prepare(&mut self) -> Result<(), MysqlError> {
        self.zone = self.find_zone().await?;
        // Times of TIMESTAMP columns come in UTC.
        self.run("SET time_zone = '+00:00', autocommit = 1").await?;
        self.check_columns().await
    }

    /// Its table, for people.
    pub(super) fn table(&self) -> String {
        format!("{}.{}", self.settings.database, self.settings.table)
    }

    /// The first rows that are not marked, by id: at most `limit`, and about [`ROUND_BYTES`].
    pub(super) async fn unmarked(&mut self, sent: &str, limit: u32) -> Result<UnmarkedRows, MysqlError> {
        let (table, sent, id) = (&self.table, quoted(sent), quoted(&self.settings.id));
        let text = format!("SELECT * FROM {table} WHERE {sent} = 0 ORDER BY {id} LIMIT {limit}");
        let (server, name) = self.names();
        let conn = &mut self.conn;
        let read = async {
            let (mut rows, mut bytes, mut fits) = (Vec::new(), 0, true);
            let mut result = conn.exec_iter(text, Params::Empty).await?;
            while let Some(row) = result.next().await? {
                bytes += len_of(&row);
                rows.push(row);
                if bytes >= ROUND_BYTES {
                    fits = false;
                    break;
                }
            }
            result.drop_result().await?;
            Ok((rows, fits))
        };
        let (rows, fits) = limited(&server, &name, read).await?;
        let is_all = fits && rows.len() < limit as usize;
        let rows = rows
            .into_iter()
            .filter_map(|row| table_row(&self.settings, row))
            .collect();
        Ok(UnmarkedRows { rows, fits, is_all })
    }

    /// How many rows are not marked; `None` if the server does not count them in time. Without an index it reads the whole table.
    pub(super) async fn count_unmarked(&mut self, sent: &str) -> Result<Option<u64>, MysqlError> {
        // MariaDB runs the first comment, and MySQL heeds the second.
        let text = format!(
            "/*M!100102 SET STATEMENT max_statement_time={COUNT_SECONDS} FOR */ \
             SELECT /*+ MAX_EXECUTION_TIME({}) */ COUNT(*) FROM {} WHERE {} = 0",
            COUNT_SECONDS * 1000,
            self.table,
            quoted(sent)
        );
        let (server, table) = self.names();
        match limited(&server, &table, self.conn.query_first::<u64, _>(text)).await {
            Err(MysqlError::Statement {
                error: mysql_async::Error::Server(_),
                ..
            }) => Ok(None),
            counted => counted,
        }
    }

    /// Rows from an id on, by id, of which `known` are captured: at most `limit`, and about [`ROUND_BYTES`] of new ones. Of captured
    /// ones no members are kept.
    pub(super) async fn rows_from(
        &mut self,
        floor: Option<&SqlValue>,
        limit: u32,
        known: BTreeSet<RowKey>,
    ) -> Result<FollowedRows, MysqlError> {
        let (table, id) = (&self.table, quoted(&self.settings.id));
        let (from, params) = match floor {
            None => (String::new(), Params::Empty),
            Some(floor) => (
                format!("WHERE {id} >= ? "),
                Params::Positional(vec![floor.clone()]),
            ),
        };
        let text = format!("SELECT * FROM {table} {from}ORDER BY {id} LIMIT {limit}");
        let (server, name) = self.names();
        let settings = &self.settings;
        let conn = &mut self.conn;
        let read = async {
            let mut followed = FollowedRows::new(known);
            let mut result = conn.exec_iter(text, params).await?;
            while let Some(row) = result.next().await? {
                let len = len_of(&row);
                if let Some(row) = table_row(settings, row)
                    && followed.add(row, len).is_break()
                {
                    break;
                }
            }
            result.drop_result().await?;
            Ok(followed)
        };
        limited(&server, &name, read).await
    }

    /// Marks these rows, if they still say what was captured. Returns those that are marked.
    ///
    /// A row that may not be marked yet is looked for by halves, so that it does not hold up the others for ever.
    pub(super) async fn mark(&mut self, sent: &str, rows: &[TableRow]) -> Result<Vec<RowKey>, MysqlError> {
        let (mut marked, mut parts) = (Vec::new(), vec![rows]);
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            match self.mark_together(sent, part).await? {
                Some(keys) => marked.extend(keys),
                None if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                None => {}
            }
        }
        Ok(marked)
    }

    /// As [`Self::mark`], or none of them if the server would mark another row with them: one whose id is equal to it only, such as
    /// `A` and `a`.
    ///
    /// In one transaction: the rows are read again and locked, so that no row that came with the same id, or that has changed,
    /// is marked without being captured.
    async fn mark_together(
        &mut self,
        sent: &str,
        rows: &[TableRow],
    ) -> Result<Option<Vec<RowKey>>, MysqlError> {
        let (table, sent, id) = (self.table.clone(), quoted(sent), quoted(&self.settings.id));
        self.run("START TRANSACTION").await?;
        let marks = vec!["?"; rows.len()].join(",");
        let ids: Vec<SqlValue> = rows.iter().map(|row| row.sql_id.clone()).collect();
        let text = format!("SELECT * FROM {table} WHERE {id} IN ({marks}) AND {sent} = 0 FOR UPDATE");
        let found = self.rows(text, Params::Positional(ids)).await;
        let found = found.map_err(|error| self.may_not_mark(error))?;
        let (same, other): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|now| rows.iter().any(|row| row.key == now.key));
        // An id that two rows share is marked when both are captured.
        let marked: Vec<TableRow> = same
            .into_iter()
            .filter(|row| !other.iter().any(|other| other.id == row.id))
            .collect();
        if !marked.is_empty() {
            let marks = vec!["?"; marked.len()].join(",");
            let text = format!("UPDATE {table} SET {sent} = 1 WHERE {id} IN ({marks}) AND {sent} = 0");
            let ids: Vec<SqlValue> = marked.iter().map(|row| row.sql_id.clone()).collect();
            let (server, name) = self.names();
            let update = self.conn.exec_drop(text, Params::Positional(ids));
            let updated = limited(&server, &name, update).await;
            updated.map_err(|error| self.may_not_mark(error))?;
            if self.conn.affected_rows() != marked.len() as u64 {
                self.run("ROLLBACK").await?;
                return Ok(None);
            }
        }
        self.run("COMMIT").await?;
        Ok(Some(marked.into_iter().map(|row| row.key).collect()))
    }

    /// Ends the connection, and with it the lock.
    pub(super) async fn close(self) {
        // If the server does not answer, the connection is dropped.
        let _ = tokio::time::timeout(CLOSE_LIMIT, self.conn.disconnect()).await;
    }

    async fn lock(&mut self) -> Result<(), MysqlError> {
        let name = self.lock_name();
        let (server, table) = self.names();
        let text = format!("SELECT GET_LOCK('{name}', 0), IS_USED_LOCK('{name}')");
        let answer = self.conn.query_first::<(Option<i64>, Option<u64>), _>(text);
        match limited(&server, &table, answer).await? {
            Some((Some(1), _)) => Ok(()),
            other => {
                let holder = other.and_then(|(_, holder)| holder);
                let holder = holder.map_or("unknown".to_owned(), |holder| holder.to_string());
                Err(MysqlError::Locked {
                    server,
                    table,
                    holder,
                })
            }
        }
    }

    /// The connection that has the lock.
    async fn lock_holder(&mut self) -> Result<Option<u64>, MysqlError> {
        let (server, table) = self.names();
        let text = format!("SELECT IS_USED_LOCK('{}')", self.lock_name());
        let holder = limited(&server, &table, self.conn.query_first::<Option<u64>, _>(text)).await?;
        Ok(holder.flatten())
    }

    /// The name of a lock has at most 64 characters, and is the same for all databases of a server.
    fn lock_name(&self) -> String {
        let digest = Sha256::digest(self.table.as_bytes());
        format!("logferry-{}", logferry_text::hex(&digest[..16]))
    }

    /// Whether rows may be marked. No row is.
    async fn try_mark(&mut self, sent: &str) -> Result<(), MysqlError> {
        let text = format!("UPDATE {} SET {} = 1 WHERE 1 = 0", self.table, quoted(sent));
        let tried = self.run(&text).await;
        tried.map_err(|error| self.may_not_mark(error))
    }

    /// The configured zone, or the server's present offset.
    async fn find_zone(&mut self) -> Result<TimeZone, MysqlError> {
        if let Some(name) = &self.settings.time_zone {
            return zone(name).ok_or_else(|| MysqlError::Zone(name.clone()));
        }
        let (server, table) = self.names();
        let text = "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())";
        let seconds = limited(&server, &table, self.conn.query_first::<i32, _>(text)).await?;
        let offset = Offset::from_seconds(seconds.unwrap_or(0)).unwrap_or(Offset::UTC);
        Ok(TimeZone::fixed(offset))
    }

    async fn check_columns(&mut self) -> Result<(), MysqlError> {
        let (server, table) = self.names();
        let text = format!("SHOW COLUMNS FROM {}", self.table);
        let columns = limited(&server, &table, self.conn.query::<Row, _>(text)).await?;
        let names: Vec<String> = columns.iter().filter_map(|column| column.get(0)).collect();
        let wanted = [
            ("id", Some(&self.settings.id), ""),
            (
                "sent",
                self.settings.sent.as_ref(),
                ", add it to the table, or write `sent: none`",
            ),
        ];
        for (setting, column, hint) in wanted {
            if let Some(column) = column
                && !names.iter().any(|name| name.eq_ignore_ascii_case(column))
            {
                return Err(MysqlError::NoColumn {
                    server,
                    table,
                    column: column.clone(),
                    setting,
                    hint,
                });
            }
        }
        Ok(())
    }

    async fn rows(&mut self, text: String, params: Params) -> Result<Vec<TableRow>, MysqlError> {
        let (server, table) = self.names();
        let rows = limited(&server, &table, self.conn.exec::<Row, _, _>(text, params)).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| table_row(&self.settings, row))
            .collect())
    }

    async fn run(&mut self, text: &str) -> Result<(), MysqlError> {
        let (server, table) = self.names();
        limited(&server, &table, self.conn.query_drop(text)).await
    }

    fn names(&self) -> (String, String) {
        (self.server.clone(), self.table())
    }

    fn may_not_mark(&self, error: MysqlError) -> MysqlError {
        match error {
            MysqlError::Statement {
                server,
                table,
                error: mysql_async::Error::Server(refused),
            } if DENIED.contains(&refused.code) => MysqlError::MayNotMark {
                server,
                table,
                user: self.settings.user.clone(),
                error: mysql_async::Error::Server(refused),
            },
            other => other,
        }
    }
}

fn table_row(settings: &MysqlSettings, row: Row) -> Option<TableRow> {
    let columns = row.columns();
    let mut sql_id = None;
    let mut id = Value::Null;
    let mut members = Vec::new();
    for (column, value) in columns.iter().zip(row.unwrap()) {
        let name = column.name_str();
        let is_named = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if settings.sent.as_deref().is_some_and(is_named) {
            continue;
        }
        let kind = ColumnKind {
            column_type: column.column_type(),
            is_binary: column.character_set() == BINARY_CHARSET,
        };
        let is_id = is_named(&settings.id);
        if is_id {
            sql_id = Some(value.clone());
        }
        let value = json_of(value, kind);
        if is_id {
            id = value.clone();
        }
        members.push((name.into_owned(), value));
    }
    Some(TableRow {
        key: RowKey::new(&id, &members),
        id,
        sql_id: sql_id?,
        members,
    })
}

/// Why there is no connection.
fn not_connected(settings: &MysqlSettings, server: String, error: mysql_async::Error) -> MysqlError {
    if let Some(reason) = tls::refusal(&error, settings.tls.as_ref()) {
        return MysqlError::Tls { server, reason };
    }
    match &error {
        mysql_async::Error::Server(refused) if refused.code == ACCESS_DENIED => MysqlError::Refused {
            server,
            user: settings.user.clone(),
            hint: match settings.tls {
                Some(_) => "",
                None => ", or `tls` if it takes this user by TLS only (REQUIRE SSL)",
            },
            error,
        },
        _ => MysqlError::Connect { server, error },
    }
}

/// A statement's answer, within the limit.
async fn limited<T>(
    server: &str,
    table: &str,
    answer: impl Future<Output = Result<T, mysql_async::Error>>,
) -> Result<T, MysqlError> {
    match tokio::time::timeout(STATEMENT_LIMIT, answer).await {
        Ok(answer) => answer.map_err(|error| MysqlError::Statement {
            server: server.to_owned(),
            table: table.to_owned(),
            error,
        }),
        Err(_) => Err(MysqlError::TimedOut {
            server: server.to_owned(),
            limit: STATEMENT_LIMIT,
        }),
    }
}

/// An identifier in a statement.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `UTC`, `+06:00`, or a name of the zones' database.
fn zone(name: &str) -> Option<TimeZone> {
    let (sign, digits) = match name.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return TimeZone::get(name).ok(),
    };
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset = Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
    Some(TimeZone::fixed(offset))
}
