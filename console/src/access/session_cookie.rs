//! The cookie of a session. Pure.

use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::COOKIE;

/// Over TLS: the browser takes it only from this host, for all paths, and sends it only over TLS
/// (<https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis>, section 4.1.3.2).
const SECURE_NAME: &str = "__Host-logferry";
/// Without TLS, which is for loopback addresses.
const PLAIN_NAME: &str = "logferry";

fn name(is_secure: bool) -> &'static str {
    if is_secure { SECURE_NAME } else { PLAIN_NAME }
}

/// The secret of the session in a request.
pub(crate) fn read(headers: &HeaderMap, is_secure: bool) -> Option<&str> {
    let wanted = name(is_secure);
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted && !value.is_empty()).then_some(value)
    })
}

/// Gives the browser a session; it ends with the browser's own, or with the one in `console.db`.
pub(crate) fn set(secret: &str, is_secure: bool) -> Option<HeaderValue> {
    cookie(secret, is_secure, "")
}

/// Takes it away.
pub(crate) fn clear(is_secure: bool) -> Option<HeaderValue> {
    cookie("", is_secure, "; Max-Age=0")
}

fn cookie(value: &str, is_secure: bool, more: &str) -> Option<HeaderValue> {
    let secure = if is_secure { "; Secure" } else { "" };
    let name = name(is_secure);
    HeaderValue::from_str(&format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}"
    ))
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_is_for_this_host_and_no_script() {
        let set = set("abc", true).unwrap();
        assert_eq!(
            set,
            "__Host-logferry=abc; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            clear(false).unwrap(),
            "logferry=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        );
    }

    #[test]
    fn plain_cookie_does_not_count_over_tls() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=b; logferry=plain"));
        assert_eq!(read(&headers, true), None);
        headers.append(COOKIE, HeaderValue::from_static("__Host-logferry=secure;x"));
        assert_eq!(read(&headers, true), Some("secure"));
        assert_eq!(read(&headers, false), Some("plain"));
    }
}
