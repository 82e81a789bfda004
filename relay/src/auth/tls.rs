//! TLS on the groups' ports: the relay's certificate, and the certificates of clients.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logferry_config::ServerTls;
use logferry_protocol::names::SourceId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::auth::certificate::CertificateInfo;
use crate::auth::reload::{CredentialFile, CredentialFileError, ReloadedFiles};

/// How long before the expiry of the relay's certificate the warnings start.
const EXPIRY_WARNING: SignedDuration = SignedDuration::from_hours(21 * 24);
/// The first byte of every TLS connection: a handshake record (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// The relay's TLS settings, made from valid files.
#[derive(Debug)]
pub(crate) struct RelayTls {
    cert: CredentialFile,
    config: Arc<ServerConfig>,
    not_after: Timestamp,
    has_names: bool,
    requires_client_certificate: bool,
}

#[derive(Debug)]
pub(crate) struct TlsConnection {
    pub(crate) stream: Box<TlsStream<TcpStream>>,
    /// The names in the client's certificate, if the port requires one.
    pub(crate) client_names: Option<Vec<SourceId>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFailure {
    #[error("the client disconnected: {0}")]
    Disconnected(io::Error),
    #[error("the client does not speak TLS; write https:// in its relay's URL")]
    PlainHttp,
    #[error("the TLS handshake was not complete within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// TLS negotiation failed: no certificate, an unknown authority, or no common cipher.
    #[error("{0}")]
    Negotiation(rustls::Error),
}

#[derive(Debug)]
pub(crate) struct FailedHandshake {
    pub(crate) reason: TlsFailure,
    /// The connection, if the client can still be answered.
    pub(crate) stream: Option<TcpStream>,
}

pub(crate) fn load(tls: &ServerTls) -> Result<ReloadedFiles<RelayTls>, CredentialFileError> {
    let cert = CredentialFile::new("relay.tls.cert_file", &tls.cert_file);
    let key = CredentialFile::new("relay.tls.key_file", &tls.key_file);
    let client_ca = tls.client_ca_file.as_deref();
    let client_ca = client_ca.map(|path| CredentialFile::new("relay.tls.client_ca_file", path));
    let files: Vec<_> = [cert.clone(), key.clone()]
        .into_iter()
        .chain(client_ca.clone())
        .collect();
    ReloadedFiles::load("certificates", files, move |contents| {
        let bytes = |index| contents.get(index).map_or(&[][..], Vec::as_slice);
        let client_ca = client_ca.as_ref().map(|file| (file, bytes(2)));
        RelayTls::new((&cert, bytes(0)), (&key, bytes(1)), client_ca)
    })
}

impl RelayTls {
    /// Builds the settings from the files and their contents. Clients need a certificate by `client_ca`, if given.
    fn new(
        (cert, cert_pem): (&CredentialFile, &[u8]),
        (key, key_pem): (&CredentialFile, &[u8]),
        client_ca: Option<(&CredentialFile, &[u8])>,
    ) -> Result<Self, CredentialFileError> {
        let chain = certificates(cert, cert_pem)?;
        let leaf = chain.first().map_or(&[][..], |leaf| leaf);
        let CertificateInfo { names, not_after } =
            CertificateInfo::read(leaf).map_err(|error| cert.unusable(error))?;
        let private_key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| key.unusable(error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers of every version");
        let requires_client_certificate = client_ca.is_some();
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some((file, pem)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file, pem)? {
                    roots.add(certificate).map_err(|error| file.unusable(error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| file.unusable(error))?)
            }
        };
        let mut config = builder.with_single_cert(chain, private_key).map_err(|error| {
            let key = key.path.display();
            cert.unusable(format!(
                "the key in {key} is not the key of this certificate ({error}); put both of one pair there"
            ))
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            cert: cert.clone(),
            not_after,
            has_names: !names.is_empty(),
            requires_client_certificate,
        })
    }

    /// A warning about the relay's certificate at `now`, if there is one.
    pub(crate) fn certificate_warning(&self, now: Timestamp) -> Option<String> {
        let (until, file) = (self.not_after, self.cert.path.display());
        if let Some(refused) = self.certificate_refused(now) {
            return Some(refused.to_string());
        }
        (until.duration_since(now) < EXPIRY_WARNING).then(|| {
            let setting = self.cert.setting;
            format!("{setting}: the certificate expires at {until}; put a renewed one into {file}")
        })
    }

    /// Why senders refuse the relay's certificate at `now`, if they do.
    pub(crate) fn certificate_refused(&self, now: Timestamp) -> Option<CredentialFileError> {
        let until = self.not_after;
        if until <= now {
            let reason =
                format!("the certificate has expired at {until}, senders refuse it; put a renewed one there");
            return Some(self.cert.unusable(reason));
        }
        (!self.has_names).then(|| {
            self.cert.unusable(
                "the certificate has no address and no host name (subjectAltName), senders refuse it; get one that has",
            )
        })
    }

    /// Makes the TLS handshake within `limit`.
    ///
    /// Cancel safe: a dropped connection is closed.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> Result<TlsConnection, FailedHandshake> {
        let accepted = tokio::time::timeout(limit, self.handshake(stream)).await;
        accepted.unwrap_or(Err(FailedHandshake {
            reason: TlsFailure::TimedOut(limit),
            stream: None,
        }))
    }

    async fn handshake(&self, stream: TcpStream) -> Result<TlsConnection, FailedHandshake> {
        let mut first = [0];
        let failure = match stream.peek(&mut first).await {
            Ok(1) if first == [HANDSHAKE_RECORD] => None,
            Ok(1) => Some(TlsFailure::PlainHttp),
            Ok(_) => Some(TlsFailure::Disconnected(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Some(TlsFailure::Disconnected(error)),
        };
        if let Some(reason) = failure {
            let stream = Some(stream);
            return Err(FailedHandshake { reason, stream });
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let accepted = acceptor.accept(stream).into_fallible().await;
        let stream = accepted.map_err(|(error, stream)| FailedHandshake {
            reason: match error.downcast::<rustls::Error>() {
                Ok(error) => TlsFailure::Negotiation(error),
                Err(error) => TlsFailure::Disconnected(error),
            },
            stream: Some(stream),
        })?;
        // A required certificate that cannot be parsed has no names. It must not count as "not required".
        let names = self
            .requires_client_certificate
            .then(|| client_names(stream.get_ref().1));
        Ok(TlsConnection {
            stream: Box::new(stream),
            client_names: names,
        })
    }
}

fn client_names(session: &ServerConnection) -> Vec<SourceId> {
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let info = leaf.and_then(|leaf| CertificateInfo::read(leaf).ok());
    info.map_or_else(Vec::new, |info| info.names)
}

/// In the first line of a private key in PEM form.
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";

fn certificates(
    file: &CredentialFile,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CredentialFileError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = parsed.map_err(|error| file.unusable(error))?;
    if certificates.is_empty() {
        let is_key = pem.windows(PRIVATE_KEY.len()).any(|part| part == PRIVATE_KEY);
        return Err(file.unusable(if is_key {
            "it contains a private key and no certificate; are cert_file and key_file swapped?"
        } else {
            "it contains no certificate; it must be PEM, with BEGIN CERTIFICATE"
        }));
    }
    Ok(certificates)
}
