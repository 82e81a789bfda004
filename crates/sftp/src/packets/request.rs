//! Encodes requests: four bytes of length, a type, a request id, the fields
//! (draft-ietf-secsh-filexfer-02, sections 3 and 6; numbers are big-endian, strings carry their length).

use crate::packets::extension::Extension;

/// Packet types.
pub(crate) mod kind {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const LSTAT: u8 = 7;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const ATTRS: u8 = 105;
    pub(crate) const EXTENDED: u8 = 200;
    pub(crate) const EXTENDED_REPLY: u8 = 201;
}

/// The protocol version of this client.
pub(crate) const VERSION: u32 = 3;

/// Flags of `SSH_FXP_OPEN`.
const OPEN_READ: u32 = 0x01;
const OPEN_WRITE: u32 = 0x02;
const OPEN_CREATE: u32 = 0x08;
const OPEN_TRUNCATE: u32 = 0x10;
const OPEN_EXCLUSIVE: u32 = 0x20;

/// SHA-256 in the extension `check-file`.
pub(crate) const SHA256: &str = "sha256";

/// The number that a reply repeats from its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(pub(crate) u32);

/// The purpose of opening a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenFor {
    /// To read it from its beginning.
    Reading,
    /// To write a new file. The server refuses a name that exists.
    Writing,
    /// To append to an existing file.
    Appending,
}

/// One request, borrowed from its job.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Limits,
    Open {
        path: &'a str,
        open_for: OpenFor,
    },
    /// Encodes `len` zero bytes as its data, at the end of the packet. The caller replaces them.
    Write {
        handle: &'a [u8],
        offset: u64,
        len: u32,
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        len: u32,
    },
    Fsync {
        handle: &'a [u8],
    },
    Fstat {
        handle: &'a [u8],
    },
    Close {
        handle: &'a [u8],
    },
    Lstat {
        path: &'a str,
    },
    Rename {
        from: &'a str,
        to: &'a str,
    },
    /// `hardlink@openssh.com`
    Link {
        from: &'a str,
        to: &'a str,
    },
    /// `check-file-name` of the extension `check-file`: one SHA-256 of the whole file.
    Sha256 {
        path: &'a str,
    },
    Remove {
        path: &'a str,
    },
    Mkdir {
        path: &'a str,
    },
    FreeSpace {
        path: &'a str,
    },
}

impl Request<'_> {
    /// Appends the framed request.
    pub(crate) fn encode(&self, id: RequestId, out: &mut Vec<u8>) {
        let frame = Frame::start(out, self.kind());
        put_u32(out, id.0);
        match self {
            Self::Limits => put_string(out, Extension::Limits.name().as_bytes()),
            Self::Open { path, open_for } => {
                put_string(out, path.as_bytes());
                put_u32(
                    out,
                    match open_for {
                        OpenFor::Reading => OPEN_READ,
                        // A server that ignores EXCL truncates the file instead.
                        OpenFor::Writing => OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE | OPEN_EXCLUSIVE,
                        OpenFor::Appending => OPEN_WRITE,
                    },
                );
                put_no_attributes(out);
            }
            Self::Write { handle, offset, len } => {
                put_string(out, handle);
                put_u64(out, *offset);
                put_u32(out, *len);
                out.resize(out.len() + *len as usize, 0);
            }
            Self::Read { handle, offset, len } => {
                put_string(out, handle);
                put_u64(out, *offset);
                put_u32(out, *len);
            }
            Self::Fsync { handle } => {
                put_string(out, Extension::Fsync.name().as_bytes());
                put_string(out, handle);
            }
            Self::Fstat { handle } | Self::Close { handle } => put_string(out, handle),
            Self::Lstat { path } | Self::Remove { path } => put_string(out, path.as_bytes()),
            Self::Rename { from, to } => {
                put_string(out, from.as_bytes());
                put_string(out, to.as_bytes());
            }
            Self::Link { from, to } => {
                put_string(out, Extension::Hardlink.name().as_bytes());
                put_string(out, from.as_bytes());
                put_string(out, to.as_bytes());
            }
            Self::Sha256 { path } => {
                put_string(out, b"check-file-name");
                put_string(out, path.as_bytes());
                put_string(out, SHA256.as_bytes());
                // From the first byte to the last, in one block.
                put_u64(out, 0);
                put_u64(out, 0);
                put_u32(out, 0);
            }
            Self::Mkdir { path } => {
                put_string(out, path.as_bytes());
                put_no_attributes(out);
            }
            Self::FreeSpace { path } => {
                put_string(out, Extension::Statvfs.name().as_bytes());
                put_string(out, path.as_bytes());
            }
        }
        frame.end(out);
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Limits
            | Self::Fsync { .. }
            | Self::Link { .. }
            | Self::Sha256 { .. }
            | Self::FreeSpace { .. } => kind::EXTENDED,
            Self::Open { .. } => kind::OPEN,
            Self::Write { .. } => kind::WRITE,
            Self::Read { .. } => kind::READ,
            Self::Fstat { .. } => kind::FSTAT,
            Self::Close { .. } => kind::CLOSE,
            Self::Lstat { .. } => kind::LSTAT,
            Self::Rename { .. } => kind::RENAME,
            Self::Remove { .. } => kind::REMOVE,
            Self::Mkdir { .. } => kind::MKDIR,
        }
    }
}

/// Appends the first packet of the session; it has no request id.
pub(crate) fn encode_init(out: &mut Vec<u8>) {
    let frame = Frame::start(out, kind::INIT);
    put_u32(out, VERSION);
    frame.end(out);
}

/// A packet being written; its length is filled in at the end.
struct Frame {
    start: usize,
}

impl Frame {
    fn start(out: &mut Vec<u8>, kind: u8) -> Self {
        let start = out.len();
        put_u32(out, 0);
        out.push(kind);
        Self { start }
    }

    fn end(self, out: &mut [u8]) {
        let body = self.start + 4;
        let len = wire_len(out.len() - body);
        out[self.start..body].copy_from_slice(&len.to_be_bytes());
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, wire_len(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Requests no modes and times, because some servers refuse to set them.
fn put_no_attributes(out: &mut Vec<u8>) {
    put_u32(out, 0);
}

fn wire_len(len: usize) -> u32 {
    u32::try_from(len).expect("paths, handles and pieces of data are far shorter than 4 GiB")
}
