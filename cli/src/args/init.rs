//! The options of `logferry init`, and the texts that they take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as Options, ValueEnum};
use logferry_config::RelayAddress;

use crate::roles::role::Role;

#[derive(Debug, Clone, Options)]
#[allow(clippy::doc_markdown, reason = "the text of --help")]
pub(crate) struct InitArgs {
    /// What this host is to do: sender, relay-host (relay, forwarder, monitor, housekeeper, indexer, console), all, or single roles
    #[arg(value_enum, required_unless_present = "templates", value_name = "ROLE")]
    pub(crate) roles: Vec<InitRole>,
    /// Ask nothing: what no option says gets its default
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write even if there is such a file; the old one is kept beside it as FILE.old
    #[arg(long)]
    pub(crate) force: bool,
    /// Sender: the middle host and the port of this host's group, such as http://192.0.2.10:5001
    #[arg(long, value_name = "URL")]
    pub(crate) relay: Option<RelayAddress>,
    /// Sender: a log to ship, or a glob; may be repeated [default: those of this host's nginx]
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub(crate) log: Vec<String>,
    /// Relay: the address and port that senders connect to [default: 0.0.0.0:5001, or the next free port]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Relay: who may send: an address, a range or a network; may be repeated [default: anybody]
    #[arg(long, value_name = "ADDRESSES")]
    pub(crate) sources: Vec<String>,
    /// Forwarder: where batches go: USER@HOST:DIR or USER@HOST:PORT:DIR
    #[arg(long, value_name = "USER@HOST:DIR")]
    pub(crate) sftp: Option<SftpDrop>,
    /// Forwarder: the SSH key to log in with; made if it is not there [default: id_ed25519 beside the configuration]
    #[arg(long, value_name = "FILE", conflicts_with = "password_file", value_parser = absolute)]
    pub(crate) key_file: Option<String>,
    /// Forwarder: log in with the password in this file
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub(crate) password_file: Option<String>,
    /// Forwarder: the fingerprint of the SFTP server's key, as its operator told it: SHA256:… [default: shown and asked for]
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) host_key: Option<String>,
    /// Monitor: the mail server, with :PORT if that is not 25 [default: this host, if it has one]
    #[arg(long, value_name = "HOST")]
    pub(crate) smtp: Option<MailHost>,
    /// Monitor: who gets the mails; may be repeated
    #[arg(long, value_name = "ADDRESS", value_parser = mail_address)]
    pub(crate) to: Vec<String>,
    /// Monitor: the sender's address of the mails (default: logferry@ and this host's name)
    #[arg(long, value_name = "ADDRESS", value_parser = mail_address)]
    pub(crate) from: Option<String>,
    /// Collector: what it takes: http, on port 5000 of this host only, or syslog, on port 514; or with ADDRESS:PORT; may be repeated
    #[arg(long, value_name = "http|syslog[=ADDRESS:PORT]")]
    pub(crate) collect: Vec<CollectorEndpoint>,
    /// Console: where its page listens [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) console_listen: Option<SocketAddr>,
    /// Console: everybody on this host may look and act without a login
    #[arg(long)]
    pub(crate) console_open: bool,
    /// The folder below which the roles keep their files [default: /var/lib/logferry]
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    pub(crate) state: Option<String>,
    /// Write the built-in templates of the mails into this folder, to be changed; see monitor.templates_dir
    #[arg(long, value_name = "DIR")]
    pub(crate) templates: Option<PathBuf>,
}

/// A role, or several, as `init` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitRole {
    Sender,
    RelayHost,
    All,
    Relay,
    Forwarder,
    Monitor,
    Housekeeper,
    Indexer,
    Collector,
    Console,
}

/// The roles of the middle host. A role that belongs there is added here.
const RELAY_HOST: [Role; 6] = [
    Role::Relay,
    Role::Forwarder,
    Role::Monitor,
    Role::Housekeeper,
    Role::Indexer,
    Role::Console,
];

impl InitRole {
    /// The roles that it stands for.
    pub(crate) fn roles(self) -> Vec<Role> {
        match self {
            Self::All => [&[Role::Sender], RELAY_HOST.as_slice()].concat(),
            Self::RelayHost => RELAY_HOST.to_vec(),
            Self::Sender => vec![Role::Sender],
            Self::Relay => vec![Role::Relay],
            Self::Forwarder => vec![Role::Forwarder],
            Self::Monitor => vec![Role::Monitor],
            Self::Housekeeper => vec![Role::Housekeeper],
            Self::Indexer => vec![Role::Indexer],
            Self::Collector => vec![Role::Collector],
            Self::Console => vec![Role::Console],
        }
    }
}

/// Where batches go, as `USER@HOST:DIR`, `USER@HOST:PORT:DIR` or `sftp://USER@HOST[:PORT]/DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SftpDrop {
    pub(crate) user: String,
    /// A name or an address, IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) directory: String,
}

impl FromStr for SftpDrop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not USER@HOST:DIR; write it like ferry@drop.example.com:/cdrdata/source_data, or with a port: \
                 ferry@drop.example.com:2222:/cdrdata/source_data"
            )
        };
        let (address, is_url) = text
            .strip_prefix("sftp://")
            .map_or((text, false), |rest| (rest, true));
        let (user, rest) = address.rsplit_once('@').ok_or_else(wrong)?;
        let (host, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => rest.split_at(rest.find([':', '/']).ok_or_else(wrong)?),
        };
        let (port, directory) = if is_url {
            let slash = rest.find('/').ok_or_else(wrong)?;
            let (port, directory) = rest.split_at(slash);
            (port.strip_prefix(':'), directory)
        } else {
            let rest = rest.strip_prefix(':').ok_or_else(wrong)?;
            let is_port = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
            match rest.split_once(':').filter(|(port, _)| is_port(port)) {
                Some((port, directory)) => (Some(port), directory),
                None => (None, rest),
            }
        };
        let port = port.map_or(Ok(22), str::parse).map_err(|_| wrong())?;
        if [user, host, directory].iter().any(|part| part.is_empty()) || port == 0 {
            return Err(wrong());
        }
        Ok(Self {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
            directory: directory.to_owned(),
        })
    }
}

impl fmt::Display for SftpDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            host,
            port,
            directory,
        } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        match port {
            22 => write!(f, "{user}@{host}:{directory}"),
            port => write!(f, "{user}@{host}:{port}:{directory}"),
        }
    }
}

/// A mail server, as `HOST` or `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MailHost {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for MailHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a mail server; write it like mail.example.com or mail.example.com:587")
        };
        let (host, port) = match text.rsplit_once(':') {
            // More colons: an IPv6 address without a port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
            _ => (text, "25"),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if host.is_empty() || host.contains(['/', '@']) || host.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for MailHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        write!(f, "{host}:{port}")
    }
}

/// What the collector takes, as `http` or `syslog`, with `=ADDRESS:PORT` if not at the usual port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CollectorEndpoint {
    pub(crate) kind: EndpointKind,
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndpointKind {
    Http,
    Syslog,
}

impl EndpointKind {
    /// The type of the source, which is its name too.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Syslog => "syslog",
        }
    }

    /// Without keys anybody who reaches the port may post, so that of HTTP is for this host. Syslog is for others.
    const fn usual(self) -> SocketAddr {
        match self {
            Self::Http => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5000),
            Self::Syslog => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 514),
        }
    }
}

impl FromStr for CollectorEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a source that init sets up; write http, syslog, or http=0.0.0.0:5000")
        };
        let (kind, listen) = match text.split_once('=') {
            Some((kind, listen)) => (kind, Some(listen)),
            None => (text, None),
        };
        let kind = [EndpointKind::Http, EndpointKind::Syslog]
            .into_iter()
            .find(|known| known.name() == kind);
        let kind = kind.ok_or_else(wrong)?;
        let listen = listen.map_or(Ok(kind.usual()), |listen| listen.parse().map_err(|_| wrong()))?;
        Ok(Self { kind, listen })
    }
}

impl fmt::Display for CollectorEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind.name(), self.listen)
    }
}

/// A path from the root, as the roles need it: they start elsewhere.
pub(crate) fn absolute(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err("is not a path; write it like /var/log/nginx/access.log".to_owned());
    }
    let whole = std::path::absolute(text).map_err(|error| format!("`{text}` is not a path: {error}"))?;
    let whole = whole.to_str().map(ToOwned::to_owned);
    whole.ok_or_else(|| "is not a text in UTF-8; choose another path".to_owned())
}

/// A mail address, as the configuration takes it.
pub(crate) fn mail_address(text: &str) -> Result<String, String> {
    let is_odd = text.contains(|c: char| c.is_whitespace() || c.is_control());
    match text.split_once('@') {
        Some((user, host)) if !user.is_empty() && !host.is_empty() && !host.contains('@') && !is_odd => {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "`{text}` is not a mail address; write it like ops@example.com"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop(text: &str) -> Option<(String, String, u16, String)> {
        let drop = text.parse::<SftpDrop>().ok()?;
        Some((drop.user, drop.host, drop.port, drop.directory))
    }

    #[test]
    fn a_drop_is_written_as_scp_writes_it_with_a_port_or_as_a_url() {
        let of = |host: &str, port, directory: &str| {
            Some(("ferry".to_owned(), host.to_owned(), port, directory.to_owned()))
        };
        assert_eq!(
            drop("ferry@drop.example.com:/in"),
            of("drop.example.com", 22, "/in")
        );
        assert_eq!(drop("ferry@192.0.2.9:2222:/in/a"), of("192.0.2.9", 2222, "/in/a"));
        assert_eq!(drop("ferry@drop:in"), of("drop", 22, "in"));
        assert_eq!(drop("ferry@[2001:db8::1]:/in"), of("2001:db8::1", 22, "/in"));
        assert_eq!(drop("sftp://ferry@drop:2222/in"), of("drop", 2222, "/in"));
        assert_eq!(drop("sftp://ferry@drop/in"), of("drop", 22, "/in"));
        for wrong in [
            "drop:/in",
            "ferry@drop",
            "ferry@:/in",
            "@drop:/in",
            "ferry@drop:0:/in",
            "ferry@drop:99999:/in",
            "",
        ] {
            assert_eq!(drop(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_mail_server_may_have_a_port() {
        let of = |text: &str| text.parse::<MailHost>().ok().map(|mail| (mail.host, mail.port));
        assert_eq!(of("mail.example.com"), Some(("mail.example.com".to_owned(), 25)));
        assert_eq!(of("mail:587"), Some(("mail".to_owned(), 587)));
        assert_eq!(of("[2001:db8::1]:587"), Some(("2001:db8::1".to_owned(), 587)));
        assert_eq!(of("2001:db8::1"), Some(("2001:db8::1".to_owned(), 25)));
        for wrong in ["", "ops@example.com", "mail:smtp", "smtp://mail"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_of_the_collector_has_its_usual_port_or_another() {
        let shown = |text: &str| {
            text.parse::<CollectorEndpoint>()
                .map(|endpoint| endpoint.to_string())
        };
        assert_eq!(shown("http").as_deref(), Ok("http=127.0.0.1:5000"));
        assert_eq!(shown("syslog").as_deref(), Ok("syslog=0.0.0.0:514"));
        assert_eq!(shown("syslog=[::]:5514").as_deref(), Ok("syslog=[::]:5514"));
        for wrong in ["", "http=", "http=5000", "tcp", "syslog:514"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
