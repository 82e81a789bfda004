//! A small SFTP server over byte buffers. It processes requests in the order of their arrival, as a server must. The
//! test chooses the order of the replies.

use std::collections::{BTreeMap, HashMap};

const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;
const UNSUPPORTED: u32 = 8;

/// The folder that exists.
const FOLDER: &str = "/drop";

/// How the server reports a file's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sizes {
    #[default]
    Shown,
    /// The size by handle is 0 until the file is closed.
    ShownAfterClose,
    /// Attributes have no size.
    Hidden,
    /// Attributes are refused.
    Forbidden,
}

/// The server's handling of a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Renames {
    /// It refuses a name that exists.
    #[default]
    Refuse,
    /// It replaces an existing file.
    Replace,
    /// It renames, but reports an error.
    LateError,
}

/// Computes a file's hash.
pub(crate) type Hasher = fn(&[u8]) -> Vec<u8>;

/// Differences from a correct server without extensions.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub(crate) struct ServerBehaviour {
    /// The offered extensions, with their revisions.
    pub(crate) extensions: Vec<(&'static str, &'static str)>,
    /// The reply to `limits@openssh.com`: packet, read, write, handles.
    pub(crate) limits: [u64; 4],
    /// The largest number of bytes returned for one read.
    pub(crate) read_len_max: Option<usize>,
    /// Writes that reach beyond this offset fail.
    pub(crate) quota: Option<u64>,
    /// Closes fail.
    pub(crate) close_fails: bool,
    /// Reads from this offset on fail.
    pub(crate) bad_block: Option<u64>,
    pub(crate) sizes: Sizes,
    pub(crate) renames: Renames,
    /// A file moves to `taken` as soon as its name does not end in `.part`.
    pub(crate) receiver_waits: bool,
    /// The status for a missing file is `SSH_FX_FAILURE`.
    pub(crate) missing_fails: bool,
    /// Files can be written but not read.
    pub(crate) write_only: bool,
    /// The byte at this offset is changed in files written from now on.
    pub(crate) spoils: Option<usize>,
    /// Computes the SHA-256 for the extension `check-file`.
    pub(crate) hasher: Option<Hasher>,
    /// Data beyond this length is lost, although the writes are confirmed.
    pub(crate) loses_beyond: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct FakeServer {
    pub(crate) behaviour: ServerBehaviour,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The files that the receiver took, in order.
    pub(crate) taken: Vec<(String, Vec<u8>)>,
    pub(crate) folders: Vec<String>,
    /// Open handles, by their number.
    pub(crate) handles: HashMap<u32, String>,
    pub(crate) most_handles: usize,
    /// Request types in the order of arrival.
    pub(crate) seen: Vec<u8>,
    pub(crate) longest_write: usize,
    /// Bytes from the client.
    pub(crate) received: usize,
    /// The number of received bytes when each request became complete.
    pub(crate) whole_after: Vec<usize>,
    last_handle: u32,
    inbox: Vec<u8>,
    /// Replies not taken yet.
    pub(crate) replies: Vec<Vec<u8>>,
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(&mut self) -> u32 {
        let (bytes, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        u32::from_be_bytes(*bytes)
    }
    fn u64(&mut self) -> u64 {
        let (bytes, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        u64::from_be_bytes(*bytes)
    }
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.u32() as usize;
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
    fn text(&mut self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
    fn handle(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes().try_into().unwrap())
    }
}

pub(crate) fn packet(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> = std::iter::once(kind).chain(fields.concat()).collect();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

pub(crate) fn status(id: u32, code: u32) -> Vec<u8> {
    let text = string(b"as the fake says");
    packet(
        101,
        &[&id.to_be_bytes(), &code.to_be_bytes(), &text, &string(b"en")],
    )
}

impl FakeServer {
    pub(crate) fn new(behaviour: ServerBehaviour) -> Self {
        Self {
            behaviour,
            ..Self::default()
        }
    }

    /// Takes bytes from the client and processes every complete request.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.received += bytes.len();
        self.inbox.extend_from_slice(bytes);
        while let Some((len, rest)) = self.inbox.split_first_chunk() {
            let len = u32::from_be_bytes(*len) as usize;
            if rest.len() < len {
                break;
            }
            let request = rest[..len].to_vec();
            self.inbox.drain(..4 + len);
            self.whole_after.push(self.received - self.inbox.len());
            self.seen.push(request[0]);
            let reply = self.process(request[0], Fields(&request[1..]));
            self.replies.push(reply);
        }
    }

    /// The connection is lost: handles are closed, and an incomplete request is dropped.
    #[allow(dead_code, reason = "not every test crate that shares this loses connections")]
    pub(crate) fn break_off(&mut self) {
        self.handles.clear();
        self.inbox.clear();
        self.replies.clear();
    }

    fn process(&mut self, kind: u8, mut fields: Fields<'_>) -> Vec<u8> {
        let id = fields.u32();
        match kind {
            1 => {
                assert_eq!(id, 3, "the version");
                let mut extensions = Vec::new();
                for (name, revision) in &self.behaviour.extensions {
                    extensions.extend(string(name.as_bytes()));
                    extensions.extend(string(revision.as_bytes()));
                }
                packet(2, &[&3u32.to_be_bytes(), &extensions])
            }
            3 => self.open(id, &mut fields),
            4 => {
                let known = self.handles.remove(&fields.handle()).is_some();
                status(
                    id,
                    if known && !self.behaviour.close_fails {
                        OK
                    } else {
                        FAILURE
                    },
                )
            }
            5 => self.read(id, &mut fields),
            6 => self.write(id, &mut fields),
            7 => {
                let path = fields.text();
                self.attributes(id, &path, false)
            }
            8 => {
                let path = self.handles[&fields.handle()].clone();
                self.attributes(id, &path, true)
            }
            13 => {
                let gone = self.files.remove(&fields.text()).is_some();
                status(id, if gone { OK } else { self.missing() })
            }
            14 => {
                self.folders.push(fields.text());
                status(id, OK)
            }
            18 => self.rename(id, &fields.text(), fields.text()),
            200 => self.extended(id, &fields.text(), &mut fields),
            _ => status(id, UNSUPPORTED),
        }
    }

    fn open(&mut self, id: u32, fields: &mut Fields<'_>) -> Vec<u8> {
        let (path, flags) = (fields.text(), fields.u32());
        match flags {
            0x01 | 0x02 if !self.files.contains_key(&path) => return status(id, self.missing()),
            0x01 | 0x02 => {}
            0x3a if self.files.contains_key(&path) => return status(id, FAILURE),
            0x3a => drop(self.files.insert(path.clone(), Vec::new())),
            other => panic!("open flags {other:#x}"),
        }
        if flags == 0x01 && self.behaviour.write_only {
            return status(id, PERMISSION_DENIED);
        }
        self.last_handle += 1;
        self.handles.insert(self.last_handle, path);
        self.most_handles = self.most_handles.max(self.handles.len());
        packet(
            102,
            &[&id.to_be_bytes(), &string(&self.last_handle.to_be_bytes())],
        )
    }

    fn read(&mut self, id: u32, fields: &mut Fields<'_>) -> Vec<u8> {
        let file = &self.files[&self.handles[&fields.handle()]];
        let (offset, len) = (fields.u64(), fields.u32() as usize);
        if self.behaviour.bad_block.is_some_and(|bad| offset >= bad) {
            return status(id, FAILURE);
        }
        let len = len.min(self.behaviour.read_len_max.unwrap_or(len));
        let rest = file.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        if rest.is_empty() {
            return status(id, EOF);
        }
        packet(103, &[&id.to_be_bytes(), &string(&rest[..len.min(rest.len())])])
    }

    fn write(&mut self, id: u32, fields: &mut Fields<'_>) -> Vec<u8> {
        let (handle, offset, data) = (fields.handle(), fields.u64(), fields.bytes());
        self.longest_write = self.longest_write.max(data.len());
        let end = offset + data.len() as u64;
        if self.behaviour.quota.is_some_and(|quota| end > quota) {
            return status(id, FAILURE);
        }
        let file = self.files.get_mut(&self.handles[&handle]).unwrap();
        let end = usize::try_from(end).unwrap();
        file.resize(file.len().max(end), 0);
        file[end - data.len()..end].copy_from_slice(data);
        let start = end - data.len();
        if let Some(at) = self.behaviour.spoils.filter(|at| (start..end).contains(at)) {
            file[at] ^= 1;
        }
        file.truncate(self.behaviour.loses_beyond.unwrap_or(usize::MAX));
        status(id, OK)
    }

    fn attributes(&self, id: u32, path: &str, by_handle: bool) -> Vec<u8> {
        if self.behaviour.sizes == Sizes::Forbidden {
            return status(id, UNSUPPORTED);
        }
        if path == FOLDER {
            return packet(105, &[&id.to_be_bytes(), &0u32.to_be_bytes()]);
        }
        let Some(file) = self.files.get(path) else {
            return status(id, self.missing());
        };
        if self.behaviour.sizes == Sizes::Hidden {
            return packet(105, &[&id.to_be_bytes(), &0u32.to_be_bytes()]);
        }
        let size = if by_handle && self.behaviour.sizes == Sizes::ShownAfterClose {
            0
        } else {
            file.len() as u64
        };
        packet(
            105,
            &[&id.to_be_bytes(), &1u32.to_be_bytes(), &size.to_be_bytes()],
        )
    }

    fn rename(&mut self, id: u32, from: &str, to: String) -> Vec<u8> {
        if self.files.contains_key(&to) && self.behaviour.renames != Renames::Replace {
            return status(id, FAILURE);
        }
        let Some(file) = self.files.remove(from) else {
            return status(id, self.missing());
        };
        self.publish(to, file);
        let says_so = self.behaviour.renames != Renames::LateError;
        status(id, if says_so { OK } else { FAILURE })
    }

    fn missing(&self) -> u32 {
        if self.behaviour.missing_fails {
            FAILURE
        } else {
            NO_SUCH_FILE
        }
    }

    fn link(&mut self, id: u32, from: &str, to: String) -> Vec<u8> {
        match self.files.get(from) {
            None => status(id, self.missing()),
            Some(_) if self.files.contains_key(&to) => status(id, FAILURE),
            Some(file) => {
                self.publish(to, file.clone());
                status(id, OK)
            }
        }
    }

    fn publish(&mut self, name: String, file: Vec<u8>) {
        if self.behaviour.receiver_waits && name.strip_suffix(".part").is_none() {
            self.taken.push((name, file));
        } else {
            self.files.insert(name, file);
        }
    }

    fn hash(&self, id: u32, path: &str, algorithm: &[u8]) -> Vec<u8> {
        match (self.files.get(path), self.behaviour.hasher) {
            (Some(file), Some(hasher)) => {
                let names = [string(b"check-file"), string(algorithm)].concat();
                packet(201, &[&id.to_be_bytes(), &names, &hasher(file)])
            }
            (None, _) => status(id, self.missing()),
            (_, None) => status(id, UNSUPPORTED),
        }
    }

    fn extended(&mut self, id: u32, name: &str, fields: &mut Fields<'_>) -> Vec<u8> {
        match name {
            "limits@openssh.com" => packet(
                201,
                &[
                    &id.to_be_bytes(),
                    &self.behaviour.limits.map(u64::to_be_bytes).concat(),
                ],
            ),
            "fsync@openssh.com" => {
                let known = self.handles.contains_key(&fields.handle());
                status(id, if known { OK } else { FAILURE })
            }
            "hardlink@openssh.com" => self.link(id, &fields.text(), fields.text()),
            "check-file-name" => self.hash(id, &fields.text(), fields.bytes()),
            _ => status(id, UNSUPPORTED),
        }
    }
}
