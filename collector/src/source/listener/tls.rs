//! The certificate of a source to which clients connect, and whose certificates its clients need.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logferry_config::ServerTls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::source::SourceContext;

/// How long a client may take for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The certificate, made from valid files. It is read again when they change.
pub(crate) struct ServerCertificates {
    settings: ServerTls,
    /// Protocols of the application (RFC 7301).
    alpn: Vec<Vec<u8>>,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    files: TlsFiles,
    acceptor: TlsAcceptor,
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
struct TlsFiles {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {} cannot be used: {reason}", .path.display())]
pub(crate) struct TlsFileError {
    pub(crate) setting: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
}

impl ServerCertificates {
    /// Reads the files. `alpn`: the protocols that are spoken inside, if there is a choice.
    pub(crate) fn load(settings: &ServerTls, alpn: &[&[u8]]) -> Result<Self, TlsFileError> {
        let files = TlsFiles::read(settings)?;
        let alpn: Vec<_> = alpn.iter().map(|name| name.to_vec()).collect();
        let acceptor = files.acceptor(settings, &alpn)?;
        Ok(Self {
            settings: settings.clone(),
            alpn,
            loaded: Mutex::new(Loaded { files, acceptor }),
        })
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.lock().acceptor.clone()
    }

    /// Reads the files again; whether they have changed. After an error the old certificate stays in use.
    pub(crate) fn renew(&self) -> Result<bool, TlsFileError> {
        let files = TlsFiles::read(&self.settings)?;
        if files == self.lock().files {
            return Ok(false);
        }
        let acceptor = files.acceptor(&self.settings, &self.alpn)?;
        *self.lock() = Loaded { files, acceptor };
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a source could not use these files.
pub(crate) fn wrong_certificate(settings: &ServerTls) -> Option<String> {
    let loaded = ServerCertificates::load(settings, &[]);
    loaded.err().map(|error| error.to_string())
}

/// Negotiates TLS with a client. Why it was refused is told in `status`, since the client may not show it.
///
/// Cancel safe: a dropped handshake closes the connection.
pub(crate) async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    context: &SourceContext,
) -> Option<TlsStream<TcpStream>> {
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    let error = match accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => return Some(stream),
        Err(error) => error,
    };
    context.status.problem(format!(
        "the client {peer} was refused, its TLS handshake failed: {error}; it must speak TLS, and have a certificate if \
         tls.client_ca_file is set"
    ));
    None
}

impl fmt::Debug for ServerCertificates {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ServerCertificates");
        shown.field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl TlsFiles {
    fn read(settings: &ServerTls) -> Result<Self, TlsFileError> {
        let read = |setting, path: &Path| {
            let contents = std::fs::read(path);
            contents.map_err(|error| unusable(setting, path, error))
        };
        let client_ca = settings.client_ca_file.as_deref();
        Ok(Self {
            cert: read(CERT, &settings.cert_file)?,
            key: read(KEY, &settings.key_file)?,
            client_ca: client_ca.map(|path| read(CLIENT_CA, path)).transpose()?,
        })
    }

    fn acceptor(&self, settings: &ServerTls, alpn: &[Vec<u8>]) -> Result<TlsAcceptor, TlsFileError> {
        let chain = certificates(&self.cert).map_err(|reason| unusable(CERT, &settings.cert_file, reason))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|error| unusable(KEY, &settings.key_file, error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers of every version");
        let builder = match self.client_ca.as_ref().zip(settings.client_ca_file.as_ref()) {
            None => builder.with_no_client_auth(),
            Some((pem, path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem).map_err(|reason| unusable(CLIENT_CA, path, reason))? {
                    let added = roots.add(certificate);
                    added.map_err(|error| unusable(CLIENT_CA, path, error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(CLIENT_CA, path, error))?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| {
            let key = settings.key_file.display();
            let reason =
                format!("the key in {key} is not this certificate's ({error}); put both of one pair there");
            unusable(CERT, &settings.cert_file, reason)
        });
        let mut config = config?;
        config.alpn_protocols = alpn.to_vec();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

const CERT: &str = "tls.cert_file";
const KEY: &str = "tls.key_file";
const CLIENT_CA: &str = "tls.client_ca_file";

fn unusable(setting: &'static str, path: &Path, reason: impl fmt::Display) -> TlsFileError {
    TlsFileError {
        setting,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => {
            Err("there is no certificate in it; it must be PEM, with BEGIN CERTIFICATE".to_owned())
        }
        parsed => parsed.map_err(|error| error.to_string()),
    }
}
