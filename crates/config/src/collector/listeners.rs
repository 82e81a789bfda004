//! Sources to which clients connect: `http`, `tcp`, `syslog`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::collector::raw_source::RawCollectorSource;
use crate::collector::source_tls::RawSourceTls;
use crate::relay::ServerTls;
use crate::yaml::field::ConfigField;

const MOST_CONNECTIONS: usize = 1 << 16;

/// Clients post records: `/log`, `/api/logs`, `/lines`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSourceSettings {
    /// The address to listen on; with port 0 the system chooses one.
    pub listen: SocketAddr,
    /// The file of keys, one a line, of which `/api/logs` and `/lines` need one; `None`: no key is needed. It is re-read when it
    /// changes.
    pub keys_file: Option<PathBuf>,
    /// TLS; `None`: none.
    pub tls: Option<ServerTls>,
    /// Bytes of the largest body, also after its decompression.
    pub max_body: usize,
    /// Open connections at one time.
    pub max_connections: usize,
    /// Requests a second of one client's address; `None`: any number.
    pub rate: Option<u32>,
}

/// Clients write a record a line, text or JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSettings {
    /// The address to listen on; with port 0 the system chooses one.
    pub listen: SocketAddr,
    /// TLS; `None`: none.
    pub tls: Option<ServerTls>,
    /// Open connections at one time.
    pub max_connections: usize,
}

/// Clients write syslog, by UDP or TCP or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSettings {
    /// The address to listen on, of both protocols; with port 0 the system chooses one for each.
    pub listen: SocketAddr,
    /// Whether it listens on UDP.
    pub udp: bool,
    /// Whether it listens on TCP.
    pub tcp: bool,
    /// TLS on TCP; `None`: none.
    pub tls: Option<ServerTls>,
    /// Open connections of TCP at one time.
    pub max_connections: usize,
}

impl HttpSourceSettings {
    pub(super) fn take(raw: &mut RawCollectorSource, at: &ConfigField<'_>) -> Option<Self> {
        let listen = listen(raw, at, "0.0.0.0:5000");
        let tls = tls(raw.tls.take(), at);
        let keys_file = at.optional("keys_file", raw.keys_file.take(), ConfigField::secret_path);
        if let (Some(None), Some(Some(_))) = (&tls, &keys_file) {
            at.key("keys_file")
                .warn("without `tls`, keys can be read on the network; set tls too");
        }
        let max_body = raw.max_body.take();
        let max_body = at
            .key("max_body")
            .memory(max_body.as_deref().unwrap_or("8MiB"), 4 << 10..=64 << 20);
        let rate = at.optional("rate", raw.rate.take(), |at, text| at.number(text, 1..=1_000_000));
        Some(Self {
            max_connections: max_connections(raw, at)?,
            listen: listen?,
            keys_file: keys_file?,
            tls: tls?,
            max_body: max_body?,
            rate: rate?,
        })
    }
}

impl TcpSettings {
    pub(super) fn take(raw: &mut RawCollectorSource, at: &ConfigField<'_>) -> Option<Self> {
        let listen = listen(raw, at, "0.0.0.0:5170");
        let tls = tls(raw.tls.take(), at);
        Some(Self {
            max_connections: max_connections(raw, at)?,
            listen: listen?,
            tls: tls?,
        })
    }
}

impl SyslogSettings {
    pub(super) fn take(raw: &mut RawCollectorSource, at: &ConfigField<'_>) -> Option<Self> {
        let listen = listen(raw, at, "0.0.0.0:514");
        let tls = tls(raw.tls.take(), at);
        let (udp, tcp) = (raw.udp.take().unwrap_or(true), raw.tcp.take().unwrap_or(true));
        if !udp && !tcp {
            return at.refuse("has neither udp nor tcp, so nothing can come; write `true` for one of them");
        }
        if let (Some(Some(_)), false) = (&tls, tcp) {
            return at.key("tls").refuse("goes with `tcp: true` only");
        }
        Some(Self {
            max_connections: max_connections(raw, at)?,
            listen: listen?,
            udp,
            tcp,
            tls: tls?,
        })
    }
}

fn listen(raw: &mut RawCollectorSource, at: &ConfigField<'_>, example: &str) -> Option<SocketAddr> {
    at.required("listen", raw.listen.take(), example, ConfigField::address)
}

#[expect(clippy::option_option, reason = "outer: no problem; inner: TLS is spoken")]
fn tls(raw: Option<RawSourceTls>, at: &ConfigField<'_>) -> Option<Option<ServerTls>> {
    raw.unwrap_or_default().of_listener(&at.key("tls"))
}

fn max_connections(raw: &mut RawCollectorSource, at: &ConfigField<'_>) -> Option<usize> {
    let text = raw.max_connections.take();
    at.key("max_connections")
        .number(text.as_deref().unwrap_or("1024"), 1..=MOST_CONNECTIONS)
}
