//! Encodes requests: four bytes of length, a type, a request id, the fields
//! (draft-ietf-secsh-filexfer-02, sections 3 and 6; numbers are big-endian, strings carry their length).

use std::iter;

use Field::{Bytes, Text, U32, U64, Zeros};

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

/// A field of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    U32(u32),
    U64(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A string of so many zero bytes.
    Zeros(u32),
}

/// Requests no modes and times, because some servers refuse to set them.
const NO_ATTRIBUTES: Field<'static> = U32(0);

/// Appends one request with this id.
pub(crate) struct RequestWriter<'a> {
    pub(crate) id: RequestId,
    pub(crate) out: &'a mut Vec<u8>,
}

impl RequestWriter<'_> {
    pub(crate) fn open(self, path: &str, open_for: OpenFor) {
        let flags = match open_for {
            OpenFor::Reading => OPEN_READ,
            // A server that ignores EXCL truncates the file instead.
            OpenFor::Writing => OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE | OPEN_EXCLUSIVE,
            OpenFor::Appending => OPEN_WRITE,
        };
        self.packet(kind::OPEN, [Text(path), U32(flags), NO_ATTRIBUTES]);
    }

    /// The data, at the end of the packet, is `len` zero bytes. The caller replaces them.
    pub(crate) fn write(self, handle: &[u8], offset: u64, len: u32) {
        self.packet(kind::WRITE, [Bytes(handle), U64(offset), Zeros(len)]);
    }

    pub(crate) fn read(self, handle: &[u8], offset: u64, len: u32) {
        self.packet(kind::READ, [Bytes(handle), U64(offset), U32(len)]);
    }

    pub(crate) fn fstat(self, handle: &[u8]) {
        self.packet(kind::FSTAT, [Bytes(handle)]);
    }

    pub(crate) fn close(self, handle: &[u8]) {
        self.packet(kind::CLOSE, [Bytes(handle)]);
    }

    pub(crate) fn lstat(self, path: &str) {
        self.packet(kind::LSTAT, [Text(path)]);
    }

    pub(crate) fn remove(self, path: &str) {
        self.packet(kind::REMOVE, [Text(path)]);
    }

    pub(crate) fn mkdir(self, path: &str) {
        self.packet(kind::MKDIR, [Text(path), NO_ATTRIBUTES]);
    }

    pub(crate) fn rename(self, from: &str, to: &str) {
        self.packet(kind::RENAME, [Text(from), Text(to)]);
    }

    /// `check-file-name` of the extension `check-file`: one SHA-256 of the whole file, from its first byte to its last.
    pub(crate) fn sha256(self, path: &str) {
        let (name, whole) = ("check-file-name", [U64(0), U64(0), U32(0)]);
        let fields = [Text(name), Text(path), Text(SHA256)].into_iter().chain(whole);
        self.packet(kind::EXTENDED, fields);
    }

    /// The request of an extension that is named like it.
    pub(crate) fn extended<const N: usize>(self, extension: Extension, fields: [Field<'_>; N]) {
        self.packet(kind::EXTENDED, iter::once(Text(extension.name())).chain(fields));
    }

    fn packet<'f>(self, kind: u8, fields: impl IntoIterator<Item = Field<'f>>) {
        put_packet(self.out, kind, iter::once(U32(self.id.0)).chain(fields));
    }
}

/// Appends the first packet of the session; it has no request id.
pub(crate) fn encode_init(out: &mut Vec<u8>) {
    put_packet(out, kind::INIT, [U32(VERSION)]);
}

fn put_packet<'f>(out: &mut Vec<u8>, kind: u8, fields: impl IntoIterator<Item = Field<'f>>) {
    let start = out.len();
    out.extend([0, 0, 0, 0, kind]);
    for field in fields {
        match field {
            U32(value) => out.extend(value.to_be_bytes()),
            U64(value) => out.extend(value.to_be_bytes()),
            Text(text) => put_string(out, text.as_bytes()),
            Bytes(bytes) => put_string(out, bytes),
            Zeros(len) => {
                out.extend(len.to_be_bytes());
                out.resize(out.len() + len as usize, 0);
            }
        }
    }
    let body = start + 4;
    let len = wire_len(out.len() - body);
    out[start..body].copy_from_slice(&len.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(wire_len(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn wire_len(len: usize) -> u32 {
    u32::try_from(len).expect("paths, handles and pieces of data are far shorter than 4 GiB")
}
