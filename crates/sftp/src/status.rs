//! The status in a server's reply: a code and a text.
//!
//! The text is outside input. It is stored unchanged, and displayed with unprintable characters escaped.

use std::fmt;

/// The longest text displayed, in characters; the rest is cut off.
const SHOWN_CHARS_MAX: usize = 200;

/// A status code (draft-ietf-secsh-filexfer-02, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusCode {
    /// The request was carried out.
    Ok,
    /// There is no more data in the file.
    Eof,
    /// A file or folder on the path does not exist.
    NoSuchFile,
    /// The user has no permission.
    PermissionDenied,
    /// Any error without a code of its own: the name exists, the disk or quota is full, ...
    Failure,
    /// The server did not understand the packet.
    BadMessage,
    /// The server has no connection to its files.
    NoConnection,
    /// The server lost the connection to its files during the request.
    ConnectionLost,
    /// The server does not know the request.
    OpUnsupported,
    /// A code that version 3 does not define.
    Other(u32),
}

impl StatusCode {
    pub(crate) fn from_wire(code: u32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Eof,
            2 => Self::NoSuchFile,
            3 => Self::PermissionDenied,
            4 => Self::Failure,
            5 => Self::BadMessage,
            6 => Self::NoConnection,
            7 => Self::ConnectionLost,
            8 => Self::OpUnsupported,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Eof => "end of file",
            Self::NoSuchFile => "no such file",
            Self::PermissionDenied => "permission denied",
            Self::Failure => "failure",
            Self::BadMessage => "bad message",
            Self::NoConnection => "no connection",
            Self::ConnectionLost => "connection lost",
            Self::OpUnsupported => "operation unsupported",
            Self::Other(code) => return write!(f, "status {code}"),
        })
    }
}

/// Text from the server: any bytes, safe to display.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerText(Vec<u8>);

impl ServerText {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes as the server sent them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ServerText {
    /// Displays at most 200 characters, with control and other unprintable characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = SHOWN_CHARS_MAX;
        for chunk in self.0.utf8_chunks() {
            let valid = chunk.valid().chars().map(|c| match c {
                '"' | '\'' => c.to_string(),
                _ => c.escape_debug().to_string(),
            });
            let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
            for shown in valid.chain(invalid) {
                if room == 0 {
                    return f.write_str("...");
                }
                room -= 1;
                f.write_str(&shown)?;
            }
        }
        Ok(())
    }
}

/// A status with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// The status code.
    pub code: StatusCode,
    /// The server's text; often the name of the code, or empty.
    pub text: ServerText,
}

impl fmt::Display for ServerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        let says = self.text.to_string();
        if !says.is_empty() && !says.eq_ignore_ascii_case(&self.code.to_string()) {
            write!(f, " (the server says: {says})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_whole_and_shown_without_control_characters() {
        let raw = b"quota\x1b[2J\n\xff \xe2\x80\xae exceeded";
        let text = ServerText::new(raw);
        assert_eq!(text.as_bytes(), raw);
        assert_eq!(text.to_string(), "quota\\u{1b}[2J\\n\\xff \\u{202e} exceeded");
    }

    #[test]
    fn long_text_is_cut_when_shown() {
        let text = ServerText::new(&[b'x'; 1000]);
        assert_eq!(text.to_string().len(), SHOWN_CHARS_MAX + 3);
    }

    #[test]
    fn text_that_repeats_the_code_is_shown_once() {
        let status = |text: &[u8]| {
            ServerStatus {
                code: StatusCode::Failure,
                text: ServerText::new(text),
            }
            .to_string()
        };
        assert_eq!(status(b"Failure"), "failure");
        assert_eq!(status(b"disk full"), "failure (the server says: disk full)");
    }
}
