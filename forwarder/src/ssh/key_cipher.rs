//! Names the cipher of a key file that cannot be used because of it. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The cipher of old PEM files that is supported.
const PEM_SUPPORTED: &str = "AES-128-CBC";
/// The beginning of a key in OpenSSH's form (PROTOCOL.key of OpenSSH).
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";
/// Ciphers of OpenSSH's form that are supported begin so.
const OPENSSH_SUPPORTED: [&str; 3] = ["none", "aes", "chacha20"];
/// Ciphers of PKCS #8 that are not supported, by their object identifiers as they stand in the file.
const PKCS8_UNSUPPORTED: [(&[u8], &str); 6] = [
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x03],
        "MD5 and DES (PBES1)",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0a],
        "SHA-1 and DES (PBES1)",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03],
        "SHA-1 and 3DES (PBES1)",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x06],
        "SHA-1 and RC2 (PBES1)",
    ),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07], "DES-EDE3-CBC"),
    (&[0x2b, 0x0e, 0x03, 0x02, 0x07], "DES-CBC"),
];

/// The cipher of a private key's file, if it is one that is not supported.
pub(super) fn unsupported_cipher(text: &str) -> Option<String> {
    let old = text.lines().find_map(|line| line.strip_prefix("DEK-Info:"));
    if let Some(info) = old {
        let name = info.split(',').next().unwrap_or_default().trim();
        return (name != PEM_SUPPORTED).then(|| printable(name.as_bytes()));
    }
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with('-'))
        .map(str::trim)
        .collect();
    let body = STANDARD.decode(body).ok()?;
    if let Some(rest) = body.strip_prefix(OPENSSH_MAGIC) {
        let (len, rest) = rest.split_first_chunk()?;
        let name = printable(rest.get(..u32::from_be_bytes(*len) as usize)?);
        let is_supported = OPENSSH_SUPPORTED.iter().any(|known| name.starts_with(known));
        return (!is_supported).then_some(name);
    }
    if !text.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return None;
    }
    let names = |id: &[u8]| body.windows(id.len()).any(|window| window == id);
    let found = PKCS8_UNSUPPORTED.iter().find(|(id, _)| names(id));
    found.map(|(_, name)| (*name).to_owned())
}

fn printable(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.chars().filter(char::is_ascii_graphic).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openssh(cipher: &str) -> String {
        let len = u32::try_from(cipher.len()).expect("short").to_be_bytes();
        let body = [OPENSSH_MAGIC, &len, cipher.as_bytes(), b"rest"].concat();
        let body = STANDARD.encode(body);
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
    }

    fn pkcs8(id: &[u8]) -> String {
        let body = STANDARD.encode([&[0x30, 0x82], id, &[0x04, 0x08]].concat());
        format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n")
    }

    #[test]
    fn only_ciphers_that_are_not_supported_are_named() {
        let pem = |cipher: &str| {
            format!(
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {cipher},00\n\nAAAA\n-----END"
            )
        };
        for (text, expected) in [
            (pem("DES-EDE3-CBC"), Some("DES-EDE3-CBC")),
            (pem("AES-256-CBC"), Some("AES-256-CBC")),
            (pem("AES-128-CBC"), None),
            (openssh("3des-cbc"), Some("3des-cbc")),
            (openssh("aes256-ctr"), None),
            (openssh("none"), None),
            (pkcs8(PKCS8_UNSUPPORTED[2].0), Some("SHA-1 and 3DES (PBES1)")),
            (pkcs8(PKCS8_UNSUPPORTED[4].0), Some("DES-EDE3-CBC")),
            (pkcs8(&[1, 2, 3]), None),
            (String::new(), None),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n".to_owned(),
                None,
            ),
        ] {
            assert_eq!(unsupported_cipher(&text).as_deref(), expected, "{text}");
        }
    }
}
