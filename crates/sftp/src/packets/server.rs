//! The server's capabilities: its extensions and its limits.

use crate::error::ProtocolError;
use crate::packets::extension::Extension;
use crate::packets::reply::Fields;
use crate::packets::request as wire;

/// Bytes reserved for a packet's header, handle and offset when the server limits whole packets.
const PACKET_OVERHEAD: u64 = 1024;

/// The server's extensions and limits, as it reported them.
#[derive(Debug, Clone, Default)]
pub struct ServerCapabilities {
    extensions: Vec<Extension>,
    /// The longest data of one write, in bytes; `None`: no limit.
    pub(crate) write_len_max: Option<u64>,
    /// The longest data of one read, in bytes.
    pub(crate) read_len_max: Option<u64>,
    /// The number of files that may be open at the same time.
    pub(crate) open_files_max: Option<u64>,
}

impl ServerCapabilities {
    /// Whether the server offers `extension`.
    pub fn supports(&self, extension: Extension) -> bool {
        self.extensions.contains(&extension)
    }

    /// Reads `SSH_FXP_VERSION`, the server's first packet.
    pub(crate) fn parse_version(packet: &[u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields::new(packet)?;
        if fields.kind != wire::kind::VERSION {
            return Err(ProtocolError::UnexpectedType {
                kind: fields.kind,
                expected: "the server's version",
            });
        }
        let version = fields.u32()?;
        if version != wire::VERSION {
            return Err(ProtocolError::Version { version });
        }
        let mut server = Self::default();
        while !fields.rest.is_empty() {
            let (name, revision) = (fields.string()?, fields.string()?);
            let known = |e: &Extension| e.name().as_bytes() == name && e.knows(revision);
            server.extensions.extend(Extension::ALL.into_iter().find(known));
        }
        Ok(server)
    }

    /// Reads the answer to `limits@openssh.com`: packet, read and write lengths and open handles; 0 is "no limit".
    pub(crate) fn parse_limits(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let mut fields = Fields::extended(body);
        let mut limit = || fields.u64().map(|n| (n != 0).then_some(n));
        let packet = limit()?.map(|len| len.saturating_sub(PACKET_OVERHEAD).max(1));
        let (read, write, open_files) = (limit()?, limit()?, limit()?);
        let smaller = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        self.read_len_max = smaller(packet, read);
        self.write_len_max = smaller(packet, write);
        self.open_files_max = open_files;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_of_an_unknown_revision_are_not_used() {
        let mut packet = vec![wire::kind::VERSION, 0, 0, 0, 3];
        for text in [
            "fsync@openssh.com",
            "1",
            "limits@openssh.com",
            "2",
            "other@example.com",
            "1",
        ] {
            packet.extend([0, 0, 0, u8::try_from(text.len()).unwrap()]);
            packet.extend(text.as_bytes());
        }
        let server = ServerCapabilities::parse_version(&packet).unwrap();
        assert!(server.supports(Extension::Fsync));
        assert!(!server.supports(Extension::Limits));
        assert!(!server.supports(Extension::PosixRename));
    }

    #[test]
    fn other_protocol_versions_are_refused() {
        let refused = ServerCapabilities::parse_version(&[wire::kind::VERSION, 0, 0, 0, 6]);
        assert_eq!(refused.unwrap_err(), ProtocolError::Version { version: 6 });
    }

    #[test]
    fn limit_on_packets_also_limits_reads_and_writes() {
        let mut server = ServerCapabilities::default();
        let body: Vec<u8> = [3072u64, 0, 1000, 7]
            .into_iter()
            .flat_map(u64::to_be_bytes)
            .collect();
        server.parse_limits(&body).unwrap();
        assert_eq!(server.read_len_max, Some(2048));
        assert_eq!(server.write_len_max, Some(1000));
        assert_eq!(server.open_files_max, Some(7));
    }
}
