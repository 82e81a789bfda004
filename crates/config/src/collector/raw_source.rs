//! An entry of `collector.sources` as in the file: the keys of all types, of which one type takes its own.
//!
//! One structure for all types, so that an unknown key gets the same message with its line as anywhere else in the file.

use serde::Deserialize;

use crate::collector::source_tls::RawSourceTls;

#[derive(Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a source such as {type: http, name: api, listen: \"0.0.0.0:5000\"}"
)]
pub(crate) struct RawCollectorSource {
    pub(super) r#type: Option<String>,
    pub(super) name: Option<String>,
    // http, tcp, syslog
    pub(super) listen: Option<String>,
    // http, tcp, syslog, mysql
    pub(super) tls: Option<RawSourceTls>,
    // http, tcp, syslog
    pub(super) max_connections: Option<String>,
    // http
    pub(super) keys_file: Option<String>,
    pub(super) max_body: Option<String>,
    pub(super) rate: Option<String>,
    // syslog
    pub(super) udp: Option<bool>,
    pub(super) tcp: Option<bool>,
    // journal
    pub(super) units: Option<Vec<String>>,
    pub(super) matches: Option<Vec<String>>,
    // mysql
    pub(super) host: Option<String>,
    pub(super) port: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) database: Option<String>,
    pub(super) table: Option<String>,
    pub(super) id: Option<String>,
    pub(super) sent: Option<String>,
    pub(super) time: Option<String>,
    pub(super) interval: Option<String>,
    pub(super) batch: Option<String>,
    pub(super) time_zone: Option<String>,
    // windows_events
    pub(super) path: Option<String>,
}

impl RawCollectorSource {
    /// The keys that are written and that the type has not taken.
    pub(super) fn left(&self) -> Vec<&'static str> {
        let keys = [
            ("listen", self.listen.is_some()),
            ("tls", self.tls.is_some()),
            ("max_connections", self.max_connections.is_some()),
            ("keys_file", self.keys_file.is_some()),
            ("max_body", self.max_body.is_some()),
            ("rate", self.rate.is_some()),
            ("udp", self.udp.is_some()),
            ("tcp", self.tcp.is_some()),
            ("units", self.units.is_some()),
            ("matches", self.matches.is_some()),
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
            ("password_file", self.password_file.is_some()),
            ("database", self.database.is_some()),
            ("table", self.table.is_some()),
            ("id", self.id.is_some()),
            ("sent", self.sent.is_some()),
            ("time", self.time.is_some()),
            ("interval", self.interval.is_some()),
            ("batch", self.batch.is_some()),
            ("time_zone", self.time_zone.is_some()),
            ("path", self.path.is_some()),
        ];
        let written = keys.into_iter().filter(|(_, is_written)| *is_written);
        written.map(|(key, _)| key).collect()
    }
}
