//! Where a request comes from: the address of the connection or, behind the proxy of the configuration, the one that it names.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestPeer {
    pub(crate) address: IpAddr,
    /// Whether the browser speaks TLS, with us or with the proxy.
    pub(crate) is_secure: bool,
}

impl RequestPeer {
    /// `connection`: the peer of the connection, and whether that has TLS. Headers count only from the proxy: anybody may write
    /// them.
    pub(crate) fn of(
        connection: SocketAddr,
        has_tls: bool,
        proxy: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Self {
        let direct = connection.ip().to_canonical();
        if proxy.map(|proxy| proxy.to_canonical()) != Some(direct) {
            return Self {
                address: direct,
                is_secure: has_tls,
            };
        }
        // The proxy appends the address that it sees: the last one is its own word.
        let named = headers.get_all("x-forwarded-for").iter().next_back();
        let named = named.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        let scheme = headers.get("x-forwarded-proto");
        Self {
            address: named.unwrap_or(direct),
            is_secure: has_tls || scheme.is_some_and(|scheme| scheme == "https"),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_proxy_is_believed() {
        let mut headers = HeaderMap::new();
        let forged = HeaderValue::from_static("203.0.113.9, 198.51.100.7");
        headers.insert("x-forwarded-for", forged);
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        let proxy: IpAddr = "192.0.2.1".parse().unwrap();
        let of = |address: &str, proxy| RequestPeer::of(address.parse().unwrap(), false, proxy, &headers);
        let stranger = of("192.0.2.2:1", Some(proxy));
        assert_eq!(
            (stranger.address.to_string().as_str(), stranger.is_secure),
            ("192.0.2.2", false)
        );
        let behind = of("192.0.2.1:1", Some(proxy));
        assert_eq!(
            (behind.address.to_string().as_str(), behind.is_secure),
            ("198.51.100.7", true)
        );
        let mapped = of("[::ffff:192.0.2.1]:1", Some(proxy));
        assert!(mapped.is_secure);
        assert!(!of("192.0.2.1:1", None).is_secure);
    }
}
