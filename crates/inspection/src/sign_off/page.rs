//! A signed page: a text whose last line is a comment with key and signature of everything before. Pure.

use super::key::{PublicKey, SigningKeyFile};

const BEGIN: &str = "<!-- signed by logferry, key ";
const MIDDLE: &str = ", signature ";
const END: &str = " -->\n";

/// Who signed a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSignature {
    /// The key that fits the signature. Compare it with the `audit.pub` of the host that the page is about.
    pub key: PublicKey,
}

/// Why a page is not as it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// It has no signature at its end.
    #[error("it does not end with a signature: it was cut, or added to, or is no page that logferry signed")]
    Unsigned,
    /// The signature is of another text.
    #[error("it was changed after it was signed")]
    Changed,
}

/// The page with its signature.
pub fn sign_page(page: &str, key: &SigningKeyFile) -> String {
    let signature = key.sign(page.as_bytes());
    format!("{page}{BEGIN}{}{MIDDLE}{signature}{END}", key.public())
}

/// Checks the signature of a page.
pub fn check_page(page: &[u8]) -> Result<PageSignature, PageFault> {
    let signed = page.strip_suffix(END.as_bytes()).and_then(|page| {
        let begin = page
            .windows(BEGIN.len())
            .rposition(|text| text == BEGIN.as_bytes())?;
        let (text, comment) = page.split_at_checked(begin)?;
        let comment = str::from_utf8(comment.get(BEGIN.len()..)?).ok()?;
        let (key, signature) = comment.split_once(MIDDLE)?;
        Some((text, PublicKey::of_text(key.as_bytes())?, signature))
    });
    let (text, key, signature) = signed.ok_or(PageFault::Unsigned)?;
    if key.has_signed(text, signature) {
        Ok(PageSignature { key })
    } else {
        Err(PageFault::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_page_is_noticed() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = SigningKeyFile::open_or_create(dir.path()).expect("a key");
        let page = sign_page("<!doctype html>\n<p>complete</p>\n", &key).into_bytes();
        assert_eq!(check_page(&page), Ok(PageSignature { key: key.public() }));
        for place in 0..page.len() {
            let mut changed = page.clone();
            changed[place] ^= 1;
            // A digit of the key or the signature may change its case only.
            assert!(check_page(&changed).is_err(), "byte {place}");
            assert!(check_page(&page[..place]).is_err(), "cut at {place}");
        }
        let longer = [&page[..], b"\n"].concat();
        assert_eq!(check_page(&longer), Err(PageFault::Unsigned));
    }

    #[test]
    fn the_key_stays_and_its_file_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        let first = SigningKeyFile::open_or_create(dir.path())
            .expect("a key")
            .public();
        let again = SigningKeyFile::open_or_create(dir.path())
            .expect("a key")
            .public();
        assert_eq!(first, again);
        assert_eq!(PublicKey::read(dir.path()).expect("read"), Some(first));
        let file = std::fs::metadata(dir.path().join(super::super::KEY_FILE)).expect("a file");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}
