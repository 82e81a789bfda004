//! How batches appear at a destination: compressed or not, with what beside them, and checked how.

use crate::yaml::field::ConfigField;

/// How batches appear at a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publishing {
    /// How an upload is checked before it gets its final name.
    pub verify: VerifyMode,
    /// How files are compressed there.
    pub compress: FileCompression,
    /// Whether each batch has a manifest, `NAME.json`, beside it.
    pub manifest: bool,
    /// What the name of the empty file ends in that says that a batch is there, such as `.ok`; `None`: there is none.
    pub marker: Option<String>,
}

/// How an upload is checked before it gets its final name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// The server confirmed every write and the close, and tells the right size.
    #[default]
    Size,
    /// And the server's SHA-256 of it is right; where the server makes none, it is read back.
    Hash,
    /// And every byte of it was read back and is right.
    ReadBack,
}

/// How files are compressed at a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileCompression {
    /// Not at all.
    #[default]
    None,
    /// With gzip: `NAME.log.gz`.
    Gzip,
    /// With zstd: `NAME.log.zst`.
    Zstd,
}

impl FileCompression {
    /// What a compressed file's name ends in.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// The settings as they are written.
pub(crate) struct RawPublishing<'a> {
    pub(crate) verify: &'a str,
    pub(crate) compress: &'a str,
    pub(crate) manifest: Option<&'a str>,
    pub(crate) marker: Option<&'a str>,
    /// What a file's name ends in while it is being sent.
    pub(crate) temp_suffix: &'a str,
}

impl RawPublishing<'_> {
    pub(crate) fn resolve(&self, at: &ConfigField<'_>) -> Option<Publishing> {
        let verify = at.key("verify").choice(
            self.verify,
            &[
                ("size", VerifyMode::Size),
                ("hash", VerifyMode::Hash),
                ("read-back", VerifyMode::ReadBack),
            ],
        );
        let compress = at.key("compress").choice(
            self.compress,
            &[
                ("none", FileCompression::None),
                ("gzip", FileCompression::Gzip),
                ("zstd", FileCompression::Zstd),
            ],
        );
        let manifest = at
            .key("manifest")
            .optional(self.manifest, |at, raw| at.choice(raw, &[("json", ())]));
        let marker = at.key("marker").optional(self.marker, |at, raw| {
            at.check(raw, |text| self.marker_suffix(text))
        });
        Some(Publishing {
            verify: verify?,
            compress: compress?,
            manifest: manifest?.is_some(),
            marker: marker?,
        })
    }

    fn marker_suffix(&self, text: &str) -> Result<String, String> {
        if text == self.temp_suffix {
            return Err(format!(
                "`{text}` is `temp_suffix` too; write another, such as .ok"
            ));
        }
        suffix(text, ".ok")
    }
}

/// A text for file names to end in.
pub(crate) fn suffix(text: &str, example: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(format!(
            "`{text}` is not a suffix; write letters, digits, '.', '_' and '-', such as {example}"
        ));
    }
    Ok(text.to_owned())
}
