//! The SFTP server's inner half: one client's requests, carried out in the folder (draft-ietf-secsh-filexfer-02, with
//! the extensions of OpenSSH's PROTOCOL file that logferry may use).
//!
//! Reads and writes are done in place, without a thread of their own: they are short and meet the page cache.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, File, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode,
    Version,
};
use russh_sftp::server::{Handler, StatusReply};

use crate::folder::{RemotePath, list, rename_to_free_name};
use crate::script::{Extensions, Line, Request, Turn};
use crate::sftp::Account;

/// The longest packet, in bytes: what the transport takes by default.
const PACKET_LEN_MAX: u64 = 256 << 10;
/// The longest data of one read or write, in bytes, as OpenSSH has it.
const DATA_LEN_MAX: u64 = PACKET_LEN_MAX - 1024;
/// Files and folders one client may have open.
const HANDLES_MAX: usize = 256;
/// Entries of a folder in one reply, so that it stays short.
const ENTRIES_PER_REPLY: usize = 100;

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";
const LIMITS: &str = "limits@openssh.com";
const HARDLINK: &str = "hardlink@openssh.com";

type Answer<T> = Result<T, StatusReply>;

/// What a handle stands for.
enum Opened {
    File {
        file: Arc<std::fs::File>,
        /// As it was opened by.
        path: String,
    },
    /// The entries not yet told.
    Folder(VecDeque<File>),
}

/// One client's SFTP channel.
pub(crate) struct SftpSession {
    account: Arc<Account>,
    line: Line,
    opened: HashMap<String, Opened>,
    last_handle: u64,
}

impl SftpSession {
    pub(crate) fn new(account: Arc<Account>, line: Line) -> Self {
        Self {
            account,
            line,
            opened: HashMap::new(),
            last_handle: 0,
        }
    }

    fn local(&self, path: &str) -> PathBuf {
        RemotePath::parse(path).below(&self.account.root)
    }

    fn keep(&mut self, id: u32, opened: Opened) -> Answer<Handle> {
        if self.opened.len() >= HANDLES_MAX {
            return Err(StatusCode::Failure.with_message("too many open handles"));
        }
        self.last_handle += 1;
        let handle = self.last_handle.to_string();
        self.opened.insert(handle.clone(), opened);
        Ok(Handle { id, handle })
    }

    fn file(&self, handle: &str) -> Answer<(&Arc<std::fs::File>, &str)> {
        match self.opened.get(handle) {
            Some(Opened::File { file, path }) => Ok((file, path)),
            _ => Err(StatusCode::Failure.with_message("no such handle")),
        }
    }

    /// Begins to carry out a request for a file, as the script has it.
    async fn turn(&self, request: Request, path: &str) -> Answer<Turn<'_>> {
        Turn::begin(&self.account.faults.play, &self.line, request, path).await
    }

    async fn fsync(&self, handle: &str) -> Answer<()> {
        let (file, path) = self.file(handle)?;
        let turn = self.turn(Request::Sync, path).await?;
        let file = Arc::clone(file);
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        synced.map_err(io::Error::from).flatten().map_err(refusal)?;
        turn.end(()).await
    }

    async fn rename_over(&self, from: &str, to: &str) -> Answer<()> {
        let turn = self.turn(Request::Rename, from).await?;
        let (from, to) = (self.local(from), self.local(to));
        tokio::fs::rename(from, to).await.map_err(refusal)?;
        turn.end(()).await
    }

    async fn link(&self, from: &str, to: &str) -> Answer<()> {
        let turn = self.turn(Request::Rename, from).await?;
        let (from, to) = (self.local(from), self.local(to));
        tokio::fs::hard_link(from, to).await.map_err(refusal)?;
        turn.end(()).await
    }

    /// Tells the attributes of what has a name.
    async fn attributes_of(
        &self,
        id: u32,
        path: &str,
        metadata: impl Future<Output = io::Result<std::fs::Metadata>>,
    ) -> Answer<Attrs> {
        let turn = self.turn(Request::Stat, path).await?;
        turn.end(attributes(id, metadata).await?).await
    }
}

/// The status for a failed system call; like OpenSSH, only two errors have a code of their own.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
fn refusal(error: io::Error) -> StatusReply {
    let code = match error.kind() {
        io::ErrorKind::NotFound => StatusCode::NoSuchFile,
        io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    };
    code.with_message(error.to_string())
}

fn done(id: u32) -> Status {
    Status {
        id,
        status_code: StatusCode::Ok,
        error_message: "Success".to_owned(),
        language_tag: "en".to_owned(),
    }
}

/// Takes the next string off an extended request's data.
fn string<'a>(data: &mut &'a [u8]) -> Answer<&'a str> {
    let bad = || StatusReply::from(StatusCode::BadMessage);
    let (len, rest) = data.split_first_chunk().ok_or_else(bad)?;
    let (text, rest) = rest
        .split_at_checked(u32::from_be_bytes(*len) as usize)
        .ok_or_else(bad)?;
    *data = rest;
    str::from_utf8(text).map_err(|_| bad())
}

async fn attributes(id: u32, metadata: impl Future<Output = io::Result<std::fs::Metadata>>) -> Answer<Attrs> {
    let metadata = metadata.await.map_err(refusal)?;
    Ok(Attrs {
        id,
        attrs: FileAttributes::from(&metadata),
    })
}

impl Handler for SftpSession {
    type Error = StatusReply;

    fn unimplemented(&self) -> Self::Error {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _version: u32, _extensions: HashMap<String, String>) -> Answer<Version> {
        let mut version = Version::new();
        let extensions: &[&str] = match self.account.faults.play.extensions() {
            Extensions::Usual => &[POSIX_RENAME, FSYNC, LIMITS],
            Extensions::Links => &[POSIX_RENAME, FSYNC, LIMITS, HARDLINK],
            Extensions::None => &[],
        };
        for extension in extensions {
            version.extensions.insert((*extension).to_owned(), "1".to_owned());
        }
        Ok(version)
    }

    async fn open(
        &mut self,
        id: u32,
        filename: String,
        flags: OpenFlags,
        _attributes: FileAttributes,
    ) -> Answer<Handle> {
        let (account, line) = (Arc::clone(&self.account), self.line.clone());
        let turn = Turn::begin(&account.faults.play, &line, Request::Open, &filename).await?;
        let options = tokio::fs::OpenOptions::from(std::fs::OpenOptions::from(flags));
        let file = options.open(self.local(&filename)).await.map_err(refusal)?;
        let file = Arc::new(file.into_std().await);
        let path = filename;
        turn.end(self.keep(id, Opened::File { file, path })?).await
    }

    async fn close(&mut self, id: u32, handle: String) -> Answer<Status> {
        let Some(opened) = self.opened.remove(&handle) else {
            return Err(StatusCode::Failure.with_message("no such handle"));
        };
        let Opened::File { file, path } = opened else {
            return Ok(done(id));
        };
        let turn = self.turn(Request::Close, &path).await?;
        drop(file);
        turn.end(done(id)).await
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> Answer<Data> {
        let (file, path) = self.file(&handle)?;
        let turn = self.turn(Request::Read, path).await?;
        let mut data = vec![0; u64::from(len).min(DATA_LEN_MAX) as usize];
        let read = file.read_at(&mut data, offset).map_err(refusal)?;
        data.truncate(read);
        let answer = if read == 0 {
            Err(StatusCode::Eof.into())
        } else {
            Ok(Data { id, data })
        };
        turn.end(answer).await?
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Answer<Status> {
        if self.account.faults.writes_refused() {
            return Err(StatusCode::Failure.with_message("no space left"));
        }
        let (file, path) = self.file(&handle)?;
        let turn = self.turn(Request::Write, path).await?;
        file.write_all_at(&turn.altered(data), offset).map_err(refusal)?;
        turn.end(done(id)).await
    }

    async fn lstat(&mut self, id: u32, path: String) -> Answer<Attrs> {
        let metadata = tokio::fs::symlink_metadata(self.local(&path));
        self.attributes_of(id, &path, metadata).await
    }

    async fn stat(&mut self, id: u32, path: String) -> Answer<Attrs> {
        let metadata = tokio::fs::metadata(self.local(&path));
        self.attributes_of(id, &path, metadata).await
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Answer<Attrs> {
        let (file, path) = self.file(&handle)?;
        let turn = self.turn(Request::Fstat, path).await?;
        let metadata = std::future::ready(file.metadata());
        turn.end(attributes(id, metadata).await?).await
    }

    async fn opendir(&mut self, id: u32, path: String) -> Answer<Handle> {
        let entries = list(&self.local(&path)).await.map_err(refusal)?;
        self.keep(id, Opened::Folder(entries.into()))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Answer<Name> {
        let Some(Opened::Folder(entries)) = self.opened.get_mut(&handle) else {
            return Err(StatusCode::Failure.with_message("no such handle"));
        };
        if entries.is_empty() {
            return Err(StatusCode::Eof.into());
        }
        let files = entries.drain(..entries.len().min(ENTRIES_PER_REPLY)).collect();
        Ok(Name { id, files })
    }

    async fn remove(&mut self, id: u32, filename: String) -> Answer<Status> {
        let turn = self.turn(Request::Remove, &filename).await?;
        let removed = tokio::fs::remove_file(self.local(&filename)).await;
        removed.map_err(refusal)?;
        turn.end(done(id)).await
    }

    async fn mkdir(&mut self, id: u32, path: String, _attributes: FileAttributes) -> Answer<Status> {
        tokio::fs::create_dir(self.local(&path)).await.map_err(refusal)?;
        Ok(done(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Answer<Status> {
        tokio::fs::remove_dir(self.local(&path)).await.map_err(refusal)?;
        Ok(done(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Answer<Name> {
        Ok(Name {
            id,
            files: vec![File::dummy(RemotePath::parse(&path).to_string())],
        })
    }

    async fn rename(&mut self, id: u32, from: String, to: String) -> Answer<Status> {
        if self.account.faults.play.rename_replaces() {
            self.rename_over(&from, &to).await?;
            return Ok(done(id));
        }
        let turn = self.turn(Request::Rename, &from).await?;
        let renamed = rename_to_free_name(&self.local(&from), &self.local(&to)).await;
        renamed.map_err(refusal)?;
        turn.end(done(id)).await
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Answer<Packet> {
        let mut data = &data[..];
        match request.as_str() {
            FSYNC => self.fsync(string(&mut data)?).await?,
            POSIX_RENAME => {
                let (from, to) = (string(&mut data)?, string(&mut data)?);
                self.rename_over(from, to).await?;
            }
            HARDLINK if self.account.faults.play.extensions() == Extensions::Links => {
                let (from, to) = (string(&mut data)?, string(&mut data)?);
                self.link(from, to).await?;
            }
            LIMITS => {
                let limits = [PACKET_LEN_MAX, DATA_LEN_MAX, DATA_LEN_MAX, HANDLES_MAX as u64];
                let data = limits.map(u64::to_be_bytes).concat();
                return Ok(Packet::ExtendedReply(ExtendedReply { id, data }));
            }
            _ => return Err(self.unimplemented()),
        }
        Ok(Packet::Status(done(id)))
    }
}
