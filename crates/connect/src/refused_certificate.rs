//! Why a client of TLS does not accept its server's certificate, with what to do. Pure.

use std::error::Error;
use std::io;
use std::path::Path;

use rustls::CertificateError;

/// What was trusted, and the settings that an error names.
#[derive(Debug, Clone, Copy)]
pub struct TrustSettings<'a> {
    /// The authorities; `None`: those of the system.
    pub ca_file: Option<&'a Path>,
    /// The setting of `ca_file`.
    pub ca_setting: &'a str,
    /// The setting, or a word for it, in which the server's name stands.
    pub name_setting: &'a str,
}

/// Why the certificate is not accepted, and what to do. The subject is the server: "its certificate …".
pub fn refused_certificate(why: &CertificateError, trust: TrustSettings<'_>) -> String {
    let TrustSettings {
        ca_file,
        ca_setting,
        name_setting,
    } = trust;
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it there, or set this host's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; set this host's clock".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for another name ({why}); write the name it is for in {name_setting}")
        }
        // A bad signature: the authority only has the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let authorities = match ca_file {
                Some(path) => format!("no authority in {}", path.display()),
                None => "no authority that this system knows".to_owned(),
            };
            format!("{authorities} has signed its certificate; set {ca_setting} to the one that has")
        }
        other => format!("its certificate is not accepted ({other})"),
    }
}

/// The TLS error in the chain of `error`.
pub fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let inner = |&error: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> {
        // The error inside an io::Error is not its source.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), inner).find_map(|error| error.downcast_ref())
}
