//! TLS to the database server, and error texts that say what has to be changed.
//!
//! The files are read for each connection, so a renewed one needs no restart.

use std::path::Path;

use logferry_config::{ClientIdentity, DatabaseTls};
use logferry_connect::{AuthoritiesError, TrustSettings, refused_certificate, tls_error};
use mysql_async::{DriverError, SslOpts};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

const CA: &str = "tls.ca_file";

/// The options of a connection. The error is the reason, for people.
pub(super) async fn options(tls: &DatabaseTls) -> Result<SslOpts, String> {
    let tls = tls.clone();
    let read = tokio::task::spawn_blocking(move || read_options(&tls)).await;
    read.map_err(|error| error.to_string())?
}

fn read_options(tls: &DatabaseTls) -> Result<SslOpts, String> {
    let identity = tls.identity.as_ref().map(read_identity).transpose()?;
    let options = SslOpts::default().with_client_identity(identity);
    if !tls.verify {
        // The library wants authorities even if it does not ask them: its own.
        return Ok(options.with_danger_accept_invalid_certs(true));
    }
    let trusted = logferry_connect::authority_certificates(tls.ca_file.as_deref());
    let trusted = trusted.map_err(|error| match error {
        AuthoritiesError::Unusable { path, reason } => unusable(CA, &path, &reason),
        AuthoritiesError::NoneOnSystem => {
            format!("this system has no authority's certificate; install ca-certificates, or set {CA}")
        }
    })?;
    let trusted = trusted.into_iter().map(|certificate| certificate.to_vec().into());
    Ok(options
        .with_disable_built_in_roots(true)
        .with_root_certs(trusted.collect()))
}

fn read_identity(identity: &ClientIdentity) -> Result<mysql_async::ClientIdentity, String> {
    let ClientIdentity { cert_file, key_file } = identity;
    let read = |setting, path: &Path| {
        let contents = std::fs::read(path);
        contents.map_err(|error| unusable(setting, path, &error.to_string()))
    };
    let (cert, key) = (read("tls.cert_file", cert_file)?, read("tls.key_file", key_file)?);
    logferry_connect::certificates(cert_file)
        .map_err(|reason| unusable("tls.cert_file", cert_file, &reason))?;
    PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| unusable("tls.key_file", key_file, &error.to_string()))?;
    Ok(mysql_async::ClientIdentity::new(cert.into(), key.into()))
}

fn unusable(setting: &str, path: &Path, reason: &str) -> String {
    format!("{setting}: {} cannot be used: {reason}", path.display())
}

/// Why a connection failed, if TLS is the reason. With TLS 1.3 the server refuses a client certificate only after the handshake.
pub(super) fn refusal(error: &mysql_async::Error, tls: Option<&DatabaseTls>) -> Option<String> {
    let tls = tls?;
    if let mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) = error {
        let text = "the server has no TLS; set ssl_cert and ssl_key there, or remove `tls` from the source";
        return Some(text.to_owned());
    }
    Some(match (tls_error(error)?, &tls.identity) {
        (rustls::Error::InvalidCertificate(why), _) => {
            let trust = TrustSettings {
                ca_file: tls.ca_file.as_deref(),
                ca_setting: CA,
                name_setting: "`host`",
            };
            refused_certificate(why, trust)
        }
        (rustls::Error::AlertReceived(alert), Some(identity)) => format!(
            "it refuses the handshake ({alert:?}); the certificate in {} must be of an authority in its ssl_ca",
            identity.cert_file.display()
        ),
        (rustls::Error::InconsistentKeys(_), Some(identity)) => format!(
            "the key in {} is not that of the certificate in {}; put both of one pair there",
            identity.key_file.display(),
            identity.cert_file.display()
        ),
        (other, _) => format!("TLS failed: {other}"),
    })
}
