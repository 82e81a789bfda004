//! The configuration's text, with comments, from the answers. Pure.
//!
//! Only what a person may want to change soon is in it, each with its meaning; everything else has its documented default. A new
//! role adds its section here.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use logferry_fields::Format;

use super::answers::{
    ConsoleAnswers, DropLogin, ForwarderAnswers, InitAnswers, LogAnswer, MonitorAnswers, RelayAnswers,
    SenderAnswers,
};
use crate::args::init::EndpointKind;

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
        text += &sender_section(sender, answers);
    }
    if !answers.collector.is_empty() {
        text += &collector_section(answers);
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
    if let Some(console) = &answers.console {
        text += &console_section(console, state, answers);
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

fn sender_section(sender: &SenderAnswers, answers: &InitAnswers) -> String {
    let state = answers.state.as_deref();
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
    if !answers.collector.is_empty() {
        let captures = format!("  captures: {}", path_scalar(&collector_dir(state)));
        line(
            &mut text,
            &captures,
            "what the collector takes, each source as a log",
        );
    }
    if sender.logs.is_empty() {
        line(&mut text, "  logs: []", "files to ship besides");
    } else {
        line(
            &mut text,
            "  logs:",
            "rotated files beside them are found by themselves",
        );
    }
    for log in &sender.logs {
        let path = format!("    - path: {}", scalar(&log.path));
        line(&mut text, &path, "");
        let name = format!("      name: {}", log.name);
        line(&mut text, &name, "");
    }
    if !sender.logs.is_empty() {
        line(
            &mut text,
            "      # exclude: [[\"/health.php\", \"health check\"]]",
            "lines with all strings of an entry are dropped, and counted",
        );
    }
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

/// The collector's folder, which the sender reads.
fn collector_dir(state: Option<&Path>) -> PathBuf {
    state.unwrap_or(Path::new("/var/lib/logferry")).join("collector")
}

fn collector_section(answers: &InitAnswers) -> String {
    let mut text = "\n".to_owned();
    line(
        &mut text,
        "collector:",
        "records from what is not a file; docs/sources/README.md",
    );
    if let Some(state) = &answers.state {
        let own = format!("  state_dir: {}", path_scalar(&collector_dir(Some(state))));
        line(&mut text, &own, "records until the relay has them");
        if answers.sender.is_none() {
            let sender = format!("  sender_state_dir: {}", path_scalar(&state.join("sender")));
            line(&mut text, &sender, "where the sender says what the relay has");
        }
    }
    text += "  sources:\n";
    for endpoint in &answers.collector {
        let (kind, listen) = (endpoint.kind.name(), endpoint.listen);
        let source = format!("    - {{type: {kind}, name: {kind}, listen: \"{listen}\"}}");
        let comment = match endpoint.kind {
            EndpointKind::Http if listen.ip().is_loopback() => "POST /log, /api/logs, /lines, from this host",
            EndpointKind::Http => "anybody may post: add keys_file; docs/sources/http.md",
            EndpointKind::Syslog => "UDP and TCP; docs/sources/syslog.md",
        };
        line(&mut text, &source, comment);
    }
    text
}

fn console_section(console: &ConsoleAnswers, state: Option<&Path>, answers: &InitAnswers) -> String {
    let mut text = "\n".to_owned();
    line(&mut text, "console:", "the pages in a browser; docs/console.md");
    push_data_dir(&mut text, state);
    if let Some(state) = &answers.state {
        if !answers.indexer {
            let store = format!("  store_dir: {}", path_scalar(&state.join("index")));
            line(&mut text, &store, "the indexer's numbers");
        }
        let own = format!("  state_dir: {}", path_scalar(&state.join("console")));
        line(&mut text, &own, "users, pins and tickets");
    }
    let listen = format!("  listen: \"{}\"", console.listen);
    let reached = if console.listen.ip().is_loopback() {
        "from another host: ssh -L, tls, or a proxy"
    } else {
        "set tls, or name the proxy in front"
    };
    line(&mut text, &listen, reached);
    if console.open {
        line(
            &mut text,
            "  open: true",
            "everybody on this host may look and act",
        );
    } else {
        line(
            &mut text,
            "  # open: false",
            "`logferry console user add NAME` makes a user",
        );
    }
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
mod tests;
