//! `logferry check --connect` against servers of every kind, by the lines that it prints.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests lay out files")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use logferry_embedded_servers::{MailSink, SearchServer, SftpOptions, SftpServer};
use logferry_relay::RelayServer;
use logferry_telemetry::Metrics;
use logferry_test_servers::{MARIADB_PASSWORD, MARIADB_USER, MariaDb};
use logferry_testkit::documents;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What `check --connect` prints with this configuration, and its exit code.
async fn checked(dir: &Path, config: String) -> (String, i32) {
    let file = dir.join("logferry.yaml");
    std::fs::write(&file, config).unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
        command
            .args(["check", "--connect", "-c"])
            .arg(file)
            .env_remove("LOGFERRY_LOG");
        command.output().unwrap()
    });
    let output = output.await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.code().unwrap())
}

/// The line about the relay at `url`, and the exit code.
async fn relay_line(dir: &Path, url: &str, more: &str) -> (String, i32) {
    let log = dir.join("access.log");
    std::fs::write(&log, "one\n").unwrap();
    let config = format!(
        "sender:\n  relay: {url}\n  state_dir: {}\n  logs: [{{path: {}}}]\n{more}",
        dir.join("state").display(),
        log.display()
    );
    let (text, code) = checked(dir, config).await;
    let line = text
        .lines()
        .find_map(|line| Some(line.split_once(&format!(" relay {url}: "))?.1));
    (line.expect(&text).to_owned(), code)
}

/// A relay in this process, for the source `sources`.
async fn relay(dir: &TempDir, sources: &str, more: &str) -> (u16, DropGuard) {
    let text = format!(
        "relay:\n  data_dir: {}\n  metrics: null\n  limits: {{min_free_disk: 0}}\n  groups: [{{name: web, listen: \
         \"127.0.0.1:0\", sources: [{sources}]}}]\n{more}",
        dir.path().join("relay").display()
    );
    let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).unwrap();
    let server = RelayServer::bind(&config.relay.unwrap(), &Metrics::new())
        .await
        .unwrap();
    let port = server.addresses()[0].port();
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(stop.clone()));
    (port, stop.drop_guard())
}

/// A server that sends `greeting`, or `answer` after it has read something, to each client.
fn other_server(greeting: &'static [u8], answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let _ = client.write_all(greeting);
            if client.read(&mut [0; 4096]).is_ok() {
                let _ = client.write_all(answer);
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_tells_what_this_host_is_there_and_nothing_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (port, _stop) = relay(&dir, "127.0.0.1", "").await;
    let (line, code) = relay_line(dir.path(), &format!("http://127.0.0.1:{port}"), "").await;
    let start = "takes this host's lines as source 127.0.0.1 of group web; ledger ";
    assert!(
        line.starts_with(start) && line.ends_with("; without TLS, without a token"),
        "{line}"
    );
    assert_eq!(code, 0, "{line}");
    assert!(!dir.path().join("state").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_that_refuses_host_or_token_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (port, _stop) = relay(&dir, "198.51.100.7", "").await;
    let url = format!("http://127.0.0.1:{port}");
    let refused = "the relay refuses this host: 127.0.0.1 is not among the sources of group web";
    assert_eq!(relay_line(dir.path(), &url, "").await, (refused.to_owned(), 1));

    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "a-token-of-the-relay-for-all-0123456789 *\n").unwrap();
    std::fs::set_permissions(&tokens, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (port, _stop) = relay(
        &dir,
        "127.0.0.1",
        &format!("  tokens_file: {}\n", tokens.display()),
    )
    .await;
    let url = format!("http://127.0.0.1:{port}");
    let none = "the relay refuses this host: this port requires a token; set sender.token_file";
    assert_eq!(relay_line(dir.path(), &url, "").await.0, none);
    let own = dir.path().join("token");
    for (token, expected) in [
        (
            "wrong",
            "the relay refuses the token in FILE: the token is not in the relay's tokens file",
        ),
        (
            "a-token-of-the-relay-for-all-0123456789",
            "; without TLS, with the token in FILE",
        ),
    ] {
        std::fs::write(&own, token).unwrap();
        std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let more = format!("  token_file: {}\n", own.display());
        let (line, _) = relay_line(dir.path(), &url, &more).await;
        assert!(
            line.ends_with(&expected.replace("FILE", &own.display().to_string())),
            "{line}"
        );
    }
}

/// Runs the commands of docs/security.md that make an authority and certificates, here for this host.
fn make_certificates(dir: &Path) {
    let blocks = documents::page("docs/security.md").blocks();
    let commands = blocks
        .iter()
        .filter(|block| block.text.starts_with("openssl req"));
    let commands: Vec<_> = commands.map(|block| block.text.as_str()).collect();
    assert_eq!(commands.len(), 3, "authority, relay, sender");
    let text = commands.concat();
    let text = text
        .replace("192.0.2.10", "127.0.0.1")
        .replace("198.51.100.1", "127.0.0.1");
    let mut shell = Command::new("sh");
    let output = shell.args(["-ec", &text]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_made_as_documented_let_a_sender_in() {
    let dir = tempfile::tempdir().unwrap();
    make_certificates(dir.path());
    let here = dir.path().display();
    let tls = format!(
        "  tls: {{cert_file: {here}/relay.pem, key_file: {here}/relay.key, client_ca_file: {here}/ca.pem}}\n"
    );
    let (port, _stop) = relay(&dir, "127.0.0.1", &tls).await;
    let url = format!("https://127.0.0.1:{port}");
    let own = format!(
        "  tls: {{ca_file: {here}/ca.pem, cert_file: {here}/web-1.pem, key_file: {here}/web-1.key}}\n"
    );
    let (line, code) = relay_line(dir.path(), &url, &own).await;
    assert!(
        line.starts_with("takes this host's lines as source 127.0.0.1 of group web; "),
        "{line}"
    );
    assert_eq!(code, 0, "{line}");
    let without = format!("  tls: {{ca_file: {here}/ca.pem}}\n");
    let (line, code) = relay_line(dir.path(), &url, &without).await;
    assert_eq!(code, 1, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_other_server_at_the_relays_address_is_told_as_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (relay_port, _stop) = relay(&dir, "127.0.0.1", "").await;
    let ssh = other_server(b"SSH-2.0-OpenSSH_9.2p1\r\n", b"");
    let mail = other_server(b"220 mail.example.com ESMTP\r\n", b"");
    let web = other_server(
        b"",
        b"HTTP/1.1 405 Not Allowed\r\nServer: nginx/1.22.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let tls = other_server(b"", b"\x15\x03\x01\x00\x02\x02\x46");
    for (scheme, port, expected) in [
        (
            "http",
            ssh,
            "an SSH server answers there (SSH-2.0-OpenSSH_9.2p1), no logferry relay; ",
        ),
        (
            "https",
            ssh,
            "an SSH server answers there (SSH-2.0-OpenSSH_9.2p1), no logferry relay; ",
        ),
        (
            "http",
            mail,
            "a mail or FTP server answers there (220 mail.example.com ESMTP), no logferry relay; ",
        ),
        (
            "http",
            web,
            "a web server answers there (nginx/1.22.1, status 405), no logferry relay; ",
        ),
        (
            "http",
            tls,
            "a server that wants TLS answers there: write https:// in sender.relay",
        ),
        (
            "https",
            relay_port,
            "a relay answers there, but without TLS: write http:// in sender.relay",
        ),
        ("http", 1, "cannot connect; check that the relay runs"),
    ] {
        let (line, code) = relay_line(dir.path(), &format!("{scheme}://127.0.0.1:{port}"), "").await;
        assert!(
            line.starts_with(expected),
            "{scheme}, expected {expected}\n{line}"
        );
        assert_eq!(code, 1, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn destination_mail_server_and_ports_are_tried_in_their_own_protocols() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("drop");
    std::fs::create_dir(&root).unwrap();
    let options = SftpOptions {
        root: root.clone(),
        user: "ferry".to_owned(),
        password: Some("open sesame".to_owned()),
        authorized_key: None,
    };
    let (sftp, mail) = (
        SftpServer::start(options).await.unwrap(),
        MailSink::start().await.unwrap(),
    );
    let known_hosts = dir.path().join("known_hosts");
    std::fs::write(&known_hosts, sftp.known_hosts_line()).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = format!(
        "forwarder:\n  data_dir: {data}\n  destinations: [{{name: edw, host: 127.0.0.1, port: {sftp}, user: ferry, \
         password: open sesame, directory: /, known_hosts: {known}}}]\nmonitor:\n  data_dir: {data}\n  metrics: \
         \"127.0.0.1:{port}\"\n  smtp: {{host: 127.0.0.1, port: {mail}, from: a@example.com, to: [b@example.com, \
         c@example.com]}}\n",
        data = dir.path().join("relay").display(),
        sftp = sftp.port(),
        known = known_hosts.display(),
        mail = mail.port(),
    );
    let (text, code) = checked(dir.path(), config).await;
    for line in [
        "destination edw: files can be written, renamed and deleted in /\n".to_owned(),
        format!(
            "mail server 127.0.0.1:{}: accepts mail from a@example.com to 2 recipients; none was sent\n",
            mail.port()
        ),
        format!(
            "monitor.metrics 127.0.0.1:{port}: is taken by pid {} (",
            std::process::id()
        ),
    ] {
        assert!(text.contains(&line), "no {line:?} in {text}");
    }
    assert_eq!(code, 1, "{text}");
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    assert_eq!(mail.count(), 0);
    sftp.stop().await;
    mail.stop().await;
}

/// The line about `OpenSearch`, and the exit code.
async fn opensearch_line(dir: &TempDir, settings: &str) -> (String, i32) {
    let (data, store) = (dir.path().join("data"), dir.path().join("index"));
    let config = format!(
        "indexer:\n  data_dir: {}\n  store_dir: {}\n  opensearch: {{{settings}}}\n",
        data.display(),
        store.display()
    );
    let (text, code) = checked(dir.path(), config).await;
    let line = text.lines().find(|line| line.contains(" opensearch "));
    let line = line.expect(&text).split_once(": ").unwrap().1;
    (line.to_owned(), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_is_asked_for_its_version_and_the_login_is_tried() {
    let server = SearchServer::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = server.url();
    let (line, _) = opensearch_line(&dir, &format!("url: \"{url}\"")).await;
    let expected = "OpenSearch 2.19.1 takes bulk requests without a login; nothing was written; lines go to logferry-*.*.*";
    assert_eq!(line, expected);
    assert_eq!(server.count(), 0);
    server.set_script(|script| script.login = Some("Basic ZmVycnk6c2VjcmV0".to_owned()));
    let (line, code) = opensearch_line(&dir, &format!("url: \"{url}\"")).await;
    let expected = format!(
        "{url} refuses it with status 401: missing authentication credentials; correct user and password_file, or \
         api_key_file, in indexer.opensearch"
    );
    assert_eq!((line, code), (expected, 1));
    let login = format!("url: \"{url}\", user: ferry, password: secret");
    let (line, _) = opensearch_line(&dir, &login).await;
    assert!(line.contains("takes bulk requests as user ferry"), "{line}");
    let other = other_server(b"", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    let (line, code) = opensearch_line(&dir, &format!("url: \"http://127.0.0.1:{other}\"")).await;
    assert!(line.contains("gave an answer that no OpenSearch gives"), "{line}");
    assert_eq!(code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn table_is_read_as_the_collector_would_and_no_row_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    make_certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let options = ["--ssl-ca", "--ssl-cert", "--ssl-key"].into_iter();
    let options = options.zip(["ca.pem", "relay.pem", "relay.key"]);
    let options = options
        .map(|(option, name)| format!("{option}={}", file(name)))
        .collect();
    let server = tokio::task::spawn_blocking(|| MariaDb::start_with(options))
        .await
        .unwrap();
    server.sql(
        "CREATE TABLE clientdb.logs (id INT PRIMARY KEY, created_at DATETIME, sent TINYINT DEFAULT 0); \
         INSERT INTO clientdb.logs (id) VALUES (1), (2)",
    );
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    make_certificates(&other);
    let password = dir.path().join("password");
    std::fs::write(&password, MARIADB_PASSWORD).unwrap();
    let may = "user ferry may read and mark clientdb.logs; 2 rows not marked; ";
    for (tls, expected, exit_code) in [
        ("null".to_owned(), format!("{may}without TLS"), 0),
        (
            format!("{{ca_file: {}}}", file("ca.pem")),
            format!("{may}with TLS"),
            0,
        ),
        (
            format!("{{ca_file: {}}}", file("other/ca.pem")),
            format!(
                "no safe connection to the MySQL server 127.0.0.1:{}: no authority in {} has signed its certificate; set \
                 tls.ca_file to the one that has",
                server.port,
                file("other/ca.pem")
            ),
            1,
        ),
    ] {
        let config = format!(
            "collector:\n  state_dir: {}\n  sources: [{{type: mysql, name: shop, port: {}, user: {MARIADB_USER}, password_file: {}, \
             database: clientdb, table: logs, tls: {tls}}}]\n",
            file("collector"),
            server.port,
            password.display()
        );
        let (text, code) = checked(dir.path(), config).await;
        let start = format!(" source shop 127.0.0.1:{}: ", server.port);
        let line = text.lines().find_map(|line| Some(line.split_once(&start)?.1));
        assert_eq!((line.expect(&text), code), (&*expected, exit_code), "{text}");
    }
    assert_eq!(
        server.sql("SELECT COUNT(*) FROM clientdb.logs WHERE sent = 0"),
        "2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_with_the_key_of_another_is_told_before_a_source_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    make_certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let config = format!(
        "collector:\n  state_dir: {}\n  sources: [{{type: http, name: api, listen: \"127.0.0.1:0\", tls: {{cert_file: {}, key_file: \
         {}}}}}]\n",
        file("collector"),
        file("relay.pem"),
        file("web-1.key")
    );
    let (text, code) = checked(dir.path(), config).await;
    let start = format!(
        " source api: tls.cert_file: {} cannot be used: the key in {}",
        file("relay.pem"),
        file("web-1.key")
    );
    assert!(
        text.contains(&start) && text.contains("; put both of one pair there"),
        "{text}"
    );
    assert_eq!(code, 1, "{text}");
}
