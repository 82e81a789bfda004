//! TLS to a web server, and error texts that say what has to be changed.
//!
//! The authorities are read for each connection, of which there are few. So a renewed file needs no restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logferry_connect::{AuthoritiesError, TrustSettings, refused_certificate, tls_error};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Negotiates TLS with `host`, by the authorities of the file or of the system. The error is the reason, for people.
pub async fn connect(
    ca_file: Option<PathBuf>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let file = ca_file.clone();
    let config = tokio::task::spawn_blocking(move || client_config(file.as_deref())).await;
    let config = config.map_err(|error| error.to_string())??;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| format!("{host} is not a name that a certificate can have ({error})"))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| refusal(&error, ca_file.as_deref()))
}

fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder
        .with_root_certificates(authorities(ca_file)?)
        .with_no_client_auth())
}

fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    logferry_connect::authorities(ca_file).map_err(|error| match error {
        AuthoritiesError::Unusable { path, reason } => {
            format!("ca_file {} cannot be used: {reason}", path.display())
        }
        AuthoritiesError::NoneOnSystem => {
            "this system has no authority's certificate; install ca-certificates, or set ca_file".to_owned()
        }
    })
}

/// Why the handshake failed, with what to do.
fn refusal(error: &io::Error, ca_file: Option<&Path>) -> String {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let trust = TrustSettings {
                ca_file,
                ca_setting: "ca_file",
                name_setting: "the address",
            };
            refused_certificate(why, trust)
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "the server there does not use TLS; write http:// in the address, if that is right".to_owned()
        }
        Some(other) => format!("TLS failed: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server ended the connection before TLS began; write http:// in the address, if it does not use TLS"
                .to_owned()
        }
        None => format!("TLS failed: {error}"),
    }
}
