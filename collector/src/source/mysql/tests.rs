//! The source against a real MariaDB.

mod tls;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use logferry_config::{MysqlSettings, Secret};
use logferry_test_servers::{MARIADB_PASSWORD, MARIADB_USER, MariaDb};
use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::connection::TableConnection;
use super::follow::run;
use crate::capture::Position;
use crate::capture::testing::MemoryCapture;
use crate::source::testing::{context, until};
use crate::source::{SourceContext, SourceError};

/// The table of the predecessor.
const TABLE: &str = "CREATE TABLE clientdb.logs (id INT AUTO_INCREMENT PRIMARY KEY, message VARCHAR(255), level VARCHAR(32), \
                     created_at DATETIME, sent TINYINT DEFAULT 0)";

fn settings(server: &MariaDb) -> MysqlSettings {
    MysqlSettings {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        tls: None,
        user: MARIADB_USER.to_owned(),
        password: Some(Secret::new(MARIADB_PASSWORD)),
        database: "clientdb".to_owned(),
        table: "logs".to_owned(),
        id: "id".to_owned(),
        sent: Some("sent".to_owned()),
        time: Some("created_at".to_owned()),
        interval: Duration::from_millis(20),
        batch: 1000,
        time_zone: None,
    }
}

struct Source {
    context: SourceContext,
    kept: MemoryCapture,
    task: JoinHandle<Result<(), SourceError>>,
}

fn start(settings: &MysqlSettings, position: Option<Position>) -> Source {
    let (context, kept) = context(position);
    let task = tokio::spawn({
        let (settings, context) = (settings.clone(), context.clone());
        async move { run(&settings, &context).await }
    });
    Source { context, kept, task }
}

impl Source {
    async fn until_captured(&self, count: usize) -> Vec<Value> {
        until(|| self.kept.records().len() >= count || self.task.is_finished()).await;
        self.kept.records()
    }

    async fn stop(self) -> (Vec<Value>, Option<Position>) {
        self.context.shutdown.cancel();
        self.task.await.expect("no panic").expect("no error");
        (self.kept.records(), self.context.capture.position())
    }

    async fn error(self) -> String {
        let error = self.task.await.expect("no panic").expect_err("an error");
        logferry_text::error_chain(error.as_ref())
    }
}

async fn started() -> Arc<MariaDb> {
    let server = tokio::task::spawn_blocking(MariaDb::start)
        .await
        .expect("a server");
    server.sql(TABLE);
    Arc::new(server)
}

fn messages(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|record| record["message"].as_str())
        .collect()
}

async fn until_marked(server: &MariaDb) {
    until(|| server.sql("SELECT COUNT(*) FROM clientdb.logs WHERE sent = 0") == "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_captured_by_id_and_marked() {
    let server = started().await;
    server.sql(
        "INSERT INTO clientdb.logs (id, message, level, created_at) VALUES (2, 'zwei €', 'ERROR', '2026-11-21 08:20:03'), \
         (1, 'one', 'INFO', NULL); INSERT INTO clientdb.logs (message, sent) VALUES ('sent before', 1)",
    );
    let mut settings = settings(&server);
    settings.time_zone = Some("+06:00".to_owned());
    let source = start(&settings, None);
    let records = source.until_captured(2).await;
    until_marked(&server).await;
    assert_eq!(messages(&records), ["one", "zwei €"]);
    let second = &records[1];
    assert_eq!(second["time"], "2026-11-21T02:20:03.000Z");
    assert_eq!(
        (&second["id"], &second["level"], &second["source"]),
        (&2.into(), &"ERROR".into(), &"logs".into())
    );
    assert_eq!(second["created_at"], "2026-11-21T08:20:03");
    assert_eq!(second["sent"], Value::Null);
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_column_is_written_whole() {
    let server = started().await;
    server.sql(
        "DROP TABLE clientdb.logs; CREATE TABLE clientdb.logs (id BIGINT UNSIGNED PRIMARY KEY, sent BOOL DEFAULT 0, d DECIMAL(30,10), \
         f FLOAT, g DOUBLE, n INT NULL, dt DATETIME(6), ts TIMESTAMP(3) NULL, da DATE, ti TIME(3), y YEAR, b BIT(12), bl BLOB, \
         vb VARBINARY(9), t TEXT, e ENUM('a','b'), s SET('x','y'), j JSON, l CHAR(3) CHARACTER SET latin1); \
         SET time_zone = '+02:00'; INSERT INTO clientdb.logs VALUES (18446744073709551615, 0, '12345678901234567890.5', 0.1, 1e300, NULL, \
         '2026-11-21 08:20:03.000001', '2026-11-21 08:20:03.5', '2026-11-21', '-12:30:00.25', 2026, 257, x'00ff', x'fe', 'ü\\n', 'b', \
         'x,y', '{\"a\": [1]}', 'é')",
    );
    let source = start(&settings(&server), None);
    let records = source.until_captured(1).await;
    let record = &records[0];
    for (name, expected) in [
        ("id", Value::from(u64::MAX)),
        ("d", "12345678901234567890.5000000000".into()),
        ("f", Value::from(0.1)),
        ("g", Value::from(1e300)),
        ("n", Value::Null),
        ("dt", "2026-11-21T08:20:03.000001".into()),
        ("ts", "2026-11-21T06:20:03.500000Z".into()),
        ("da", "2026-11-21".into()),
        ("ti", "-12:30:00.250000".into()),
        ("y", 2026.into()),
        ("b", 257.into()),
        ("bl", "AP8=".into()),
        ("vb", "/g==".into()),
        ("t", "ü\n".into()),
        ("e", "b".into()),
        ("s", "x,y".into()),
        ("j", "{\"a\": [1]}".into()),
        ("l", "é".into()),
    ] {
        assert_eq!(record[name], expected, "{name}: {record}");
    }
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_large_for_one_round_come_in_several() {
    let server = started().await;
    server.sql(
        "ALTER TABLE clientdb.logs ADD body LONGTEXT; INSERT INTO clientdb.logs (message, body) \
         WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < 20) \
         SELECT CONCAT('row ', n), REPEAT('x', 300000) FROM numbers",
    );
    let source = start(&settings(&server), None);
    let records = source.until_captured(20).await;
    until_marked(&server).await;
    let expected: Vec<_> = (1..=20).map(|number| format!("row {number}")).collect();
    assert_eq!(messages(&records), expected);
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rows_that_are_followed_by_id_come_in_several_rounds_once() {
    let server = started().await;
    let insert = "INSERT INTO clientdb.logs (message, body) WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM \
                  numbers WHERE n < 20) SELECT CONCAT('row ', n), REPEAT('x', 300000) FROM numbers";
    server.sql(&format!("ALTER TABLE clientdb.logs ADD body LONGTEXT; {insert}"));
    let settings = MysqlSettings {
        sent: None,
        ..settings(&server)
    };
    let source = start(&settings, None);
    source.until_captured(20).await;
    // The captured rows are more than a round may have; those that come late among them are found.
    server.sql("DELETE FROM clientdb.logs WHERE id = 10");
    until(|| source.context.status.report().behind == Some(0)).await;
    server.sql(&format!(
        "{insert}; INSERT INTO clientdb.logs (id, message) VALUES (10, 'late')"
    ));
    source.until_captured(41).await;
    until(|| source.context.status.report().behind == Some(0)).await;
    let (records, _) = source.stop().await;
    let expected = (1..=20).map(|number| format!("row {number}"));
    let mut expected: Vec<_> = expected
        .clone()
        .chain(expected)
        .chain(["late".to_owned()])
        .collect();
    expected.sort();
    let mut found = messages(&records);
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_server_cannot_count_in_time_are_of_an_unknown_number() {
    let server = started().await;
    server.sql(
        "INSERT INTO clientdb.logs (message) WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < 50) \
         SELECT n FROM numbers; CREATE VIEW clientdb.slow AS SELECT id, message, created_at, sent + SLEEP(0.2) AS sent FROM clientdb.logs",
    );
    let settings = MysqlSettings {
        table: "slow".to_owned(),
        ..settings(&server)
    };
    let mut slow = TableConnection::open(&settings).await.expect("connected");
    assert_eq!(slow.count_unmarked("sent").await.expect("no error"), None);
    let found = slow.unmarked("sent", 1).await.expect("the connection is well");
    assert_eq!(found.rows.len(), 1);
    slow.close().await;
    let mut good = TableConnection::open(&self::settings(&server))
        .await
        .expect("connected");
    assert_eq!(good.count_unmarked("sent").await.expect("no error"), Some(50));
    good.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_between_capture_and_mark_doubles_nothing() {
    let server = started().await;
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('a'), ('b')");
    let first = start(&settings(&server), None);
    first.until_captured(2).await;
    let durable = first.context.capture.position();
    first.stop().await;
    // As if the mark had never come to the server.
    server.sql("UPDATE clientdb.logs SET sent = 0; INSERT INTO clientdb.logs (message) VALUES ('c')");
    let second = start(&settings(&server), durable);
    second.until_captured(1).await;
    until_marked(&server).await;
    let (records, _) = second.stop().await;
    assert_eq!(messages(&records), ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_whose_id_the_server_takes_for_that_of_a_captured_one_is_not_marked_with_it() {
    let server = started().await;
    server.sql(
        "DROP TABLE clientdb.logs; CREATE TABLE clientdb.logs (id VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, \
         message TEXT, created_at DATETIME, sent TINYINT DEFAULT 0); \
         INSERT INTO clientdb.logs (id, message) VALUES ('a', 'one'), ('b', 'two'), ('c', 'three')",
    );
    let settings = settings(&server);
    let mut connection = TableConnection::open(&settings).await.expect("connected");
    let captured = connection.unmarked("sent", 9).await.expect("read").rows;
    server.sql("INSERT INTO clientdb.logs (id, message) VALUES ('B', 'came later')");
    let marked = connection.mark("sent", &captured).await.expect("no error");
    let unmarked =
        || server.sql("SELECT GROUP_CONCAT(message ORDER BY message) FROM clientdb.logs WHERE sent = 0");
    assert_eq!((marked.len(), unmarked().as_str()), (2, "came later,two"));
    // Once both are captured, both are marked.
    let captured = connection.unmarked("sent", 9).await.expect("read").rows;
    let marked = connection.mark("sent", &captured).await.expect("no error");
    assert_eq!((marked.len(), unmarked().as_str()), (2, "NULL"));
    connection.close().await;
    // A source that asks for one row at a time asks for more then.
    server.sql("UPDATE clientdb.logs SET sent = 0");
    let one = MysqlSettings { batch: 1, ..settings };
    let source = start(&one, None);
    until_marked(&server).await;
    assert_eq!(source.stop().await.0.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_that_another_has_locked_holds_up_no_stop_and_is_marked_by_the_next_start() {
    let server = started().await;
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('a')");
    let settings = settings(&server);
    let opts = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.port)
        .user(Some(MARIADB_USER))
        .pass(Some(MARIADB_PASSWORD))
        .prefer_socket(false);
    let mut other = mysql_async::Conn::new(opts).await.expect("connected");
    for statement in ["START TRANSACTION", "SELECT * FROM clientdb.logs FOR UPDATE"] {
        other.query_drop(statement).await.expect("locked");
    }
    let first = start(&settings, None);
    first.until_captured(1).await;
    // It waits for the row now.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopped = tokio::time::timeout(Duration::from_secs(6), first.stop()).await;
    let (records, position) = stopped.expect("soon");
    assert_eq!(messages(&records), ["a"]);
    other.query_drop("ROLLBACK").await.expect("unlocked");
    // The server may still think that the first one is there; as in the worker, it is tried again.
    let second = loop {
        let second = start(&settings, position.clone());
        let is_running = || second.context.status.report().state == crate::source::SourcePhase::Running;
        until(|| is_running() || second.task.is_finished()).await;
        if is_running() {
            break second;
        }
    };
    until_marked(&server).await;
    let (records, _) = second.stop().await;
    assert_eq!(messages(&records), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn backlog_that_nobody_has_counted_is_not_shown_as_none() {
    let server = started().await;
    let settings = MysqlSettings {
        sent: None,
        ..settings(&server)
    };
    let source = start(&settings, None);
    until(|| source.context.status.report().behind == Some(0)).await;
    // The first round is read, and waits for the disk.
    source.kept.is_full.store(true, Ordering::Relaxed);
    server.sql(
        "SET max_recursive_iterations = 2500; INSERT INTO clientdb.logs (message) WITH RECURSIVE numbers AS (SELECT 1 AS n \
         UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500) SELECT CONCAT('row ', n) FROM numbers",
    );
    until(|| source.context.status.report().behind.is_none()).await;
    source.kept.is_full.store(false, Ordering::Relaxed);
    source.until_captured(2500).await;
    until(|| source.context.status.report().behind == Some(0)).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_late_and_ids_that_come_back_are_captured() {
    let server = started().await;
    let source = start(&settings(&server), None);
    server.sql("INSERT INTO clientdb.logs (id, message) VALUES (7, 'seven')");
    source.until_captured(1).await;
    server.sql("INSERT INTO clientdb.logs (id, message) VALUES (3, 'late')");
    source.until_captured(2).await;
    until_marked(&server).await;
    server.sql("TRUNCATE clientdb.logs; INSERT INTO clientdb.logs (id, message) VALUES (7, 'seven again')");
    source.until_captured(3).await;
    until_marked(&server).await;
    let (records, _) = source.stop().await;
    assert_eq!(messages(&records), ["seven", "late", "seven again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_that_changes_before_it_is_marked_is_captured_again() {
    let server = started().await;
    let source = start(&settings(&server), None);
    // The row is read, and waits for the disk.
    source.kept.is_full.store(true, Ordering::Relaxed);
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('before')");
    until(|| source.kept.refusals.load(Ordering::Relaxed) > 0).await;
    server.sql("UPDATE clientdb.logs SET message = 'after'");
    source.kept.is_full.store(false, Ordering::Relaxed);
    source.until_captured(2).await;
    until_marked(&server).await;
    let (records, _) = source.stop().await;
    assert_eq!(messages(&records), ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_agent_is_refused_while_the_first_reads() {
    let server = started().await;
    let first = start(&settings(&server), None);
    until(|| first.context.status.report().state == crate::source::SourcePhase::Running).await;
    let error = start(&settings(&server), None).error().await;
    assert!(
        error.starts_with("another agent reads clientdb.logs on 127.0.0.1:"),
        "{error}"
    );
    first.stop().await;
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('x')");
    let third = start(&settings(&server), None);
    assert_eq!(third.until_captured(1).await.len(), 1);
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_what_to_do() {
    let server = started().await;
    server.sql("CREATE USER reader@'%' IDENTIFIED BY 'r'; GRANT SELECT ON clientdb.logs TO reader@'%'");
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('x')");
    let good = settings(&server);
    let reader = MysqlSettings {
        user: "reader".to_owned(),
        password: Some(Secret::new("r")),
        ..good.clone()
    };
    let error = start(&reader, None).error().await;
    assert!(
        error.starts_with("the user reader may not mark rows of clientdb.logs on 127.0.0.1:"),
        "{error}"
    );
    assert!(error.contains("GRANT SELECT, UPDATE"), "{error}");
    for (wrong, text) in [
        (
            MysqlSettings {
                sent: Some("shipped".to_owned()),
                ..good.clone()
            },
            "has no column `shipped`",
        ),
        (
            MysqlSettings {
                password: Some(Secret::new("wrong")),
                ..good.clone()
            },
            "Access denied",
        ),
        (
            MysqlSettings {
                table: "nothing".to_owned(),
                ..good.clone()
            },
            "doesn't exist",
        ),
        (
            MysqlSettings {
                time_zone: Some("Mars/Olympus".to_owned()),
                ..good.clone()
            },
            "time_zone `Mars/Olympus`",
        ),
    ] {
        let error = start(&wrong, None).error().await;
        assert!(error.contains(text) && !error.contains("secret"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_may_not_be_marked_is_followed_by_id() {
    let server = started().await;
    server.sql("CREATE USER reader@'%' IDENTIFIED BY 'r'; GRANT SELECT ON clientdb.logs TO reader@'%'");
    let settings = MysqlSettings {
        user: "reader".to_owned(),
        password: Some(Secret::new("r")),
        sent: None,
        ..settings(&server)
    };
    server.sql("INSERT INTO clientdb.logs (id, message) VALUES (5, 'a'), (9, 'b')");
    let first = start(&settings, None);
    first.until_captured(2).await;
    server.sql("INSERT INTO clientdb.logs (id, message) VALUES (7, 'late'), (10, 'c')");
    first.until_captured(4).await;
    let (records, position) = first.stop().await;
    assert_eq!(messages(&records), ["a", "b", "late", "c"]);
    server.sql("INSERT INTO clientdb.logs (id, message) VALUES (11, 'd')");
    let second = start(&settings, position);
    second.until_captured(1).await;
    server.sql("TRUNCATE clientdb.logs; INSERT INTO clientdb.logs (id, message) VALUES (5, 'again')");
    second.until_captured(2).await;
    let (records, _) = second.stop().await;
    assert_eq!(messages(&records), ["d", "again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_dies_is_named_and_goes_on_where_it_was() {
    let mut server = tokio::task::spawn_blocking(MariaDb::start)
        .await
        .expect("a server");
    server.sql(TABLE);
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('a')");
    let settings = settings(&server);
    let first = start(&settings, None);
    first.until_captured(1).await;
    until_marked(&server).await;
    let context = first.context.clone();
    server.kill();
    let error = first.error().await;
    assert!(error.contains(&format!("127.0.0.1:{}", server.port)), "{error}");
    let error = start(&settings, None).error().await;
    assert!(error.contains("is it running"), "{error}");
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let server = server.await.expect("a server");
    server.sql("INSERT INTO clientdb.logs (message) VALUES ('b')");
    let second = start(&settings, context.capture.position());
    second.until_captured(1).await;
    until_marked(&server).await;
    let (records, _) = second.stop().await;
    assert_eq!(messages(&records), ["b"]);
}
