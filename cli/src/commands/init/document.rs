//! The configuration's text, with comments, from the answers. Pure.
//!
//! Only what a person may want to change soon is in it, each with its meaning; everything else has its documented default. A new
//! role adds its section here.

use std::fmt::Write;
use std::path::Path;

use logferry_fields::Format;

use super::answers::{
    DropLogin, ForwarderAnswers, InitAnswers, LogAnswer, MonitorAnswers, RelayAnswers, SenderAnswers,
};

/// Where comments begin.
const COMMENT_COLUMN: usize = 56;

/// The text of the file at `path`, for the roles that have an answer.
pub(super) fn document(path: &Path, answers: &InitAnswers) -> String {
    let mut text = format!(
        "# {}, written by `logferry init`. A setting that is not here has its default: docs/configure.md\n\
         # After a change: `logferry check`, then reload or restart the roles.\n",
        path.display()
    );
    if let Some(sender) = &answers.sender {
        text += &formats(&sender.logs, answers.relay.is_some());
        text += &sender_section(sender, answers.state.as_deref());
    }
    if let Some(relay) = &answers.relay {
        text += &relay_section(relay, answers.state.as_deref());
    }
    // The other roles of a host with a relay have its folder.
    let state = answers.state.as_deref().filter(|_| answers.relay.is_none());
    if let Some(forwarder) = &answers.forwarder {
        text += &forwarder_section(forwarder, state);
    }
    if let Some(monitor) = &answers.monitor {
        text += &monitor_section(monitor, state, answers);
    }
    if answers.housekeeper {
        text += &housekeeper_section(state);
    }
    if answers.indexer {
        text += &indexer_section(state, answers.state.as_deref());
    }
    text
}

/// `setting`, and what it means.
fn line(text: &mut String, setting: &str, comment: &str) {
    let _ = if comment.is_empty() {
        writeln!(text, "{setting}")
    } else {
        writeln!(text, "{setting:<COMMENT_COLUMN$} # {comment}")
    };
}

/// The formats of logs that have one of their own. Only a relay and an indexer read the section: on another host it is a comment.
fn formats(logs: &[LogAnswer], has_relay: bool) -> String {
    let mut section = String::new();
    for log in logs {
        let format = log.format.as_ref().filter(|format| Format::parse(format).is_ok());
        let Some(format) = format else { continue };
        let _ = writeln!(section, "  {}: |", log.name);
        for line in format.lines() {
            let _ = writeln!(section, "    {}", line.trim());
        }
    }
    if section.is_empty() {
        return section;
    }
    if has_relay {
        return format!(
            "\n# How the lines of these logs are written, as in nginx.conf: where their time stands.\nformats:\n{section}"
        );
    }
    let commented = section.trim_end().replace('\n', "\n# ");
    format!(
        "\n# Not for this host: put this section into the middle host's file, so that it knows where the time stands in these lines.\n\
         # formats:\n# {commented}\n"
    )
}

fn sender_section(sender: &SenderAnswers, state: Option<&Path>) -> String {
    let mut text = "\nsender:\n".to_owned();
    let relay = format!("  relay: {}", scalar(&sender.relay));
    line(
        &mut text,
        &relay,
        "the middle host, and the port of this host's group",
    );
    if let Some(state) = state {
        let state = format!("  state_dir: {}", path_scalar(&state.join("sender")));
        line(&mut text, &state, "how far each log is shipped");
    }
    line(
        &mut text,
        "  logs:",
        "rotated files beside them are found by themselves",
    );
    for log in &sender.logs {
        let path = format!("    - path: {}", scalar(&log.path));
        line(&mut text, &path, "");
        let name = format!("      name: {}", log.name);
        line(&mut text, &name, "");
    }
    line(
        &mut text,
        "      # exclude: [[\"/health.php\", \"health check\"]]",
        "lines with all strings of an entry are dropped, and counted",
    );
    line(
        &mut text,
        "  # source: auto",
        "the address that the relay sees first; or a name",
    );
    line(&mut text, "  # compression: none", "zstd on a slow line");
    line(
        &mut text,
        "  # token_file: null",
        "if the relay wants a token; docs/security.md",
    );
    line(
        &mut text,
        "  # tls: {ca_file: null}",
        "for https with an authority of your own",
    );
    text
}

fn relay_section(relay: &RelayAnswers, state: Option<&Path>) -> String {
    let mut text = "\nrelay:\n".to_owned();
    if let Some(state) = state {
        let folder = format!("  data_dir: {}", path_scalar(&state.join("relay")));
        line(
            &mut text,
            &folder,
            "the spool and the ledger; the other sections use it too",
        );
    }
    line(&mut text, "  groups:", "one port for each group of senders");
    let listen = format!("    - {{name: web-1, listen: \"{}\"", relay.listen);
    if relay.sources.is_empty() {
        line(
            &mut text,
            &format!("{listen}}}"),
            "anybody may send: add sources: [198.51.100.0/24]",
        );
    } else {
        let sources: Vec<_> = relay.sources.iter().map(|source| quoted(source)).collect();
        let sources = sources.join(", ");
        line(
            &mut text,
            &format!("{listen},\n       sources: [{sources}]}}"),
            "",
        );
    }
    let metrics = format!("  metrics: 127.0.0.1:{}", relay.metrics_port);
    line(&mut text, &metrics, "for Prometheus; null: none");
    line(
        &mut text,
        "  # batch: {window: 20m}",
        "a file for each source and 20 minutes",
    );
    line(
        &mut text,
        "  # limits: {min_free_disk: 1GiB}",
        "with less free disk no line is taken",
    );
    line(
        &mut text,
        "  # tls: {cert_file: null, key_file: null}",
        "https; docs/security.md",
    );
    line(
        &mut text,
        "  # tokens_file: null",
        "which senders may send, by a token",
    );
    text
}

fn forwarder_section(forwarder: &ForwarderAnswers, state: Option<&Path>) -> String {
    let mut text = "\nforwarder:\n".to_owned();
    push_data_dir(&mut text, state);
    let drop = &forwarder.drop;
    text += "  destinations:\n    - name: edw\n";
    let _ = writeln!(text, "      host: {}", scalar(&drop.host));
    if drop.port != 22 {
        let _ = writeln!(text, "      port: {}", drop.port);
    }
    let _ = writeln!(text, "      user: {}", scalar(&drop.user));
    let directory = format!("      directory: {}", scalar(&drop.directory));
    line(&mut text, &directory, "must exist there");
    match &forwarder.login {
        DropLogin::Key(file) => {
            let key = format!("      key_file: {}", path_scalar(file));
            line(&mut text, &key, "the user logferry reads it, nobody else");
        }
        DropLogin::Password(file) => {
            let password = format!("      password_file: {}", path_scalar(file));
            line(&mut text, &password, "its first line; for the user logferry only");
        }
    }
    if let Some(fingerprint) = &forwarder.host_key {
        let key = format!("      host_key: {}", quoted(fingerprint));
        line(&mut text, &key, "any other key is refused");
    } else {
        let known = format!("      known_hosts: {}", path_scalar(&forwarder.known_hosts));
        line(&mut text, &known, "`logferry trust edw` adds the server's key");
    }
    line(
        &mut text,
        "      # marker: null",
        ".ok: an empty file beside each batch, after it",
    );
    line(
        &mut text,
        "      # manifest: null",
        "json: lines, bytes and checksum beside each batch",
    );
    line(
        &mut text,
        "      # compress: none",
        "gzip: NAME.log.gz at the destination",
    );
    text
}

fn monitor_section(monitor: &MonitorAnswers, state: Option<&Path>, answers: &InitAnswers) -> String {
    let mut text = "\nmonitor:\n".to_owned();
    push_data_dir(&mut text, state);
    if let (Some(state), false) = (&answers.state, answers.indexer) {
        let store = format!("  store_dir: {}", path_scalar(&state.join("index")));
        line(&mut text, &store, "the indexer's numbers");
    }
    let smtp = &monitor.smtp;
    text += "  smtp:\n";
    let _ = writeln!(text, "    host: {}", scalar(&smtp.host));
    if smtp.port != 25 {
        let _ = writeln!(text, "    port: {}", smtp.port);
    }
    let _ = writeln!(text, "    from: {}", scalar(&monitor.from));
    let to: Vec<_> = monitor.to.iter().map(|to| quoted(to)).collect();
    line(
        &mut text,
        &format!("    to: [{}]", to.join(", ")),
        "`logferry test-mail` tries it",
    );
    line(
        &mut text,
        "    # tls: none",
        "starttls or tls; user and password_file for a login",
    );
    let metrics = format!("  metrics: 127.0.0.1:{}", monitor.metrics_port);
    line(&mut text, &metrics, "for Prometheus; null: none");
    line(
        &mut text,
        "  # expected_sources: [198.51.100.1]",
        "an alert if one of these was never heard from",
    );
    line(
        &mut text,
        "  # summary: {every: hour, after: 15m, daily: true}",
        "the mail of an hour and of a day",
    );
    text
}

fn housekeeper_section(state: Option<&Path>) -> String {
    let mut text = "\n".to_owned();
    line(
        &mut text,
        "housekeeper:",
        "only batches that every destination has",
    );
    push_data_dir(&mut text, state);
    line(&mut text, "  compress_after: 3h", "after the batch was sealed");
    line(&mut text, "  delete_after: 4h", "");
    text
}

/// `own`: of the indexer's store, which is never the relay's folder.
fn indexer_section(state: Option<&Path>, own: Option<&Path>) -> String {
    let mut text = "\n".to_owned();
    line(&mut text, "indexer:", "`logferry search` and `logferry numbers`");
    push_data_dir(&mut text, state);
    if let Some(own) = own {
        let store = format!("  store_dir: {}", path_scalar(&own.join("index")));
        line(&mut text, &store, "can be deleted; it is made anew");
    }
    line(
        &mut text,
        "  keep: {age: 7d, max_bytes: 50GiB}",
        "lines that can be searched",
    );
    text
}

fn push_data_dir(text: &mut String, state: Option<&Path>) {
    if let Some(state) = state {
        let _ = writeln!(text, "  data_dir: {}", path_scalar(&state.join("relay")));
    }
}

fn path_scalar(path: &Path) -> String {
    scalar(&path.display().to_string())
}

/// A value as YAML: plain where YAML reads nothing else into it (YAML 1.2.2, section 7.3.3), otherwise in quotes.
fn scalar(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "/._-@:+".contains(c);
    let is_text = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !matches!(
            &*text.to_ascii_lowercase(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    let is_plain = is_text && text.chars().all(is_safe) && !text.ends_with(':');
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// A value in double quotes; JSON's are YAML's.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::init::{MailHost, SftpDrop};

    fn answers() -> InitAnswers {
        let format = "log_format shop '$time_iso8601 '\n\t\t'\"$request\" $status'";
        InitAnswers {
            state: None,
            sender: Some(SenderAnswers {
                relay: "http://192.0.2.10:5001".to_owned(),
                logs: vec![
                    LogAnswer {
                        path: "/var/log/nginx/access.log".to_owned(),
                        name: "access".to_owned(),
                        format: None,
                    },
                    LogAnswer {
                        path: "/var/log/nginx/shop #1: *.log".to_owned(),
                        name: "shop".to_owned(),
                        format: Some(format.to_owned()),
                    },
                ],
            }),
            relay: Some(RelayAnswers {
                listen: "[::]:5001".parse().unwrap(),
                sources: vec!["198.51.100.1-198.51.100.5".to_owned(), "2001:db8::/64".to_owned()],
                metrics_port: 9104,
            }),
            forwarder: Some(ForwarderAnswers {
                drop: SftpDrop {
                    user: "on".to_owned(),
                    host: "2001:db8::1".to_owned(),
                    port: 2222,
                    directory: "/in/{source}".to_owned(),
                },
                login: DropLogin::Key("/etc/logferry/id_ed25519".into()),
                host_key: None,
                known_hosts: "/etc/logferry/known_hosts".into(),
            }),
            monitor: Some(MonitorAnswers {
                smtp: MailHost {
                    host: "mail.example.com".to_owned(),
                    port: 587,
                },
                from: "logferry@relay".to_owned(),
                to: vec!["ops@example.com".to_owned(), "b@example.com".to_owned()],
                metrics_port: 9105,
            }),
            housekeeper: true,
            indexer: true,
        }
    }

    #[test]
    fn a_document_of_all_roles_is_read_back_as_what_was_answered() {
        let text = document(Path::new("/etc/logferry/logferry.yaml"), &answers());
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None);
        let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(config.warnings, [""; 0], "{text}");
        let sender = config.sender.unwrap();
        assert_eq!(sender.relay[0].to_string(), "http://192.0.2.10:5001");
        assert_eq!(sender.logs[1].path, "/var/log/nginx/shop #1: *.log");
        let relay = config.relay.unwrap();
        assert_eq!(relay.groups[0].listen.to_string(), "[::]:5001");
        assert_eq!(relay.metrics.unwrap().port(), 9104);
        assert_ne!(
            relay.batch.formats.of(&"shop".parse().unwrap()),
            &Format::default()
        );
        let destination = &config.forwarder.unwrap().destinations[0];
        assert_eq!(
            (&*destination.user, &*destination.host, destination.port),
            ("on", "2001:db8::1", 2222)
        );
        let monitor = config.monitor.unwrap();
        assert_eq!(
            (&*monitor.smtp.host, monitor.smtp.port, monitor.smtp.to.len()),
            ("mail.example.com", 587, 2)
        );
        assert!(config.housekeeper.is_some() && config.indexer.is_some());
    }

    #[test]
    fn a_folder_for_state_is_that_of_every_role_alone_too() {
        let all = InitAnswers {
            state: Some("/srv/logferry".into()),
            ..answers()
        };
        for answers in [
            all.clone(),
            InitAnswers {
                sender: None,
                relay: None,
                indexer: false,
                ..all.clone()
            },
            InitAnswers {
                sender: None,
                relay: None,
                forwarder: None,
                monitor: None,
                housekeeper: false,
                ..all
            },
        ] {
            let text = document(Path::new("c.yaml"), &answers);
            let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None);
            let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
            for (role, folder) in config.data_dirs() {
                assert_eq!(folder, Path::new("/srv/logferry/relay"), "{role}: {text}");
            }
            let stores = config
                .indexer
                .iter()
                .map(|it| &it.store_dir)
                .chain(config.monitor.iter().map(|it| &it.store_dir));
            for store in stores {
                assert_eq!(store, Path::new("/srv/logferry/index"), "{text}");
            }
        }
    }

    #[test]
    fn a_sender_alone_has_its_formats_as_a_comment_for_the_middle_host() {
        let answers = InitAnswers {
            sender: answers().sender,
            ..InitAnswers::default()
        };
        let text = document(Path::new("c.yaml"), &answers);
        assert!(
            text.contains("\n# formats:\n#   shop: |\n#     log_format shop '$time_iso8601 '\n"),
            "{text}"
        );
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).unwrap();
        assert!(config.relay.is_none() && config.sender.is_some());
    }

    #[test]
    fn a_value_that_yaml_would_read_as_something_else_is_quoted() {
        for (text, expected) in [
            ("/var/log/a.log", "/var/log/a.log"),
            ("drop.example.com", "drop.example.com"),
            ("192.0.2.1", "\"192.0.2.1\""),
            ("on", "\"on\""),
            ("*.log", "\"*.log\""),
            ("a: b", "\"a: b\""),
            ("", "\"\""),
        ] {
            assert_eq!(scalar(text), expected);
        }
    }
}
