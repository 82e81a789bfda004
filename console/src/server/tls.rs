//! TLS on the port. A renewed certificate is taken within [`LOOK_INTERVAL`]; a bad one is told, and the old one stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logferry_config::ConsoleTls;
use logferry_durable::ContentDigest;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::error::ConsoleError;

/// How often the files are looked at, when a connection comes.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The certificate in force.
#[derive(Debug)]
pub(crate) struct ConsoleCertificate {
    files: ConsoleTls,
    loaded: Mutex<LoadedCertificate>,
}

#[derive(Debug)]
struct LoadedCertificate {
    config: Arc<ServerConfig>,
    digest: ContentDigest,
    looked_at: Instant,
}

impl ConsoleCertificate {
    pub(crate) fn load(files: &ConsoleTls) -> Result<Self, ConsoleError> {
        let digest = digest(files);
        let config = read(files)?;
        Ok(Self {
            files: files.clone(),
            loaded: Mutex::new(LoadedCertificate {
                config,
                digest,
                looked_at: Instant::now(),
            }),
        })
    }

    /// Makes the handshakes of now. It reads two small files now and then.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked_at.elapsed() >= LOOK_INTERVAL {
            loaded.looked_at = Instant::now();
            let digest = digest(&self.files);
            if digest != loaded.digest {
                // Told once, whatever it is.
                loaded.digest = digest;
                match read(&self.files) {
                    Ok(config) => {
                        loaded.config = config;
                        tracing::info!("the console's renewed certificate is in force");
                    }
                    Err(error) => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the console's new certificate cannot be used; the old one stays"
                    ),
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&loaded.config))
    }
}

fn digest(files: &ConsoleTls) -> ContentDigest {
    ContentDigest::of_files([files.cert_file.as_path(), files.key_file.as_path()])
}

fn read(files: &ConsoleTls) -> Result<Arc<ServerConfig>, ConsoleError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&files.cert_file).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unusable(&files.cert_file, &error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(
            &files.cert_file,
            "contains no certificate; it must be PEM, with BEGIN CERTIFICATE",
        ));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key_file);
    let key = key.map_err(|error| unusable(&files.key_file, &error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&files.cert_file, &error.to_string()))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| {
        let key = files.key_file.display();
        unusable(
            &files.cert_file,
            &format!("does not go with the key in {key} ({error}); put both of one pair there"),
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn unusable(file: &Path, reason: &str) -> ConsoleError {
    ConsoleError::Certificate {
        file: PathBuf::from(file),
        reason: reason.to_owned(),
    }
}
