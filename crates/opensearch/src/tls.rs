//! TLS to the server. The file of authorities is read for each connection, so a renewed one needs no restart.

use std::path::Path;
use std::sync::Arc;

use logferry_config::OpenSearchUrl;
use logferry_connect::AuthoritiesError;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::OpenSearchError;

/// Negotiates TLS with the server.
pub(crate) async fn connect(
    url: &OpenSearchUrl,
    ca_file: Option<&Path>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, OpenSearchError> {
    let failed = |reason: String| OpenSearchError::Tls {
        url: url.to_string(),
        reason,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?;
    let config = builder
        .with_root_certificates(authorities(ca_file, &failed)?)
        .with_no_client_auth();
    let name = ServerName::try_from(url.host().to_owned()).map_err(|_| {
        failed(format!(
            "{} is not a name that a certificate can have",
            url.host()
        ))
    })?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| {
        let found = error.get_ref().and_then(|inner| inner.downcast_ref());
        failed(found.map_or_else(|| error.to_string(), |found| reason(found, ca_file)))
    })
}

/// The trusted authorities: those of `ca_file`, or those of the system.
fn authorities(
    ca_file: Option<&Path>,
    failed: &impl Fn(String) -> OpenSearchError,
) -> Result<RootCertStore, OpenSearchError> {
    logferry_connect::authorities(ca_file).map_err(|error| match error {
        AuthoritiesError::Unusable { path, reason } => OpenSearchError::CaFile { path, reason },
        AuthoritiesError::NoneOnSystem => failed(
            "this system has no authority's certificate; install ca-certificates, or set indexer.opensearch.ca_file"
                .to_owned(),
        ),
    })
}

fn reason(error: &rustls::Error, ca_file: Option<&Path>) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            let authorities = match ca_file {
                Some(path) => format!("no authority in {}", path.display()),
                None => "no authority that this system knows".to_owned(),
            };
            format!(
                "{authorities} has signed its certificate; set indexer.opensearch.ca_file to the one that has"
            )
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name; write the name it is for in indexer.opensearch.url"
            .to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired; renew it there, or set this host's clock".to_owned(),
        rustls::Error::InvalidMessage(_) => {
            "the server does not use TLS; write http:// in indexer.opensearch.url, or switch TLS on there"
                .to_owned()
        }
        other => other.to_string(),
    }
}
