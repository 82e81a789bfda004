//! The certificate authorities that a client trusts. Reads files; the caller says which setting named them.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Why no authority can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthoritiesError {
    /// The system has none, and no file is set.
    NoneOnSystem,
    /// The file cannot be used.
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why, for people.
        reason: String,
    },
}

/// The trusted authorities: those of `ca_file`, or those of the system.
pub fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, AuthoritiesError> {
    let mut store = RootCertStore::empty();
    // All of them can be used.
    store.add_parsable_certificates(authority_certificates(ca_file)?);
    Ok(store)
}

/// The certificates of [`authorities`], at least one.
pub fn authority_certificates(
    ca_file: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let usable = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone());
    let Some(path) = ca_file else {
        let mut found = rustls_native_certs::load_native_certs().certs;
        // Some systems have certificates that no library can parse; the others are used.
        found.retain(|certificate| usable(certificate).is_ok());
        if found.is_empty() {
            return Err(AuthoritiesError::NoneOnSystem);
        }
        return Ok(found);
    };
    let unusable = |reason| AuthoritiesError::Unusable {
        path: path.to_owned(),
        reason,
    };
    let found = certificates(path).map_err(unusable)?;
    for certificate in &found {
        usable(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(found)
}

/// The certificates in a PEM file: at least one. The error is the reason, for people.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates = read.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no certificate in it; it must be PEM, with BEGIN CERTIFICATE".to_owned());
    }
    Ok(certificates)
}
