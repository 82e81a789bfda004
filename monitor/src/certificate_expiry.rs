//! When the certificates expire that roles of this host use. Reads their files.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_config::WatchedCertificate;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates of one file that are looked at: the system's own bundle has 150.
const CERTIFICATES_MAX: usize = 500;

/// A certificate file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFact {
    /// The setting that names it.
    pub(crate) setting: &'static str,
    pub(crate) file: PathBuf,
    /// When the first of a chain expires, or the last of several authorities; `None`: the monitor cannot read it. The role that uses it tells if it cannot.
    pub(crate) expires: Option<Timestamp>,
}

/// Reads the files.
pub(crate) fn read(certificates: &[WatchedCertificate]) -> Vec<CertificateFact> {
    let facts = certificates.iter().map(|certificate| CertificateFact {
        setting: certificate.setting,
        file: certificate.file.clone(),
        expires: expires(&certificate.file, certificate.setting.ends_with("ca_file")),
    });
    facts.collect()
}

fn expires(file: &Path, has_authorities: bool) -> Option<Timestamp> {
    let pem = std::fs::read(file).ok()?;
    let certificates = CertificateDer::pem_slice_iter(&pem).take(CERTIFICATES_MAX);
    let ends = certificates.filter_map(|der| not_after(&der.ok()?));
    // While authorities change, the old one and the new one stand side by side.
    if has_authorities { ends.max() } else { ends.min() }
}

fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_first_of_a_chain_and_the_last_of_several_authorities_counts() {
        let pem = |year| {
            let mut params = CertificateParams::default();
            params.not_after = date_time_ymd(year, 1, 2);
            let key = KeyPair::generate().expect("a key");
            params.self_signed(&key).expect("signed").pem()
        };
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("chain.pem");
        logferry_testkit::relay_host::write(&file, &(pem(2031) + &pem(2027) + &pem(2029)));
        let read = |setting, file: &Path| {
            let file = file.to_owned();
            let facts = read(&[WatchedCertificate { setting, file }]);
            facts[0].expires.map(|at| at.to_string())
        };
        let expected = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("relay.tls.cert_file", &file),
            expected("2027-01-02T00:00:00Z")
        );
        assert_eq!(
            read("relay.tls.client_ca_file", &file),
            expected("2031-01-02T00:00:00Z")
        );
        assert_eq!(read("relay.tls.cert_file", &dir.path().join("absent")), None);
    }
}
