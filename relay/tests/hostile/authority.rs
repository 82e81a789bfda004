//! Certificate authorities and certificates, made for each test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// A certificate authority, and the folder of its files.
pub(crate) struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
    pem: String,
}

/// The files of a certificate and its key.
pub(crate) struct CertificateFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl CertificateAuthority {
    /// A new authority, whose certificate is `NAME.ca` in the folder.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("randomness");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        std::fs::write(dir.join(name).with_extension("ca"), &pem).expect("room");
        Self {
            issuer: Issuer::new(params, key),
            dir: dir.to_owned(),
            pem,
        }
    }

    /// Writes `NAME.cert` and `NAME.key` for these host names and addresses, valid until the end of `year`.
    pub(crate) fn issue(&self, name: &str, hosts: &[&str], year: i32) -> CertificateFiles {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pair = CertificateFiles {
            cert: self.dir.join(name).with_extension("cert"),
            key: self.dir.join(name).with_extension("key"),
        };
        std::fs::write(&pair.cert, certificate.pem()).expect("room");
        std::fs::write(&pair.key, key.serialize_pem()).expect("room");
        pair
    }

    /// The settings of a client that trusts this authority, with a certificate if one is given.
    pub(crate) fn client(&self, certificate: Option<&CertificateFiles>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM");
        roots.add(root).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        match certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let cert = CertificateDer::from_pem_file(&pair.cert).expect("PEM");
                let key = PrivateKeyDer::from_pem_file(&pair.key).expect("PEM");
                builder
                    .with_client_auth_cert(vec![cert], key)
                    .expect("its own key")
            }
        }
    }
}
