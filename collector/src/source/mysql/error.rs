//! Why a table cannot be read, with what to do.

use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(super) enum MysqlError {
    #[error(
        "cannot connect to the MySQL server {server}; is it running, and are host, port, user and password right?"
    )]
    Connect {
        server: String,
        #[source]
        error: mysql_async::Error,
    },
    #[error("the MySQL server {server} refuses the user {user}; set user and password that it knows{hint}")]
    Refused {
        server: String,
        user: String,
        hint: &'static str,
        #[source]
        error: mysql_async::Error,
    },
    #[error("no safe connection to the MySQL server {server}: {reason}")]
    Tls { server: String, reason: String },
    #[error(
        "the MySQL server {server} did not answer within {} s; look at its load, and at firewalls between", .limit.as_secs()
    )]
    TimedOut { server: String, limit: Duration },
    #[error("the MySQL server {server} could not do what the source `{table}` needs")]
    Statement {
        server: String,
        table: String,
        #[source]
        error: mysql_async::Error,
    },
    #[error(
        "another agent reads {table} on {server}: it has the lock (connection {holder}); stop it, or rows would come twice"
    )]
    Locked {
        server: String,
        table: String,
        holder: String,
    },
    #[error(
        "{table} on {server} has no column `{column}`; set `{setting}` of the source to a column that it has{hint}"
    )]
    NoColumn {
        server: String,
        table: String,
        column: String,
        setting: &'static str,
        hint: &'static str,
    },
    #[error(
        "the user {user} may not mark rows of {table} on {server}: GRANT SELECT, UPDATE on the table, or set `sent: none` to \
         follow the rows by their id"
    )]
    MayNotMark {
        server: String,
        table: String,
        user: String,
        #[source]
        error: mysql_async::Error,
    },
    #[error(
        "time_zone `{0}` of the source is unknown; write UTC, an offset such as +06:00, or a name such as Asia/Dhaka"
    )]
    Zone(String),
}
