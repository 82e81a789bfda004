//! Rows of a real MariaDB, with kills of the server, the collector and the sender.

use std::collections::BTreeMap;

use logferry_test_servers::{MARIADB_PASSWORD, MARIADB_USER, MariaDb};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::posting::{delivered_records, start_all};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::seed;

const ROUNDS: usize = 30;
const ROWS_OF_A_ROUND: usize = 40;

#[test]
fn killing_database_and_collector_loses_and_doubles_no_row() {
    let mut rng = StdRng::seed_from_u64(seed());
    let mut server = MariaDb::start();
    server.sql(
        "CREATE TABLE clientdb.logs (id INT AUTO_INCREMENT PRIMARY KEY, message VARCHAR(255), level VARCHAR(32), \
         created_at DATETIME, sent TINYINT DEFAULT 0, KEY (sent, id))",
    );
    let mut pipeline = Pipeline::new("collector-mysql", "2s");
    let password = pipeline.test_folder.write("mysql", MARIADB_PASSWORD);
    let folder = pipeline.test_folder.path("collector");
    let settings = format!(
        "  min_free_disk: 0\n  sources:\n    - {{type: mysql, name: shop, host: 127.0.0.1, port: {}, user: {MARIADB_USER}, \
         password_file: {password:?}, database: clientdb, table: logs, interval: 100ms}}\n",
        server.port
    );
    pipeline.config.collector = Some((folder, settings));
    start_all(&mut pipeline);
    let mut next = 0;
    let mut kills = [0; 3];
    for _ in 0..ROUNDS {
        // A transaction that begins first may end last: its ids become visible late.
        let rows: Vec<String> = (0..ROWS_OF_A_ROUND)
            .map(|row| format!("('row {}', 'INFO', NOW())", next + row))
            .collect();
        next += ROWS_OF_A_ROUND;
        let insert = format!(
            "INSERT INTO clientdb.logs (message, level, created_at) VALUES {}",
            rows.join(",")
        );
        // A server that is killed may have them or not; what counts is what is in the table at the end.
        server.try_sql(&insert);
        std::thread::sleep(std::time::Duration::from_millis(rng.random_range(0..300)));
        match rng.random_range(0..4) {
            0 => {
                server.kill();
                server.restart();
                kills[0] += 1;
            }
            1 => {
                pipeline.kill(Role::Collector);
                pipeline.start(Role::Collector);
                kills[1] += 1;
            }
            2 => {
                pipeline.kill(Role::Sender);
                pipeline.start(Role::Sender);
                kills[2] += 1;
            }
            _ => {}
        }
    }
    let marked =
        pipeline.becomes_true(|_| server.sql("SELECT COUNT(*) FROM clientdb.logs WHERE sent = 0") == "0");
    let table = server.sql("SELECT id, message FROM clientdb.logs ORDER BY id");
    let expected: BTreeMap<String, String> = table
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(id, message)| (id.to_owned(), message.to_owned()))
        .collect();
    println!(
        "kills of database, collector and sender: {kills:?}; {} rows",
        expected.len()
    );
    assert!(marked && expected.len() >= ROWS_OF_A_ROUND);
    each_row_is_delivered_once(&mut pipeline, &expected);
}

fn each_row_is_delivered_once(pipeline: &mut Pipeline, expected: &BTreeMap<String, String>) {
    let is_delivered = pipeline.becomes_true(|pipeline| pipeline.delivered_lines() >= expected.len());
    let mut delivered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in delivered_records(pipeline) {
        let message = record["message"].as_str().expect("text").to_owned();
        delivered
            .entry(record["id"].to_string())
            .or_default()
            .push(message);
    }
    for (id, message) in expected {
        assert_eq!(delivered.get(id), Some(&vec![message.clone()]), "row {id}");
    }
    assert!(
        is_delivered && delivered.len() == expected.len(),
        "rows that are not in the table"
    );
}
