//! Names and expiry of a certificate.
//!
//! Pure. Only the subject alternative names count, never the subject's common name (RFC 9525, section 2).

use std::net::IpAddr;

use jiff::Timestamp;
use logferry_protocol::names::SourceId;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not an X.509 certificate")]
pub(crate) struct UnreadableCertificate;

/// The parts of a certificate that the relay uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateInfo {
    /// Its addresses and host names that are valid sources, in their order. Names with a wildcard are left out.
    pub(crate) names: Vec<SourceId>,
    pub(crate) not_after: Timestamp,
}

impl CertificateInfo {
    /// Parses a certificate in DER (RFC 5280).
    pub(crate) fn read(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| UnreadableCertificate)?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| UnreadableCertificate)?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let not_after = certificate.validity().not_after.timestamp();
        Ok(Self {
            names: names.iter().filter_map(source).collect(),
            not_after: Timestamp::from_second(not_after).unwrap_or(Timestamp::MAX),
        })
    }
}

/// The source of a name. An address that is written as a host name does not count.
fn source(name: &GeneralName<'_>) -> Option<SourceId> {
    match name {
        GeneralName::DNSName(name) if name.parse::<IpAddr>().is_err() => name.parse().ok(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(SourceId::from)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "common-name");
        params.subject_alt_names = names;
        params.not_after = date_time_ymd(2030, 1, 2);
        let key = KeyPair::generate().expect("randomness");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().expect("ASCII"))
    }

    #[test]
    fn only_alternative_names_that_can_be_sources_count() {
        let der = certificate(vec![
            SanType::Rfc822Name("ops@example.com".try_into().expect("ASCII")),
            dns("*.example.com"),
            dns("web-1.example.com"),
            dns("198.51.100.9"),
            dns("../../etc"),
            dns("a\nb"),
            SanType::IpAddress("198.51.100.1".parse().expect("an address")),
            SanType::IpAddress("2001:DB8::1".parse().expect("an address")),
            SanType::IpAddress("::ffff:198.51.100.2".parse().expect("an address")),
        ]);
        let read = CertificateInfo::read(&der).expect("a certificate");
        let names: Vec<_> = read.names.iter().map(SourceId::as_str).collect();
        let expected = ["web-1.example.com", "198.51.100.1", "2001:db8::1", "198.51.100.2"];
        assert_eq!(names, expected);
        assert_eq!(read.not_after.to_string(), "2030-01-02T00:00:00Z");
    }

    #[test]
    fn the_common_name_does_not_count() {
        let read = CertificateInfo::read(&certificate(Vec::new())).expect("a certificate");
        assert_eq!(read.names, []);
    }

    #[test]
    fn a_truncated_certificate_is_refused_at_every_length() {
        let der = certificate(vec![dns("web-1")]);
        for length in 0..der.len() {
            assert_eq!(CertificateInfo::read(&der[..length]), Err(UnreadableCertificate));
        }
    }
}
