//! Where the records go.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use logferry_traffic::RecordFormat;
use tokio::io::{AsyncRead, AsyncWrite};

use super::request::BodyShape;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SimulationTarget {
    Http(HttpTarget),
    Tcp(TcpTarget),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpTarget {
    pub(super) at: TcpTarget,
    pub(super) path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TcpTarget {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--to `{0}` is neither an address such as http://192.0.2.10:5000/lines nor HOST:PORT of a TCP source"
)]
pub(super) struct SimulationTargetError(String);

impl SimulationTarget {
    /// How the records are written.
    pub(super) fn shape(&self, format: RecordFormat) -> BodyShape {
        match self {
            Self::Http(target) => BodyShape::of_path(&target.path, format),
            Self::Tcp(_) => BodyShape::Lines(format),
        }
    }
}

impl TcpTarget {
    fn parse(authority: &str, is_tls: bool, default_port: Option<u16>) -> Option<Self> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, default_port?),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
        is_host.then(|| Self {
            host: host.to_owned(),
            port,
            is_tls,
        })
    }
}

impl std::fmt::Display for TcpTarget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for SimulationTarget {
    type Err = SimulationTargetError;

    fn from_str(text: &str) -> Result<Self, SimulationTargetError> {
        let error = || SimulationTargetError(text.to_owned());
        let http = [("http://", false, 80), ("https://", true, 443)];
        for (scheme, is_tls, port) in http {
            if let Some(rest) = text.strip_prefix(scheme) {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, "lines"));
                let at = TcpTarget::parse(authority, is_tls, Some(port)).ok_or_else(error)?;
                let path = if path.is_empty() { "lines" } else { path };
                let path = format!("/{path}");
                return Ok(Self::Http(HttpTarget { at, path }));
            }
        }
        let (rest, is_tls) = match text.strip_prefix("tls://") {
            Some(rest) => (rest, true),
            None => (text.strip_prefix("tcp://").unwrap_or(text), false),
        };
        let target = TcpTarget::parse(rest, is_tls, None).ok_or_else(error)?;
        Ok(Self::Tcp(target))
    }
}

/// For the look-up of a name, and for each of its addresses.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A connection with or without TLS.
pub(super) type Transport = Box<dyn TargetStream>;

pub(super) trait TargetStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> TargetStream for T {}

/// Connects to the target. The error is the reason, for people.
pub(super) async fn connect(target: &TcpTarget, ca_file: Option<&Path>) -> Result<Transport, String> {
    let found = logferry_connect::look_up(&target.host, target.port, CONNECT_DEADLINE).await;
    let found = found.map_err(|error| format!("cannot find the address of {}: {error}", target.host))?;
    let connected = logferry_connect::connect(&found, CONNECT_DEADLINE).await;
    let stream = connected.map_err(|error| format!("cannot connect to {target}: {error}"))?;
    if !target.is_tls {
        return Ok(Box::new(stream));
    }
    let secured = logferry_http_client::connect_tls(ca_file.map(Path::to_owned), &target.host, stream).await;
    let stream = secured.map_err(|reason| format!("no safe connection to {target}: {reason}"))?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_an_example() {
        let tcp = |host: &str, port, is_tls| TcpTarget {
            host: host.to_owned(),
            port,
            is_tls,
        };
        let http = |at, path: &str| {
            SimulationTarget::Http(HttpTarget {
                at,
                path: path.to_owned(),
            })
        };
        for (text, expected) in [
            (
                "127.0.0.1:5170",
                SimulationTarget::Tcp(tcp("127.0.0.1", 5170, false)),
            ),
            ("tls://[::1]:5170", SimulationTarget::Tcp(tcp("::1", 5170, true))),
            ("http://h:5000", http(tcp("h", 5000, false), "/lines")),
            ("https://h/api/logs", http(tcp("h", 443, true), "/api/logs")),
            ("http://[::1]/", http(tcp("::1", 80, false), "/lines")),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "host", "host:x", ":1", "ftp://h:1/x", "http://"] {
            assert_eq!(
                text.parse::<SimulationTarget>(),
                Err(SimulationTargetError(text.to_owned())),
                "{text}"
            );
        }
    }
}
