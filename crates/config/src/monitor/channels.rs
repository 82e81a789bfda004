//! `monitor.channels`: where alerts go beside the mail; and `monitor.heartbeat`, whose absence tells others that the monitor is
//! dead.
//!
//! An address with a secret in it is shown by its host only.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::sender::relay_endpoint::Scheme;
use crate::yaml::field::{ConfigField, RawText, is_host};
use crate::yaml::secret::Secret;

/// The channel that is always there: the mail of the smtp section.
pub const MAIL_CHANNEL: &str = "mail";

const LIMIT_MAX: Duration = Duration::from_mins(5);
const EVERY_MIN: Duration = Duration::from_secs(10);

/// A channel beside the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSettings {
    /// Its name, for rules and `test-mail --channel`.
    pub name: String,
    /// How a message gets there.
    pub kind: ChannelKind,
    /// Whether it gets all alerts, not only those of rules that name it.
    pub all_alerts: bool,
    /// The longest time for one message.
    pub time_limit: Duration,
}

/// How a message gets to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelKind {
    /// An incoming webhook of Slack, or of a server that takes the same.
    Slack(WebEndpoint),
    /// A workflow of Microsoft Teams.
    Teams(WebEndpoint),
    /// Any web server: a POST of JSON.
    Webhook(WebEndpoint),
    /// A program that gets JSON on its standard input: its path and arguments.
    Command(Vec<String>),
}

/// An address on the web, with the authorities that its certificate may be signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebEndpoint {
    /// The address.
    pub address: WebAddress,
    /// The authorities; those of the system when absent.
    pub ca_file: Option<PathBuf>,
}

/// An address such as `https://hooks.example.com/services/SECRET`. Shown as `https://hooks.example.com/…`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebAddress {
    /// Plain HTTP or TLS.
    pub scheme: Scheme,
    /// A host name or an IP address, an IPv6 one without brackets.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
    /// Path and query, which are often secret.
    pub target: Secret,
}

/// A text that is no web address. It is not repeated: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a web address; write it like https://hooks.example.com/path, without a user, a space or a `#`"
)]
pub struct WebAddressError;

impl WebAddress {
    /// The `Host` header: the port stands there unless it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default_port(self.scheme) {
            return host;
        }
        format!("{host}:{}", self.port)
    }
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

impl FromStr for WebAddress {
    type Err = WebAddressError;

    fn from_str(text: &str) -> Result<Self, WebAddressError> {
        let parse = || {
            let (scheme, rest) = match text.split_once("://")? {
                ("http", rest) => (Scheme::Http, rest),
                ("https", rest) => (Scheme::Https, rest),
                _ => return None,
            };
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, target) = (rest.get(..end)?, rest.get(end..)?);
            if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
                return None;
            }
            let (host, port) = match authority.strip_prefix('[') {
                Some(bracketed) => {
                    let (host, after) = bracketed.split_once(']')?;
                    host.parse::<std::net::Ipv6Addr>().ok()?;
                    let port = if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':')?)
                    };
                    (host, port)
                }
                None => match authority.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (authority, None),
                },
            };
            let port = match port {
                Some(port) => port.parse().ok().filter(|port| *port != 0)?,
                None => default_port(scheme),
            };
            let target = match target.as_bytes().first() {
                None => "/".to_owned(),
                Some(b'?') => format!("/{target}"),
                Some(_) => target.to_owned(),
            };
            is_host(host).then(|| Self {
                scheme,
                host: host.to_owned(),
                port,
                target: Secret::new(target),
            })
        };
        parse().ok_or(WebAddressError)
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let rest = if self.target.expose() == "/" { "/" } else { "/…" };
        write!(f, "{scheme}://{}{rest}", self.authority())
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The sign that the monitor gives while all is well with itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// Where it goes.
    pub to: HeartbeatTarget,
    /// How often.
    pub every: Duration,
}

/// Where the heartbeat goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeartbeatTarget {
    /// A GET of this address.
    Url(WebEndpoint),
    /// This file is written anew.
    File(PathBuf),
    /// A mail to this address, by the smtp section's server.
    Mail(String),
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a channel such as {slack_url_file: /etc/logferry/slack}"
)]
pub(crate) struct RawChannel {
    slack_url: Option<String>,
    slack_url_file: Option<String>,
    teams_url: Option<String>,
    teams_url_file: Option<String>,
    webhook_url: Option<String>,
    webhook_url_file: Option<String>,
    command: Option<Vec<String>>,
    ca_file: Option<String>,
    all_alerts: RawText,
    time_limit: RawText,
}

/// The channels, by name.
pub(crate) fn resolve(
    raw: BTreeMap<String, RawChannel>,
    at: &ConfigField<'_>,
) -> Option<Vec<ChannelSettings>> {
    let channels = raw.into_iter();
    let channels: Vec<_> = channels
        .map(|(name, raw)| raw.resolve(&name, &at.name(&name)))
        .collect();
    channels.into_iter().collect()
}

impl RawChannel {
    fn resolve(self, name: &str, at: &ConfigField<'_>) -> Option<ChannelSettings> {
        let is_of_name =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if name == MAIL_CHANNEL {
            return at.refuse("is always there: it is the smtp section; give this channel another name");
        }
        if name.is_empty() || name.len() > 40 || !name.bytes().all(is_of_name) {
            return at.refuse(
                "is no name for a channel; write small letters, digits, `-` and `_`, at most 40, such as `chat`",
            );
        }
        let kind = self.kind(at);
        let all_alerts = at
            .key("all_alerts")
            .choice(self.all_alerts.or("false"), &[("false", false), ("true", true)]);
        let limit_at = at.key("time_limit");
        let time_limit = match limit_at.interval(self.time_limit.or("30s")) {
            Some(limit) if limit > LIMIT_MAX => limit_at.refuse("is above 5m; write for example 30s"),
            limit => limit,
        };
        Some(ChannelSettings {
            name: name.to_owned(),
            kind: kind?,
            all_alerts: all_alerts?,
            time_limit: time_limit?,
        })
    }

    fn kind(&self, at: &ConfigField<'_>) -> Option<ChannelKind> {
        let urls = [
            (
                ("slack_url", &self.slack_url),
                ("slack_url_file", &self.slack_url_file),
            ),
            (
                ("teams_url", &self.teams_url),
                ("teams_url_file", &self.teams_url_file),
            ),
            (
                ("webhook_url", &self.webhook_url),
                ("webhook_url_file", &self.webhook_url_file),
            ),
        ];
        let is_set = urls.map(|((_, url), (_, file))| url.is_some() || file.is_some());
        if is_set.iter().filter(|set| **set).count() + usize::from(self.command.is_some()) != 1 {
            return at.refuse(
                "must have one of slack_url_file, teams_url_file, webhook_url_file or command (or a …_url), and only one",
            );
        }
        if let Some(command) = &self.command {
            return command_line(command, at).map(ChannelKind::Command);
        }
        let ca_file = at.optional("ca_file", self.ca_file.clone(), ConfigField::readable);
        let kinds = [
            ChannelKind::Slack as fn(WebEndpoint) -> ChannelKind,
            ChannelKind::Teams,
            ChannelKind::Webhook,
        ];
        let (url, kind) = urls
            .into_iter()
            .zip(kinds)
            .zip(is_set)
            .find_map(|(it, set)| set.then_some(it))?;
        let ((key, inline), (file_key, file)) = url;
        let address = web_address((key, inline.as_deref()), (file_key, file.as_deref()), at);
        Some(kind(WebEndpoint {
            address: address??,
            ca_file: ca_file?,
        }))
    }
}

/// The address in a setting, or in the file that another one names.
#[expect(
    clippy::option_option,
    reason = "outer: no problem; inner: there is an address"
)]
fn web_address(
    (key, inline): (&'static str, Option<&str>),
    (file_key, file): (&'static str, Option<&str>),
    at: &ConfigField<'_>,
) -> Option<Option<WebAddress>> {
    let Some(text) = at.secret((key, inline), (file_key, file))? else {
        return Some(None);
    };
    let found = if inline.is_some() { key } else { file_key };
    at.key(found).accept(text.expose().trim().parse()).map(Some)
}

fn command_line(command: &[String], at: &ConfigField<'_>) -> Option<Vec<String>> {
    let at = at.key("command");
    let is_path = command.first().is_some_and(|program| program.starts_with('/'));
    if !is_path {
        return at.refuse(
            "must begin with the whole path of a program; no shell reads it: write for example [/usr/local/bin/page, --team, ops]",
        );
    }
    at.each(command.to_vec(), |raw: String, at| at.text(&raw))
}

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a heartbeat such as {url: https://hc.example.com/ping, every: 5m}"
)]
pub(crate) struct RawHeartbeat {
    url: Option<String>,
    url_file: Option<String>,
    file: Option<String>,
    mail: Option<String>,
    every: RawText,
    ca_file: Option<String>,
}

impl RawHeartbeat {
    /// `mail_address` checks an address of the mail.
    pub(crate) fn resolve(
        self,
        at: &ConfigField<'_>,
        mail_address: impl Fn(&str) -> Result<String, String>,
    ) -> Option<HeartbeatSettings> {
        let every_at = at.key("every");
        let every = match every_at.interval(self.every.or("5m")) {
            Some(every) if every < EVERY_MIN => every_at.refuse("is below 10s; write for example 5m"),
            every => every,
        };
        let url = self.url.is_some() || self.url_file.is_some();
        if usize::from(url) + usize::from(self.file.is_some()) + usize::from(self.mail.is_some()) != 1 {
            return at.refuse("must have one of url, url_file, file or mail, and only one");
        }
        let ca_file = at.optional("ca_file", self.ca_file, ConfigField::readable);
        let inline = ("url", self.url.as_deref());
        let address = web_address(inline, ("url_file", self.url_file.as_deref()), at);
        let file = at.optional("file", self.file, ConfigField::path);
        let mail = at.optional("mail", self.mail, |at, raw| at.check(raw, mail_address));
        let (address, file, mail, ca_file) = (address?, file?, mail?, ca_file?);
        let to = match (address, file, mail) {
            (Some(address), _, _) => HeartbeatTarget::Url(WebEndpoint { address, ca_file }),
            (_, Some(file), _) => HeartbeatTarget::File(file),
            (_, _, mail) => HeartbeatTarget::Mail(mail?),
        };
        Some(HeartbeatSettings { to, every: every? })
    }
}
