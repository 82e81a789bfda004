//! Certificates of an authority that a test makes, in files of its own.

use std::path::PathBuf;
use std::sync::Arc;

use logferry_config::ServerTls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// An authority (`ca.pem`), and a certificate of it for `localhost` and 127.0.0.1 (`leaf.pem`, `leaf.key`).
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate with the name of its issuer for one that signed itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let authority = params.self_signed(&key).expect("an authority").pem();
        let issuer = Issuer::new(params, key);
        let certificates = Self { folder, issuer };
        certificates.write("ca.pem", &authority);
        certificates.issue("leaf", &["localhost", "127.0.0.1"]);
        certificates
    }

    /// Makes `NAME.pem` and `NAME.key`, for these hosts; the same name again renews them.
    pub(crate) fn issue(&self, name: &str, hosts: &[&str]) {
        let key = KeyPair::generate().expect("a key");
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("valid");
        params
            .distinguished_name
            .push(DnType::CommonName, "host of a test");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(&format!("{name}.pem"), &leaf.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, pem: &str) {
        #[expect(clippy::disallowed_methods, reason = "a test's file")]
        std::fs::write(self.path(file), pem).expect("written");
    }

    /// Of a source whose clients need a certificate of the authority.
    pub(crate) fn server(&self) -> ServerTls {
        ServerTls {
            cert_file: self.path("leaf.pem"),
            key_file: self.path("leaf.key"),
            client_ca_file: Some(self.path("ca.pem")),
        }
    }

    /// A client that trusts the authority, and shows the certificate `leaf` or none.
    pub(crate) fn client(&self, has_certificate: bool) -> TlsConnector {
        TlsConnector::from(self.client_config(has_certificate.then_some(self)))
    }

    /// A client that trusts the authority, and shows a certificate `leaf`.
    pub(crate) fn client_config(&self, shown: Option<&Self>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate("ca.pem")).expect("added");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        let Some(shown) = shown else {
            return Arc::new(builder.with_no_client_auth());
        };
        let key = PrivateKeyDer::from_pem_file(shown.path("leaf.key")).expect("PEM");
        let chain = vec![shown.certificate("leaf.pem")];
        Arc::new(builder.with_client_auth_cert(chain, key).expect("a pair"))
    }

    pub(crate) fn certificate(&self, file: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(file)).expect("PEM")
    }
}
