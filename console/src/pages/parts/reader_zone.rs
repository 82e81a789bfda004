//! The reader's zone: `assets/js/shell.js` puts its name into the cookie `zone`. It decides where a day begins; times on pages are
//! UTC until the browser shows them. Pure.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use jiff::tz::TimeZone;

/// The zone of the cookie; UTC without one, or with one that nobody knows.
pub(crate) fn of(headers: &HeaderMap) -> TimeZone {
    let cookies = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = cookies
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let name = pairs.find_map(|(name, value)| (name == "zone").then(|| decoded(value)));
    // A name is a path below the folder of zones.
    let name = name.filter(|name| {
        name.len() < 64
            && !name.starts_with('/')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte))
    });
    name.and_then(|name| TimeZone::get(&name).ok())
        .unwrap_or(TimeZone::UTC)
}

/// What `encodeURIComponent` made of a name of a zone: no other of its characters is escaped.
fn decoded(value: &str) -> String {
    value.replace("%2F", "/").replace("%2B", "+")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn zone_is_that_of_the_cookie() {
        let mut headers = HeaderMap::new();
        for (text, name) in [
            ("zone=Europe%2FBerlin", "Europe/Berlin"),
            ("a=b; zone=Etc%2FGMT%2B5", "Etc/GMT+5"),
        ] {
            headers.insert(COOKIE, HeaderValue::from_static(text));
            assert_eq!(of(&headers).iana_name(), Some(name), "{text}");
        }
    }

    #[test]
    fn zone_of_no_cookie_and_of_nonsense_is_utc() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), TimeZone::UTC);
        for text in ["zone=../../etc/passwd", "zone=Mars/Phobos", "x=y; zone=", "zone"] {
            headers.insert(COOKIE, HeaderValue::from_static(text));
            assert_eq!(of(&headers), TimeZone::UTC, "{text}");
        }
    }
}
