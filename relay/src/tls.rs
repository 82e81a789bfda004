//! TLS on the groups' ports: the relay's certificate, and whom it lets in.

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
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::answered::LastAnswer;
use crate::certificate::Certificate;
use crate::connection::{Connection, Transport};
use crate::renewal::{FileError, Renewal, Source};

/// How long before its end the relay's certificate is spoken of.
const SOON: SignedDuration = SignedDuration::from_hours(21 * 24);
/// The first byte of every TLS connection: a record of a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// What a client that speaks HTTP in the clear is told.
const NOT_HERE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 48\r\nconnection: close\r\n\r\nthis port speaks TLS: write https:// in its URL\n";

/// What is needed to speak TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    not_after: Timestamp,
    has_names: bool,
    asks_clients: bool,
}

/// A connection that is private now.
#[derive(Debug)]
pub(crate) struct Private {
    pub(crate) stream: Box<TlsStream<TcpStream>>,
    /// The names in the client's certificate, where clients have to show one.
    pub(crate) client: Option<Vec<SourceId>>,
}

/// Why a connection is not private.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsRefusal {
    /// The client closed it, or broke it off.
    #[error("the client hung up: {0}")]
    Gone(io::Error),
    /// The client speaks HTTP.
    #[error("it does not speak TLS; write https:// in its relay's URL")]
    InTheClear,
    /// It takes too long.
    #[error("its handshake was not done within {} s", .0.as_secs())]
    Slow(Duration),
    /// They do not come together: no certificate, or one of somebody else, or no cipher in common.
    #[error("{0}")]
    Failed(rustls::Error),
}

/// The files of `tls`, read and to be looked at again.
pub(crate) fn load(tls: &ServerTls) -> Result<Renewal<Tls>, FileError> {
    let cert = Source::new("relay.tls.cert_file", &tls.cert_file);
    let key = Source::new("relay.tls.key_file", &tls.key_file);
    let client_ca = tls.client_ca_file.as_deref();
    let client_ca = client_ca.map(|path| Source::new("relay.tls.client_ca_file", path));
    let sources: Vec<_> = [cert.clone(), key.clone()]
        .into_iter()
        .chain(client_ca.clone())
        .collect();
    Renewal::load("certificates", sources, move |files| {
        let bytes = |index| files.get(index).map_or(&[][..], Vec::as_slice);
        let clients = client_ca.as_ref().map(|source| (source, bytes(2)));
        Tls::new((&cert, bytes(0)), (&key, bytes(1)), clients)
    })
}

impl Tls {
    /// Makes it of the files' bytes. `clients`: the authorities of which they have to show a certificate.
    fn new(
        (cert, cert_pem): (&Source, &[u8]),
        (key, key_pem): (&Source, &[u8]),
        clients: Option<(&Source, &[u8])>,
    ) -> Result<Self, FileError> {
        let chain = certificates(cert, cert_pem)?;
        let leaf = chain.first().map_or(&[][..], |leaf| leaf);
        let Certificate { names, not_after } =
            Certificate::read(leaf).map_err(|error| cert.unusable(error))?;
        let private = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| key.unusable(error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers of every version");
        let asks_clients = clients.is_some();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some((source, pem)) => {
                let roots = Arc::new(authorities(source, pem)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| source.unusable(error))?)
            }
        };
        let mut config = builder.with_single_cert(chain, private).map_err(|error| {
            let key = key.path.display();
            cert.unusable(format!("with the key of {key} it does not work: {error}"))
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            not_after,
            has_names: !names.is_empty(),
            asks_clients,
        })
    }

    /// What is unwise about the relay's certificate at `now`, if anything.
    pub(crate) fn concern(&self, now: Timestamp) -> Option<String> {
        let until = self.not_after;
        if until <= now {
            return Some(format!(
                "the certificate has expired at {until}, senders refuse it; renew it"
            ));
        }
        if until.duration_since(now) < SOON {
            return Some(format!("the certificate expires at {until}; renew it"));
        }
        (!self.has_names).then(|| {
            "the certificate has no address and no host name (subjectAltName), senders refuse it; get one that has"
                .to_owned()
        })
    }

    /// Makes a connection private within `limit`.
    ///
    /// Cancel safe: a dropped one is closed.
    pub(crate) async fn accept(&self, stream: TcpStream, limit: Duration) -> Result<Private, Refused> {
        let accepted = tokio::time::timeout(limit, self.shake_hands(stream)).await;
        accepted.unwrap_or(Err(Refused {
            why: TlsRefusal::Slow(limit),
            stream: None,
        }))
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<Private, Refused> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1) if first == [HANDSHAKE_RECORD] => {}
            Ok(1) => return Err(Refused::new(TlsRefusal::InTheClear, stream)),
            Ok(_) => {
                return Err(Refused::new(
                    TlsRefusal::Gone(io::ErrorKind::UnexpectedEof.into()),
                    stream,
                ));
            }
            Err(error) => return Err(Refused::new(TlsRefusal::Gone(error), stream)),
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = acceptor.accept(stream).into_fallible().await;
        let stream = stream.map_err(|(error, stream)| Refused::new(refusal(error), stream))?;
        // Where one is asked for, a certificate that cannot be read has no name: it must not count as none.
        let client = self.asks_clients.then(|| names(stream.get_ref().1));
        Ok(Private {
            stream: Box::new(stream),
            client,
        })
    }
}

/// A connection that does not become private.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) why: TlsRefusal,
    stream: Option<TcpStream>,
}

impl Refused {
    fn new(why: TlsRefusal, stream: TcpStream) -> Self {
        Self {
            why,
            stream: Some(stream),
        }
    }

    /// Closes it so that the client hears why.
    pub(crate) async fn hang_up(self) {
        let Some(stream) = self.stream else { return };
        let mut connection = Connection::new(Transport::Plain(stream), Arc::new(LastAnswer::default()));
        let answer = match self.why {
            TlsRefusal::InTheClear => NOT_HERE,
            // TLS has sent its alert.
            _ => &[],
        };
        // Whether the client is still there is its own business.
        let _ = connection.write_all(answer).await;
        let _ = connection.shutdown().await;
    }
}

fn names(session: &ServerConnection) -> Vec<SourceId> {
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let read = leaf.and_then(|leaf| Certificate::read(leaf).ok());
    read.map_or_else(Vec::new, |certificate| certificate.names)
}

fn refusal(error: io::Error) -> TlsRefusal {
    match error.downcast::<rustls::Error>() {
        Ok(error) => TlsRefusal::Failed(error),
        Err(error) => TlsRefusal::Gone(error),
    }
}

fn authorities(source: &Source, pem: &[u8]) -> Result<RootCertStore, FileError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(source, pem)? {
        store.add(certificate).map_err(|error| source.unusable(error))?;
    }
    Ok(store)
}

fn certificates(source: &Source, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| source.unusable(error))?;
    if certificates.is_empty() {
        return Err(source.unusable("there is no certificate in it; it must be PEM, with BEGIN CERTIFICATE"));
    }
    Ok(certificates)
}
