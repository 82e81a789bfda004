//! Addresses of pages with values in them. Pure.

/// A text as a value of a query: all but letters, digits and a few others is percent-encoded (RFC 3986, section 2.3).
pub(crate) fn query_text(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => encoded.extend([format!("%{byte:02X}")]),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_value_of_a_query() {
        assert_eq!(query_text("a&b=c d/é"), "a%26b%3Dc%20d%2F%C3%A9");
    }
}
