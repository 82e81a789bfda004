//! The `console` section: where the page listens, what it reads, and who may look without a login.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_protocol::names::SourceId;
use serde::Deserialize;

use crate::formats::FormatsByLog;
use crate::indexer::STORE_DIR;
use crate::monitor::rules::RuleSettings;
use crate::watched_host::WatchedHost;
use crate::yaml::field::{ConfigField, RawText};

/// The default of `state_dir`.
const STATE_DIR: &str = "/var/lib/logferry/console";

/// The default of `listen`.
const LISTEN: &str = "127.0.0.1:8080";

/// A source without contact for so long is stale, unless the monitor's section says otherwise.
const STALE_AFTER: Duration = Duration::from_mins(5);

/// The settings of the console.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsoleSettings {
    /// The address of the page; with port 0 the system chooses one.
    pub listen: SocketAddr,
    /// Folder of the spool and of `ledger.db`; it is only read.
    pub data_dir: PathBuf,
    /// The indexer's folder; it is only read.
    pub store_dir: PathBuf,
    /// Folder of `console.db`.
    pub state_dir: PathBuf,
    /// TLS on the port; `None`: no TLS.
    pub tls: Option<ConsoleTls>,
    /// Everybody may look and act without a login. Only on a loopback address.
    pub open: bool,
    /// The proxy in front, whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub proxy: Option<IpAddr>,
    /// Address of `/metrics` and `/healthz`; none when absent.
    pub metrics: Option<SocketAddr>,
    /// What the other sections say.
    pub shared: ConsoleShared,
}

/// The console's certificate, in PEM. A renewed one is taken within seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleTls {
    /// The certificate, then the intermediate certificates.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// What other sections say that the console shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsoleShared {
    /// The formats of logs: the `formats` section.
    pub formats: FormatsByLog,
    /// Groups, destinations and roles of this host.
    pub host: WatchedHost,
    /// Sources that must exist even if they never made contact.
    pub expected_sources: Vec<SourceId>,
    /// A source without contact for so long is stale.
    pub stale_after: Duration,
    /// The monitor's rules, whose numbers the console draws.
    pub rules: Vec<RuleSettings>,
    /// Whether the indexer sends lines on to OpenSearch.
    pub has_opensearch: bool,
}

impl Default for ConsoleShared {
    fn default() -> Self {
        Self {
            formats: FormatsByLog::default(),
            host: WatchedHost::default(),
            expected_sources: Vec::new(),
            stale_after: STALE_AFTER,
            rules: Vec::new(),
            has_opensearch: false,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawConsole {
    listen: RawText,
    data_dir: Option<String>,
    store_dir: Option<String>,
    state_dir: RawText,
    tls: RawConsoleTls,
    open: bool,
    proxy: Option<String>,
    metrics: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
struct RawConsoleTls {
    cert_file: Option<String>,
    key_file: Option<String>,
}

impl RawConsole {
    /// `spool`, `index`: the folders if the section has none.
    pub(crate) fn resolve(
        self,
        at: &ConfigField<'_>,
        spool: &Path,
        index: Option<&Path>,
    ) -> Option<ConsoleSettings> {
        let listen = at.key("listen").address(self.listen.or(LISTEN));
        let data_dir = at.optional("data_dir", self.data_dir, ConfigField::path);
        let store_dir = at.optional("store_dir", self.store_dir, ConfigField::path);
        let state_at = at.key("state_dir");
        let state_dir = state_at.path(self.state_dir.or(STATE_DIR));
        let tls = self.tls.resolve(&at.key("tls"));
        let proxy = at.optional("proxy", self.proxy, |at, raw| {
            at.check(raw, |text| {
                text.parse::<IpAddr>().map_err(|_| {
                    format!("`{text}` is not an IP address; write the one of the proxy, like 127.0.0.1")
                })
            })
        });
        let metrics = at.optional("metrics", self.metrics, ConfigField::address);
        let data_dir = data_dir?.unwrap_or_else(|| spool.to_owned());
        let store_dir = store_dir?.unwrap_or_else(|| index.unwrap_or(Path::new(STORE_DIR)).to_owned());
        let (listen, state_dir, tls, proxy) = (listen?, state_dir?, tls?, proxy?);
        for (setting, folder) in [("data_dir", &data_dir), ("store_dir", &store_dir)] {
            if state_dir.starts_with(folder) || folder.starts_with(&state_dir) {
                let (shown, folder) = (state_dir.display(), folder.display());
                return state_at.refuse(format!(
                    "{shown} and {setting} ({folder}) are one in the other; the console needs a folder of its own, such as \
                     {STATE_DIR}"
                ));
            }
        }
        if self.open && !listen.ip().is_loopback() {
            return at.key("open").refuse(format!(
                "is true, but {listen} can be reached from other hosts; write `open: false` and make users with `logferry console \
                 user add NAME`, or listen on 127.0.0.1"
            ));
        }
        if self.open && proxy.is_some() {
            return at.key("open").refuse(
                "is true behind a proxy, so whoever reaches the proxy needs no login; write `open: false` and make users with \
                 `logferry console user add NAME`",
            );
        }
        if tls.is_none() && proxy.is_none() && !listen.ip().is_loopback() {
            at.key("listen").warn(
                "without `tls`, passwords can be read on the network; set tls, or put a proxy with TLS in front and name its \
                 address in `proxy`",
            );
        }
        Some(ConsoleSettings {
            listen,
            data_dir,
            store_dir,
            state_dir,
            tls,
            open: self.open,
            proxy,
            metrics: metrics?,
            shared: ConsoleShared::default(),
        })
    }
}

impl RawConsoleTls {
    #[expect(clippy::option_option, reason = "outer: no problem; inner: TLS is spoken")]
    fn resolve(self, at: &ConfigField<'_>) -> Option<Option<ConsoleTls>> {
        let cert_file = at.optional("cert_file", self.cert_file, ConfigField::readable);
        let key_file = at.optional("key_file", self.key_file, ConfigField::secret_path);
        match (cert_file?, key_file?) {
            (Some(cert_file), Some(key_file)) => Some(Some(ConsoleTls { cert_file, key_file })),
            (None, None) => Some(None),
            _ => at.refuse("has only one of cert_file and key_file; write both or neither"),
        }
    }
}
