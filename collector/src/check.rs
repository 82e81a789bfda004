//! The files that sources read besides their configuration, looked at without running one.

use logferry_config::{CollectorSettings, CollectorSourceKind};
use logferry_protocol::names::LogName;

use crate::source::{http, wrong_certificate};

/// What is wrong with certificates and keys, each with its source.
pub fn check_files(settings: &CollectorSettings) -> Vec<(LogName, String)> {
    let mut wrong = Vec::new();
    for source in &settings.sources {
        let (tls, keys) = match &source.kind {
            CollectorSourceKind::Http(http) => (http.tls.as_ref(), http.keys_file.as_deref()),
            CollectorSourceKind::Tcp(tcp) => (tcp.tls.as_ref(), None),
            CollectorSourceKind::Syslog(syslog) => (syslog.tls.as_ref(), None),
            _ => (None, None),
        };
        let found = [tls.and_then(wrong_certificate), keys.and_then(http::wrong_keys)];
        let found = found.into_iter().flatten();
        wrong.extend(found.map(|text| (source.name.clone(), text)));
    }
    wrong
}
