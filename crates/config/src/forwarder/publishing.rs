//! Publishing at a destination: compression, proof of the upload, manifest and marker.

use super::{RawDestination, TEMP_SUFFIX};
use crate::yaml::field::ConfigField;

/// Publishing of batches at a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publishing {
    /// The proof of an upload before it gets its final name.
    pub verify: VerifyMode,
    /// The compression of files.
    pub compress: FileCompression,
    /// Whether each batch has a manifest, `NAME.json`, beside it.
    pub manifest: bool,
    /// End of the marker's name, such as `.ok`: an empty file that is published after the batch. `None`: no marker.
    pub marker: Option<String>,
}

/// The proof of an upload before it gets its final name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// The server confirmed every write and the close, and reports the right size.
    #[default]
    Size,
    /// Also, the server's SHA-256 is right. A server that computes none has the file read back.
    Hash,
    /// Also, every byte was read back and is right.
    ReadBack,
}

/// The compression of files at a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileCompression {
    /// None.
    #[default]
    None,
    /// With gzip: `NAME.log.gz`.
    Gzip,
    /// With zstd: `NAME.log.zst`.
    Zstd,
}

impl FileCompression {
    /// The end of a compressed file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

impl RawDestination {
    pub(super) fn publishing(&self, at: &ConfigField<'_>) -> Option<Publishing> {
        let verify = at.key("verify").choice(
            self.verify.or("size"),
            &[
                ("size", VerifyMode::Size),
                ("hash", VerifyMode::Hash),
                ("read-back", VerifyMode::ReadBack),
            ],
        );
        let compress = at.key("compress").choice(
            self.compress.or("none"),
            &[
                ("none", FileCompression::None),
                ("gzip", FileCompression::Gzip),
                ("zstd", FileCompression::Zstd),
            ],
        );
        let manifest = at.optional("manifest", self.manifest.clone(), |at, raw| {
            at.choice(raw, &[("json", ())])
        });
        let marker = at.optional("marker", self.marker.clone(), |at, raw| {
            at.check(raw, |text| {
                if text == self.temp_suffix.or(TEMP_SUFFIX) {
                    return Err(format!(
                        "`{text}` is `temp_suffix` too; write another, such as .ok"
                    ));
                }
                suffix(text, ".ok")
            })
        });
        Some(Publishing {
            verify: verify?,
            compress: compress?,
            manifest: manifest?.is_some(),
            marker: marker?,
        })
    }
}

/// The end of a file name.
pub(crate) fn suffix(text: &str, example: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(format!(
            "`{text}` is not a suffix; write letters, digits, '.', '_' and '-', such as {example}"
        ));
    }
    Ok(text.to_owned())
}
