//! `tls` of a source: its own certificate where clients connect to it, and whom it trusts where it connects to a server.

use std::path::PathBuf;

use serde::Deserialize;

use crate::relay::{RawServerTls, ServerTls};
use crate::sender::relay_endpoint::{ClientIdentity, client_identity};
use crate::yaml::field::ConfigField;

/// TLS towards a database server. The files are read at each connection, so they can be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseTls {
    /// The authorities for the server's certificate; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether the server's certificate is checked.
    pub verify: bool,
    /// The client certificate; `None`: none is sent.
    pub identity: Option<ClientIdentity>,
}

/// The keys of both kinds, of which a source takes those of its own.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(crate) struct RawSourceTls {
    cert_file: Option<String>,
    key_file: Option<String>,
    client_ca_file: Option<String>,
    ca_file: Option<String>,
    verify: Option<bool>,
}

impl RawSourceTls {
    /// Of a source to which clients connect.
    #[expect(clippy::option_option, reason = "outer: no problem; inner: TLS is spoken")]
    pub(super) fn of_listener(self, at: &ConfigField<'_>) -> Option<Option<ServerTls>> {
        let foreign = [
            ("ca_file", self.ca_file.is_some()),
            ("verify", self.verify.is_some()),
        ];
        if let Some((key, _)) = foreign.into_iter().find(|(_, is_written)| *is_written) {
            return at.key(key).refuse(
                "is for a source that connects to a server; client_ca_file says which clients may connect here",
            );
        }
        let raw = RawServerTls {
            cert_file: self.cert_file,
            key_file: self.key_file,
            client_ca_file: self.client_ca_file,
        };
        raw.resolve(at)
    }

    /// Of a source that connects to a database.
    pub(super) fn of_database(self, at: &ConfigField<'_>) -> Option<DatabaseTls> {
        if self.client_ca_file.is_some() {
            return at.key("client_ca_file").refuse(
                "is for a source to which clients connect; write ca_file for the server's authorities",
            );
        }
        let ca_file = at.optional("ca_file", self.ca_file, ConfigField::readable);
        let identity = client_identity(self.cert_file, self.key_file, at);
        let verify = self.verify.unwrap_or(true);
        if !verify {
            if let Some(Some(_)) = &ca_file {
                return at
                    .key("verify")
                    .refuse("is false, so nothing is checked against ca_file; remove one of them");
            }
            at.key("verify").warn(
                "the server's certificate is not checked, so another server can pretend to be it; set ca_file instead",
            );
        }
        Some(DatabaseTls {
            ca_file: ca_file?,
            verify,
            identity: identity?,
        })
    }
}
