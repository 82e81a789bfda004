//! A source of type `mysql`: a table of a MySQL or MariaDB server.

use std::time::Duration;

use crate::collector::raw_source::RawCollectorSource;
use crate::collector::source_tls::DatabaseTls;
use crate::yaml::field::ConfigField;
use crate::yaml::secret::Secret;

const BATCH_MAX: u32 = 100_000;
/// Bytes of an identifier (MySQL manual, "Identifier Length Limits").
const IDENTIFIER_MAX: usize = 64;

/// A table of a MySQL or MariaDB server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlSettings {
    /// The server.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// TLS; `None`: none is spoken.
    pub tls: Option<DatabaseTls>,
    /// The user.
    pub user: String,
    /// The user's password; `None`: the user has none.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The column of the row's number, unique and growing.
    pub id: String,
    /// The column that is 0 until the row is captured; `None` (`none`): the user may not write, and rows are followed by their
    /// number.
    pub sent: Option<String>,
    /// The column of the row's time; `None`: the time when it was read.
    pub time: Option<String>,
    /// How often it looks for new rows.
    pub interval: Duration,
    /// Rows read at one time.
    pub batch: u32,
    /// The time zone of times without one: `UTC`, `+06:00`, or a name such as `Asia/Dhaka`; `None`: the server's.
    pub time_zone: Option<String>,
}

impl MysqlSettings {
    pub(super) fn take(raw: &mut RawCollectorSource, at: &ConfigField<'_>) -> Option<Self> {
        let host = raw.host.take();
        let host = at.key("host").host(host.as_deref().unwrap_or("127.0.0.1"));
        let port = raw.port.take();
        let port = at.key("port").port(port.as_deref().unwrap_or("3306"));
        let tls = match raw.tls.take() {
            Some(raw) => raw.of_database(&at.key("tls")).map(Some),
            None => Some(None),
        };
        let user = at.required("user", raw.user.take(), "ferry", ConfigField::filled);
        let (inline, file) = (raw.password.take(), raw.password_file.take());
        let password = at.secret(
            ("password", inline.as_deref()),
            ("password_file", file.as_deref()),
        );
        let database = at.required("database", raw.database.take(), "clientdb", identifier);
        let table = at.required("table", raw.table.take(), "logs", identifier);
        let id = raw.id.take();
        let id = identifier(&at.key("id"), id.as_deref().unwrap_or("id"));
        let sent = raw.sent.take();
        let sent = match sent.as_deref().unwrap_or("sent") {
            "none" => Some(None),
            name => identifier(&at.key("sent"), name).map(Some),
        };
        let time = raw.time.take();
        let time = identifier(&at.key("time"), time.as_deref().unwrap_or("created_at"));
        let interval = raw.interval.take();
        let interval = at.key("interval").interval(interval.as_deref().unwrap_or("1s"));
        let batch = raw.batch.take();
        let batch = at
            .key("batch")
            .number(batch.as_deref().unwrap_or("1000"), 1..=BATCH_MAX);
        let time_zone = at.optional("time_zone", raw.time_zone.take(), ConfigField::filled);
        Some(Self {
            host: host?,
            port: port?,
            tls: tls?,
            user: user?,
            password: password?,
            database: database?,
            table: table?,
            id: id?,
            sent: sent?,
            time: Some(time?),
            interval: interval?,
            batch: batch?,
            time_zone: time_zone?,
        })
    }
}

/// A name of a database, a table or a column. Whether it exists is the server's to say.
fn identifier(at: &ConfigField<'_>, raw: &str) -> Option<String> {
    at.check(raw, |text| {
        if text.is_empty() || text.len() > IDENTIFIER_MAX || text.contains(char::is_control) {
            return Err(format!(
                "`{text}` is not a name in a database; write 1 to {IDENTIFIER_MAX} characters"
            ));
        }
        Ok(text.to_owned())
    })
}
