//! TLS to the relay, and error texts that say what has to be changed.
//!
//! The files are read for each connection, of which there are few. So a renewed certificate needs no restart.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use logferry_config::ClientTls;
use logferry_connect::{AuthoritiesError, TrustSettings, refused_certificate, tls_error};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::RequestError;

/// Negotiates TLS with `host`. `relay` is its address in error texts.
pub(super) async fn connect(
    tls: &ClientTls,
    relay: &str,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, RequestError> {
    let settings = tls.clone();
    let config = tokio::task::spawn_blocking(move || client_config(&settings)).await;
    // The task fails only when the process ends.
    let config = config.map_err(|_| RequestError::Stopping)??;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| RequestError::Tls {
        relay: relay.to_owned(),
        reason: format!("{host} is not a name that a certificate can have ({error})"),
    })?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|source| {
        refusal(&source, tls, relay).unwrap_or(RequestError::Connect(relay.to_owned(), source))
    })
}

/// What is wrong with the files, without a connection.
pub(super) fn check_files(tls: &ClientTls) -> Result<(), RequestError> {
    client_config(tls).map(drop)
}

fn client_config(tls: &ClientTls) -> Result<ClientConfig, RequestError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers of every version");
    let builder = builder.with_root_certificates(authorities(tls.ca_file.as_deref())?);
    let Some(identity) = &tls.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let (cert_file, key_file) = (&*identity.cert_file, &*identity.key_file);
    let certificates = logferry_connect::certificates(cert_file)
        .map_err(|reason| unusable(cert_file, "sender.tls.cert_file", reason))?;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| unusable(key_file, "sender.tls.key_file", error.to_string()))?;
    builder.with_client_auth_cert(certificates, key).map_err(|error| {
        let reason = format!("it does not work with the key in {}: {error}", key_file.display());
        unusable(cert_file, "sender.tls.cert_file", reason)
    })
}

/// The trusted authorities: those of `ca_file`, or those of the system.
fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, RequestError> {
    logferry_connect::authorities(ca_file).map_err(|error| match error {
        AuthoritiesError::Unusable { path, reason } => unusable(&path, "sender.tls.ca_file", reason),
        AuthoritiesError::NoneOnSystem => {
            let reason =
                "it has no authority's certificate; install ca-certificates, or set sender.tls.ca_file";
            unusable("/etc/ssl/certs".as_ref(), "the system", reason.into())
        }
    })
}

pub(super) fn unusable(path: &Path, setting: &'static str, reason: String) -> RequestError {
    RequestError::CredentialFile {
        path: path.to_owned(),
        setting,
        reason,
    }
}

/// The error with its remedy, if it is an error of TLS. With TLS 1.3 the relay refuses a client certificate only after the
/// handshake, so the error may come with the first response.
pub(super) fn refusal(error: &(dyn Error + 'static), tls: &ClientTls, relay: &str) -> Option<RequestError> {
    let reason = match tls_error(error)? {
        rustls::Error::InvalidCertificate(why) => certificate_refused(why, tls),
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError),
        ) => match &tls.identity {
            Some(identity) => format!(
                "it refuses the certificate of {} ({alert:?}); get one that its client_ca_file accepts",
                identity.cert_file.display()
            ),
            None => format!(
                "it requires a certificate of this host ({alert:?}); set sender.tls.cert_file and key_file"
            ),
        },
        rustls::Error::InvalidMessage(_) => {
            "the server at this address does not use TLS; write http:// in sender.relay, or give the relay a certificate"
                .to_owned()
        }
        other => format!("TLS failed: {other}"),
    };
    Some(RequestError::Tls {
        relay: relay.to_owned(),
        reason,
    })
}

fn certificate_refused(why: &CertificateError, tls: &ClientTls) -> String {
    let trust = TrustSettings {
        ca_file: tls.ca_file.as_deref(),
        ca_setting: "sender.tls.ca_file",
        name_setting: "sender.relay",
    };
    refused_certificate(why, trust)
}

#[cfg(test)]
mod tests;
