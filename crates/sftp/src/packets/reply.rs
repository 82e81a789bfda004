//! Parses the server's packets. Every byte is outside input: no length and no number in it is trusted.

use crate::error::ProtocolError;
use crate::packets::request::{RequestId, kind};
use crate::status::{ServerStatus, ServerText, StatusCode};

/// The longest reply that is accepted: 256 KiB as in OpenSSH, plus the header of a data packet.
const PACKET_LEN_MAX: u32 = 256 * 1024 + 1024;

/// Flags of the attributes that follow (section 5).
const ATTR_SIZE: u32 = 0x1;
const ATTR_UID_GID: u32 = 0x2;
const ATTR_PERMISSIONS: u32 = 0x4;
const ATTR_TIMES: u32 = 0x8;

/// A file's attributes. A server need not report any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileAttributes {
    /// Length in bytes.
    pub size: Option<u64>,
    /// Mode bits as in `st_mode`, file type included.
    pub permissions: Option<u32>,
}

/// One reply, borrowed from the packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Status(ServerStatus),
    Handle(&'a [u8]),
    Data(&'a [u8]),
    Attributes(FileAttributes),
    Extended(&'a [u8]),
}

impl<'a> Reply<'a> {
    /// Parses a packet that carries a request id.
    pub(crate) fn parse(packet: &'a [u8]) -> Result<(RequestId, Self), ProtocolError> {
        let mut fields = Fields::new(packet)?;
        let id = RequestId(fields.u32()?);
        let reply = match fields.kind {
            kind::STATUS => Self::Status(fields.status()?),
            // Longer than 256 bytes (draft-ietf-secsh-filexfer-02, section 6.2) at some servers; the packet is the bound.
            kind::HANDLE => Self::Handle(fields.string()?),
            kind::DATA => Self::Data(fields.string()?),
            kind::ATTRS => Self::Attributes(fields.attributes()?),
            kind::EXTENDED_REPLY => Self::Extended(fields.rest),
            kind => {
                return Err(ProtocolError::UnexpectedType {
                    kind,
                    expected: "a reply",
                });
            }
        };
        Ok((id, reply))
    }

    /// The error for a valid reply of the wrong type.
    pub(crate) fn unexpected(&self, expected: &'static str) -> ProtocolError {
        let kind = match self {
            Self::Status(_) => kind::STATUS,
            Self::Handle(_) => kind::HANDLE,
            Self::Data(_) => kind::DATA,
            Self::Attributes(_) => kind::ATTRS,
            Self::Extended(_) => kind::EXTENDED_REPLY,
        };
        ProtocolError::UnexpectedType { kind, expected }
    }

    /// For requests whose reply is only a status: `None` if it is Ok.
    pub(crate) fn into_refusal(self) -> Result<Option<ServerStatus>, ProtocolError> {
        match self {
            Self::Status(ServerStatus {
                code: StatusCode::Ok, ..
            }) => Ok(None),
            Self::Status(status) => Ok(Some(status)),
            other => Err(other.unexpected("a status")),
        }
    }
}

/// The first packet in `bytes`, without the four bytes of its length; `None` if it is incomplete.
pub(crate) fn first_packet(bytes: &[u8]) -> Result<Option<&[u8]>, ProtocolError> {
    let Some((len, rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*len);
    if len > PACKET_LEN_MAX {
        return Err(ProtocolError::PacketTooLarge {
            len,
            max: PACKET_LEN_MAX,
        });
    }
    Ok(rest.get(..len as usize))
}

/// Reads the fields of one packet in order.
pub(crate) struct Fields<'a> {
    pub(crate) kind: u8,
    pub(crate) rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(packet: &'a [u8]) -> Result<Self, ProtocolError> {
        let (&kind, rest) = packet.split_first().ok_or(ProtocolError::Truncated { kind: 0 })?;
        Ok(Self { kind, rest })
    }

    /// The body of an extended reply.
    pub(crate) fn extended(rest: &'a [u8]) -> Self {
        let kind = kind::EXTENDED_REPLY;
        Self { kind, rest }
    }

    fn truncated(&self) -> ProtocolError {
        ProtocolError::Truncated { kind: self.kind }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.truncated())?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ProtocolError> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], ProtocolError> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.truncated())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A status. Servers of version 2 send no text.
    fn status(&mut self) -> Result<ServerStatus, ProtocolError> {
        let code = StatusCode::from_wire(self.u32()?);
        let text = if self.rest.is_empty() { &[] } else { self.string()? };
        Ok(ServerStatus {
            code,
            text: ServerText::new(text),
        })
    }

    /// Attributes. Extended attributes come last in a packet and are not read.
    fn attributes(&mut self) -> Result<FileAttributes, ProtocolError> {
        let flags = self.u32()?;
        let mut attributes = FileAttributes::default();
        if flags & ATTR_SIZE != 0 {
            attributes.size = Some(self.u64()?);
        }
        if flags & ATTR_UID_GID != 0 {
            self.u64()?;
        }
        if flags & ATTR_PERMISSIONS != 0 {
            attributes.permissions = Some(self.u32()?);
        }
        if flags & ATTR_TIMES != 0 {
            self.u64()?;
        }
        Ok(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_is_taken_only_when_complete() {
        assert_eq!(first_packet(&[0, 0, 0]), Ok(None));
        assert_eq!(first_packet(&[0, 0, 0, 2, 9]), Ok(None));
        assert_eq!(first_packet(&[0, 0, 0, 2, 9, 8, 7]), Ok(Some(&[9, 8][..])));
    }

    #[test]
    fn greeting_text_is_refused_as_a_packet_too_large() {
        assert!(matches!(
            first_packet(b"Welcome!"),
            Err(ProtocolError::PacketTooLarge { .. })
        ));
    }

    #[test]
    fn fields_that_end_early_are_an_error() {
        let status = [kind::STATUS, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9, b'x'];
        for (packet, kind) in [
            (&status[..], kind::STATUS),
            (&[], 0),
            (&[kind::ATTRS, 0], kind::ATTRS),
        ] {
            assert_eq!(Reply::parse(packet), Err(ProtocolError::Truncated { kind }));
        }
    }

    #[test]
    fn status_without_text_is_accepted() {
        let packet = [kind::STATUS, 0, 0, 0, 1, 0, 0, 0, 2];
        let status = ServerStatus {
            code: StatusCode::NoSuchFile,
            text: ServerText::default(),
        };
        assert_eq!(Reply::parse(&packet), Ok((RequestId(1), Reply::Status(status))));
    }

    #[test]
    fn unused_attributes_are_skipped() {
        let mut packet = vec![kind::ATTRS, 0, 0, 0, 7, 0, 0, 0, 0xf];
        packet.extend(5u64.to_be_bytes());
        packet.extend([0; 8]);
        packet.extend(0o100_644_u32.to_be_bytes());
        packet.extend(11u32.to_be_bytes());
        packet.extend(12u32.to_be_bytes());
        let wanted = FileAttributes {
            size: Some(5),
            permissions: Some(0o100_644),
        };
        assert_eq!(
            Reply::parse(&packet),
            Ok((RequestId(7), Reply::Attributes(wanted)))
        );
    }

    #[test]
    fn handle_of_any_length_that_the_packet_has_is_taken() {
        let handle = vec![7; 4096];
        let mut packet = vec![kind::HANDLE, 0, 0, 0, 1, 0, 0, 0x10, 0];
        packet.extend(&handle);
        assert_eq!(
            Reply::parse(&packet),
            Ok((RequestId(1), Reply::Handle(&handle[..])))
        );
        packet.truncate(100);
        let kind = kind::HANDLE;
        assert_eq!(Reply::parse(&packet), Err(ProtocolError::Truncated { kind }));
    }
}
