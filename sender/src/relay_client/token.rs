//! The token for the relay. It is read for each connection, and never logged.

use std::path::Path;

use hyper::header::HeaderValue;
use logferry_config::Secret;

use crate::error::RequestError;
use crate::relay_client::tls;

/// The `Authorization` header for the token in a file's first line.
pub(super) async fn read(path: &Path) -> Result<HeaderValue, RequestError> {
    let unusable = |reason: String| tls::unusable(path, "sender.token_file", reason);
    let text = tokio::fs::read_to_string(path).await;
    let text = Secret::new(text.map_err(|error| unusable(error.to_string()))?);
    let token = text.expose().lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(unusable("its first line is empty; put the token there".into()));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| unusable("its first line has characters that a token cannot have".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_line_is_the_token_and_is_never_printed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        std::fs::write(&path, " s3cret \nof 2026\n").expect("room");
        let header = read(&path).await.expect("a token");
        assert_eq!(header, "Bearer s3cret");
        assert!(!format!("{header:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_file_without_a_token_is_named_and_its_text_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        for (text, reason) in [
            (None, "No such file"),
            (Some("\ns3cret"), "first line is empty"),
            (Some("s3\x01cret"), "has characters that a token cannot have"),
        ] {
            if let Some(text) = text {
                std::fs::write(&path, text).expect("room");
            }
            let error = read(&path).await.expect_err(reason).to_string();
            assert!(
                error.contains(reason) && error.contains("sender.token_file") && !error.contains("cret"),
                "{error}"
            );
        }
    }
}
