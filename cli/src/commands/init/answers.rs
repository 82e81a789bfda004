//! What a configuration is made of: from the options, from the terminal, or from what this host is like. No I/O of its own.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use logferry_config::RelayAddress;

use super::dialog::{Dialog, Question};
use super::host::HostFacts;
use crate::args::init::{CollectorEndpoint, InitArgs, MailHost, SftpDrop, absolute, mail_address};
use crate::roles::role::Role;

/// Everything that goes into the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InitAnswers {
    /// The folder below which the roles keep their files; `None`: the default.
    pub(super) state: Option<PathBuf>,
    pub(super) sender: Option<SenderAnswers>,
    pub(super) relay: Option<RelayAnswers>,
    pub(super) forwarder: Option<ForwarderAnswers>,
    pub(super) monitor: Option<MonitorAnswers>,
    pub(super) housekeeper: bool,
    pub(super) indexer: bool,
    /// What the collector takes; empty: there is none.
    pub(super) collector: Vec<CollectorEndpoint>,
    pub(super) console: Option<ConsoleAnswers>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SenderAnswers {
    pub(super) relay: String,
    pub(super) logs: Vec<LogAnswer>,
}

/// A log to ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogAnswer {
    pub(super) path: String,
    /// Its name at the relay.
    pub(super) name: String,
    /// The text of its `log_format`, if nginx has one for it.
    pub(super) format: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelayAnswers {
    pub(super) listen: SocketAddr,
    /// Who may send; empty: anybody.
    pub(super) sources: Vec<String>,
    pub(super) metrics_port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForwarderAnswers {
    pub(super) drop: SftpDrop,
    pub(super) login: DropLogin,
    /// The fingerprint that the operator has told; `None`: the key is kept in `known_hosts`.
    pub(super) host_key: Option<String>,
    pub(super) known_hosts: PathBuf,
}

/// How the forwarder logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DropLogin {
    Key(PathBuf),
    Password(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MonitorAnswers {
    pub(super) smtp: MailHost,
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) metrics_port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConsoleAnswers {
    pub(super) listen: SocketAddr,
    /// Without a login.
    pub(super) open: bool,
}

const RELAY: Question<'static> = Question {
    text: "The relay: address of the middle host, and the port of this host's group",
    flag: "--relay",
    example: "http://192.0.2.10:5001",
};
const LOGS: Question<'static> = Question {
    text: "Logs to ship, with commas between",
    flag: "--log",
    example: "/var/log/nginx/access.log",
};
const LISTEN: Question<'static> = Question {
    text: "Address and port that senders connect to",
    flag: "--listen",
    example: "0.0.0.0:5001",
};
const SOURCES: Question<'static> = Question {
    text: "Who may send: addresses, ranges and networks with commas between, or any",
    flag: "--sources",
    example: "198.51.100.1-198.51.100.5",
};
const SFTP: Question<'static> = Question {
    text: "The SFTP drop, as USER@HOST:DIR",
    flag: "--sftp",
    example: "ferry@drop.example.com:/cdrdata/source_data",
};
const SMTP: Question<'static> = Question {
    text: "Mail server",
    flag: "--smtp",
    example: "mail.example.com",
};
const FROM: Question<'static> = Question {
    text: "Sender's address of the mails",
    flag: "--from",
    example: "logferry@example.com",
};
const TO: Question<'static> = Question {
    text: "Who gets the mails, with commas between",
    flag: "--to",
    example: "ops@example.com",
};

const COLLECT: Question<'static> = Question {
    text: "What programs and other hosts may send here besides logs, with commas between: http, syslog, or none",
    flag: "--collect",
    example: "http=0.0.0.0:5000, syslog",
};
const CONSOLE: Question<'static> = Question {
    text: "Address and port of the console's page",
    flag: "--console-listen",
    example: "127.0.0.1:8080",
};

/// Asks for what the roles need. `None`: something is missing, as the dialog tells. `folder`: of the configuration.
pub(super) fn collect(
    options: &InitArgs,
    roles: &BTreeSet<Role>,
    facts: &HostFacts,
    folder: &Path,
    dialog: &mut Dialog<'_>,
) -> io::Result<Option<InitAnswers>> {
    let mut answers = InitAnswers {
        state: options.state.as_ref().map(PathBuf::from),
        housekeeper: roles.contains(&Role::Housekeeper),
        indexer: roles.contains(&Role::Indexer),
        ..InitAnswers::default()
    };
    let mut is_whole = true;
    if roles.contains(&Role::Relay) {
        answers.relay = relay(options, facts, dialog)?;
        is_whole &= answers.relay.is_some();
    }
    let is_collector = roles.contains(&Role::Collector);
    if roles.contains(&Role::Sender) {
        is_whole &= sender(options, facts, &mut answers, is_collector, dialog)?;
    } else if is_collector {
        let endpoints = endpoints(options, true, dialog)?;
        is_whole &= endpoints.is_some();
        answers.collector = endpoints.unwrap_or_default();
    }
    if roles.contains(&Role::Forwarder) {
        answers.forwarder = forwarder(options, folder, dialog)?;
        is_whole &= answers.forwarder.is_some();
    }
    if roles.contains(&Role::Monitor) {
        answers.monitor = monitor(options, facts, dialog)?;
        is_whole &= answers.monitor.is_some();
    }
    if roles.contains(&Role::Console) {
        answers.console = console(options, facts, dialog)?;
        is_whole &= answers.console.is_some();
    }
    Ok(Some(answers).filter(|_| is_whole))
}

/// What a collector takes. `is_wanted`: there is to be one in any case.
fn endpoints(
    options: &InitArgs,
    is_wanted: bool,
    dialog: &mut Dialog<'_>,
) -> io::Result<Option<Vec<CollectorEndpoint>>> {
    let given: Vec<_> = options.collect.iter().map(ToString::to_string).collect();
    let given = Some(TextList(given)).filter(|list| !list.0.is_empty());
    let usual = is_wanted.then(|| "http".to_owned());
    let parse = |text: &str| {
        let list = TextList::parse_or_none(text, |part| Ok(part.to_owned()))?;
        match list.as_endpoints()?.first() {
            None if is_wanted => Err("a collector takes at least one of them".to_owned()),
            _ => Ok(list),
        }
    };
    let answer = dialog.answer(&COLLECT, given, Some(TextList(Vec::from_iter(usual))), parse)?;
    Ok(answer.map(|list| list.as_endpoints().unwrap_or_default()))
}

/// Asks for a sender, and for what a collector beside it takes. Returns whether nothing is missing.
fn sender(
    options: &InitArgs,
    facts: &HostFacts,
    answers: &mut InitAnswers,
    is_collector: bool,
    dialog: &mut Dialog<'_>,
) -> io::Result<bool> {
    // A relay on this host is named by the address that others see, so that this becomes the source of the lines.
    let own = answers.relay.as_ref().map(|relay| {
        let all = relay.listen.ip().is_unspecified();
        let address = facts.address.filter(|_| all).unwrap_or(relay.listen.ip());
        let address = if address.is_unspecified() {
            [127, 0, 0, 1].into()
        } else {
            address
        };
        format!("http://{}", SocketAddr::new(address, relay.listen.port()))
    });
    let given = options.relay.as_ref().map(ToString::to_string);
    let relay = dialog.answer(&RELAY, given, own, |text| {
        let address: Result<RelayAddress, _> = text.parse();
        address
            .map(|address| address.to_string())
            .map_err(|error| error.to_string())
    })?;
    let endpoints = endpoints(options, is_collector, dialog)?;
    let may_be_none = endpoints.as_ref().is_some_and(|endpoints| !endpoints.is_empty());
    let given = Some(TextList(options.log.clone())).filter(|list| !list.0.is_empty());
    let found: Vec<_> = facts.logs.iter().map(|log| log.path.clone()).collect();
    // A sender may have nothing to ship but what the collector takes.
    let found = Some(TextList(found)).filter(|list| !list.0.is_empty() || may_be_none);
    let logs = dialog.answer(&LOGS, given, found, |text| {
        if may_be_none {
            TextList::parse_or_none(text, absolute)
        } else {
            TextList::parse(text, absolute)
        }
    })?;
    let (Some(relay), Some(endpoints), Some(paths)) = (relay, endpoints, logs) else {
        return Ok(false);
    };
    let logs = named(paths.0, facts, &endpoints);
    answers.sender = Some(SenderAnswers { relay, logs });
    answers.collector = endpoints;
    Ok(true)
}

fn relay(options: &InitArgs, facts: &HostFacts, dialog: &mut Dialog<'_>) -> io::Result<Option<RelayAnswers>> {
    let free = SocketAddr::from(([0, 0, 0, 0], facts.relay_port));
    let listen = dialog.answer(&LISTEN, options.listen, Some(free), socket_address)?;
    let given = Some(TextList(options.sources.clone())).filter(|list| !list.0.is_empty());
    let any = TextList(vec!["any".to_owned()]);
    let sources = dialog.answer(&SOURCES, given, Some(any), |text| {
        let list = TextList::parse(text, |part| Ok(part.to_owned()))?;
        list.accepted_as_sources().map(|()| list)
    })?;
    let (Some(listen), Some(TextList(mut sources))) = (listen, sources) else {
        return Ok(None);
    };
    sources.retain(|source| source != "any");
    let [metrics_port, _] = facts.metrics_ports;
    Ok(Some(RelayAnswers {
        listen,
        sources,
        metrics_port,
    }))
}

fn forwarder(
    options: &InitArgs,
    folder: &Path,
    dialog: &mut Dialog<'_>,
) -> io::Result<Option<ForwarderAnswers>> {
    let given = options.sftp.clone();
    let drop = dialog.answer(&SFTP, given, None, str::parse)?;
    let login = match (&options.key_file, &options.password_file) {
        (_, Some(file)) => DropLogin::Password(file.into()),
        (Some(file), None) => DropLogin::Key(file.into()),
        (None, None) => DropLogin::Key(folder.join("id_ed25519")),
    };
    Ok(drop.map(|drop| ForwarderAnswers {
        drop,
        login,
        host_key: options.host_key.clone(),
        known_hosts: folder.join("known_hosts"),
    }))
}

fn monitor(
    options: &InitArgs,
    facts: &HostFacts,
    dialog: &mut Dialog<'_>,
) -> io::Result<Option<MonitorAnswers>> {
    let local = MailHost {
        host: "127.0.0.1".to_owned(),
        port: 25,
    };
    let smtp = dialog.answer(
        &SMTP,
        options.smtp.clone(),
        Some(local).filter(|_| facts.has_mail_server),
        str::parse,
    )?;
    let given = Some(TextList(options.to.clone())).filter(|list| !list.0.is_empty());
    let to = dialog.answer(&TO, given, None, |text| TextList::parse(text, mail_address))?;
    let own = format!("logferry@{}", facts.name);
    let from = dialog.answer(&FROM, options.from.clone(), Some(own), mail_address)?;
    let (Some(smtp), Some(to), Some(from)) = (smtp, to, from) else {
        return Ok(None);
    };
    let [_, metrics_port] = facts.metrics_ports;
    Ok(Some(MonitorAnswers {
        smtp,
        from,
        to: to.0,
        metrics_port,
    }))
}

fn console(
    options: &InitArgs,
    facts: &HostFacts,
    dialog: &mut Dialog<'_>,
) -> io::Result<Option<ConsoleAnswers>> {
    let free = SocketAddr::from(([127, 0, 0, 1], facts.console_port));
    let listen = dialog.answer(&CONSOLE, options.console_listen, Some(free), socket_address)?;
    Ok(listen.map(|listen| ConsoleAnswers {
        listen,
        open: options.console_open,
    }))
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not an address and a port; write it like 0.0.0.0:5001"))
}

/// The logs with names: the stem of the path; with the folder's name before it if that is taken. The collector's sources have
/// their names too.
fn named(paths: Vec<String>, facts: &HostFacts, endpoints: &[CollectorEndpoint]) -> Vec<LogAnswer> {
    let mut taken: BTreeSet<_> = endpoints
        .iter()
        .map(|endpoint| endpoint.kind.name().to_owned())
        .collect();
    let named = paths.into_iter().map(|path| {
        let stem = as_name(Path::new(&path).file_stem());
        let folder = as_name(Path::new(&path).parent().and_then(Path::file_name));
        let mut names = [stem.clone(), format!("{folder}-{stem}")]
            .into_iter()
            .chain((2..).map(|number| format!("{stem}-{number}")));
        let name = names.find(|name| taken.insert(name.clone())).unwrap_or(stem);
        let known = facts.logs.iter().find(|log| log.path == path);
        LogAnswer {
            format: known.and_then(|log| log.format.clone()),
            path,
            name,
        }
    });
    named.collect()
}

/// What of a file's name can be the name of a log.
fn as_name(text: Option<&std::ffi::OsStr>) -> String {
    let text = text
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_allowed = |c: &char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(c);
    let name: String = text.chars().filter(is_allowed).take(40).collect();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() {
        "access".to_owned()
    } else {
        name.to_owned()
    }
}

/// An empty list, as it is shown and typed.
const NONE: &str = "none";

/// Texts, with commas between.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TextList(Vec<String>);

impl TextList {
    fn parse(text: &str, parse: impl Fn(&str) -> Result<String, String>) -> Result<Self, String> {
        let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
        parts.map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// As [`Self::parse`], of a list that may be empty.
    fn parse_or_none(text: &str, parse: impl Fn(&str) -> Result<String, String>) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self(Vec::new()));
        }
        Self::parse(text, parse)
    }

    /// These as what a collector takes, or the reason why they are not.
    fn as_endpoints(&self) -> Result<Vec<CollectorEndpoint>, String> {
        self.0.iter().map(|text| text.parse()).collect()
    }

    /// The reason why these are not addresses of a group.
    fn accepted_as_sources(&self) -> Result<(), String> {
        let Self(sources) = self;
        if sources.iter().any(|source| source == "any") {
            return Ok(());
        }
        let list = serde_json::to_string(sources).unwrap_or_default();
        let text = format!("relay: {{groups: [{{name: web-1, listen: '127.0.0.1:1', sources: {list}}}]}}\n");
        match logferry_config::parse(&text, Path::new(""), &|_| None) {
            Err(logferry_config::ConfigError::Invalid { problems, .. }) => {
                let problems = problems.into_iter().map(|problem| problem.message);
                Err(problems.collect::<Vec<_>>().join("; "))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for TextList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [] => f.write_str(NONE),
            texts => f.write_str(&texts.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_one_stem_have_names_of_their_own() {
        let paths = [
            "/var/log/nginx/access.log",
            "/srv/shop/access.log",
            "/var/shop/access.log",
            "/var/log/nginx/*.access.log",
            "/var/log/über.log",
            "/var/log/*",
        ];
        let logs = named(paths.map(str::to_owned).to_vec(), &HostFacts::default(), &[]);
        let names: Vec<_> = logs.iter().map(|log| log.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "access",
                "shop-access",
                "access-2",
                "nginx-access",
                "ber",
                "log-access"
            ]
        );
    }

    #[test]
    fn addresses_that_are_none_are_refused_with_the_reason() {
        let sources = |text: &str| {
            TextList::parse(text, |part| Ok(part.to_owned()))
                .unwrap()
                .accepted_as_sources()
        };
        assert_eq!(sources("any"), Ok(()));
        assert_eq!(sources("198.51.100.1-198.51.100.5, 2001:db8::/64"), Ok(()));
        assert!(sources("198.51.100.1-5").is_err());
    }
}
