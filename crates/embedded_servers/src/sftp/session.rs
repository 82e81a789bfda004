//! One client's SFTP requests, carried out in the served folder (draft-ietf-secsh-filexfer-02, with the extensions of
//! OpenSSH's PROTOCOL file that logferry uses).
//!
//! Reads and writes run on the task itself, without another thread: they are short and go to the page cache.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, File, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode,
    Version,
};
use russh_sftp::server::{Handler, StatusReply};

use super::ServedFolder;
use super::fault_script::{ConnectionTokens, OfferedExtensions, ScriptedOperation, SftpOperation};
use super::remote_path::RemotePath;

/// The longest packet, in bytes: the transport's default.
const PACKET_LEN_MAX: u64 = 256 << 10;
/// The longest data of one read or write, in bytes, as OpenSSH has it.
const DATA_LEN_MAX: u64 = PACKET_LEN_MAX - 1024;
/// Files and folders one client may have open.
const HANDLES_MAX: usize = 256;
/// Entries of a folder in one reply, so that it stays short.
const ENTRIES_PER_REPLY: usize = 100;

/// The length of a handle that is longer than the protocol allows, in bytes.
const LONG_HANDLE: usize = 1000;

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";
const LIMITS: &str = "limits@openssh.com";
const HARDLINK: &str = "hardlink@openssh.com";

type SftpResult<T> = Result<T, StatusReply>;

enum OpenHandle {
    File { file: Arc<std::fs::File>, path: String },
    Folder(VecDeque<File>),
}

pub(crate) struct SftpSession {
    shared: Arc<ServedFolder>,
    tokens: ConnectionTokens,
    opened: HashMap<String, OpenHandle>,
    last_handle: u64,
}

impl SftpSession {
    pub(crate) fn new(shared: Arc<ServedFolder>, tokens: ConnectionTokens) -> Self {
        Self {
            shared,
            tokens,
            opened: HashMap::new(),
            last_handle: 0,
        }
    }

    fn local(&self, path: &str) -> PathBuf {
        RemotePath::parse(path).below(&self.shared.options.root)
    }

    fn keep(&mut self, id: u32, opened: OpenHandle) -> SftpResult<Handle> {
        if self.opened.len() >= HANDLES_MAX {
            return Err(StatusCode::Failure.with_message("too many open handles"));
        }
        self.last_handle += 1;
        let width = if self.shared.faults.injector.has_long_handles() {
            LONG_HANDLE
        } else {
            1
        };
        let handle = format!("{:0width$}", self.last_handle);
        self.opened.insert(handle.clone(), opened);
        Ok(Handle { id, handle })
    }

    fn file(&self, handle: &str) -> SftpResult<(&Arc<std::fs::File>, &str)> {
        match self.opened.get(handle) {
            Some(OpenHandle::File { file, path }) => Ok((file, path)),
            _ => Err(StatusCode::Failure.with_message("no such handle")),
        }
    }

    async fn begin(&self, operation: SftpOperation, path: &str) -> SftpResult<ScriptedOperation<'_>> {
        ScriptedOperation::begin(&self.shared.faults.injector, &self.tokens, operation, path).await
    }

    async fn fsync(&self, handle: &str) -> SftpResult<()> {
        let (file, path) = self.file(handle)?;
        let operation = self.begin(SftpOperation::Sync, path).await?;
        let file = Arc::clone(file);
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        synced.map_err(io::Error::from).flatten().map_err(refusal)?;
        operation.end(()).await
    }

    async fn change_name<F: Future<Output = io::Result<()>>>(
        &self,
        from: &str,
        to: &str,
        change: impl FnOnce(PathBuf, PathBuf) -> F,
    ) -> SftpResult<()> {
        let operation = self.begin(SftpOperation::Rename, from).await?;
        change(self.local(from), self.local(to)).await.map_err(refusal)?;
        operation.end(()).await
    }

    async fn attributes_of(
        &self,
        id: u32,
        path: &str,
        metadata: impl Future<Output = io::Result<std::fs::Metadata>>,
    ) -> SftpResult<Attrs> {
        let operation = self.begin(SftpOperation::Stat, path).await?;
        operation.end(attributes(id, metadata.await)?).await
    }
}

/// Moves a file to a name that must be free, as OpenSSH's server does for the plain rename. It adds a second name and
/// removes the first, so that at no moment another file can be replaced.
async fn rename_to_free_name(from: PathBuf, to: PathBuf) -> io::Result<()> {
    tokio::fs::hard_link(&from, to).await?;
    tokio::fs::remove_file(from).await
}

async fn list(folder: &Path) -> io::Result<Vec<File>> {
    let mut entries = Vec::new();
    let mut reader = tokio::fs::read_dir(folder).await?;
    while let Some(entry) = reader.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        // A file may vanish between being listed and being examined.
        if let Ok(metadata) = entry.metadata().await {
            entries.push(File::new(name, FileAttributes::from(&metadata)));
        }
    }
    entries.sort_by(|a, b| a.filename.cmp(&b.filename));
    Ok(entries)
}

/// The status for a failed system call. As in OpenSSH, only two errors have a code of their own.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes it by value")]
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

fn string<'a>(data: &mut &'a [u8]) -> SftpResult<&'a str> {
    let bad = || StatusReply::from(StatusCode::BadMessage);
    let (len, rest) = data.split_first_chunk().ok_or_else(bad)?;
    let len = u32::from_be_bytes(*len) as usize;
    let (text, rest) = rest.split_at_checked(len).ok_or_else(bad)?;
    *data = rest;
    str::from_utf8(text).map_err(|_| bad())
}

fn attributes(id: u32, metadata: io::Result<std::fs::Metadata>) -> SftpResult<Attrs> {
    let attrs = FileAttributes::from(&metadata.map_err(refusal)?);
    Ok(Attrs { id, attrs })
}

impl Handler for SftpSession {
    type Error = StatusReply;

    fn unimplemented(&self) -> Self::Error {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _version: u32, _extensions: HashMap<String, String>) -> SftpResult<Version> {
        let mut version = Version::new();
        let extensions: &[&str] = match self.shared.faults.injector.extensions() {
            OfferedExtensions::Standard => &[POSIX_RENAME, FSYNC, LIMITS],
            OfferedExtensions::WithHardlink => &[POSIX_RENAME, FSYNC, LIMITS, HARDLINK],
            OfferedExtensions::None => &[],
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
    ) -> SftpResult<Handle> {
        let (shared, tokens) = (Arc::clone(&self.shared), self.tokens.clone());
        let injector = &shared.faults.injector;
        let operation = ScriptedOperation::begin(injector, &tokens, SftpOperation::Open, &filename).await?;
        let options = tokio::fs::OpenOptions::from(std::fs::OpenOptions::from(flags));
        let file = options.open(self.local(&filename)).await.map_err(refusal)?;
        let (file, path) = (Arc::new(file.into_std().await), filename);
        operation
            .end(self.keep(id, OpenHandle::File { file, path })?)
            .await
    }

    async fn close(&mut self, id: u32, handle: String) -> SftpResult<Status> {
        let (file, path) = match self.opened.remove(&handle) {
            Some(OpenHandle::File { file, path }) => (file, path),
            Some(OpenHandle::Folder(_)) => return Ok(done(id)),
            None => return Err(StatusCode::Failure.with_message("no such handle")),
        };
        let operation = self.begin(SftpOperation::Close, &path).await?;
        drop(file);
        if operation.takes_away() {
            tokio::fs::remove_file(self.local(&path)).await.map_err(refusal)?;
        }
        operation.end(done(id)).await
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, len: u32) -> SftpResult<Data> {
        let (file, path) = self.file(&handle)?;
        let operation = self.begin(SftpOperation::Read, path).await?;
        let mut data = vec![0; u64::from(len).min(DATA_LEN_MAX) as usize];
        let read = file.read_at(&mut data, offset).map_err(refusal)?;
        data.truncate(read);
        let answer = (read > 0).then_some(Data { id, data });
        let answer = answer.ok_or(StatusCode::Eof.into());
        operation.end(answer).await?
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> SftpResult<Status> {
        if self.shared.faults.refuse_writes.load(Ordering::Relaxed) {
            return Err(StatusCode::Failure.with_message("no space left"));
        }
        let (file, path) = self.file(&handle)?;
        let operation = self.begin(SftpOperation::Write, path).await?;
        let written = file.write_all_at(&operation.altered(data), offset);
        written.map_err(refusal)?;
        operation.end(done(id)).await
    }

    async fn lstat(&mut self, id: u32, path: String) -> SftpResult<Attrs> {
        let metadata = tokio::fs::symlink_metadata(self.local(&path));
        self.attributes_of(id, &path, metadata).await
    }

    async fn stat(&mut self, id: u32, path: String) -> SftpResult<Attrs> {
        let metadata = tokio::fs::metadata(self.local(&path));
        self.attributes_of(id, &path, metadata).await
    }

    async fn fstat(&mut self, id: u32, handle: String) -> SftpResult<Attrs> {
        let (file, path) = self.file(&handle)?;
        let operation = self.begin(SftpOperation::Fstat, path).await?;
        operation.end(attributes(id, file.metadata())?).await
    }

    async fn opendir(&mut self, id: u32, path: String) -> SftpResult<Handle> {
        let entries = list(&self.local(&path)).await.map_err(refusal)?;
        self.keep(id, OpenHandle::Folder(entries.into()))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> SftpResult<Name> {
        let Some(OpenHandle::Folder(entries)) = self.opened.get_mut(&handle) else {
            return Err(StatusCode::Failure.with_message("no such handle"));
        };
        if entries.is_empty() {
            return Err(StatusCode::Eof.into());
        }
        let files = entries.drain(..entries.len().min(ENTRIES_PER_REPLY)).collect();
        Ok(Name { id, files })
    }

    async fn remove(&mut self, id: u32, filename: String) -> SftpResult<Status> {
        let operation = self.begin(SftpOperation::Remove, &filename).await?;
        let removed = tokio::fs::remove_file(self.local(&filename)).await;
        removed.map_err(refusal)?;
        operation.end(done(id)).await
    }

    async fn mkdir(&mut self, id: u32, path: String, _attributes: FileAttributes) -> SftpResult<Status> {
        tokio::fs::create_dir(self.local(&path)).await.map_err(refusal)?;
        Ok(done(id))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> SftpResult<Status> {
        tokio::fs::remove_dir(self.local(&path)).await.map_err(refusal)?;
        Ok(done(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> SftpResult<Name> {
        let files = vec![File::dummy(RemotePath::parse(&path).to_string())];
        Ok(Name { id, files })
    }

    async fn rename(&mut self, id: u32, from: String, to: String) -> SftpResult<Status> {
        if self.shared.faults.injector.refuses_plain_rename() {
            return Err(StatusCode::Failure.with_message("no links on this file system"));
        }
        if self.shared.faults.injector.rename_replaces() {
            self.change_name(&from, &to, tokio::fs::rename).await?;
        } else {
            self.change_name(&from, &to, rename_to_free_name).await?;
        }
        Ok(done(id))
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> SftpResult<Packet> {
        let mut data = &data[..];
        match request.as_str() {
            FSYNC => self.fsync(string(&mut data)?).await?,
            POSIX_RENAME => {
                let (from, to) = (string(&mut data)?, string(&mut data)?);
                self.change_name(from, to, tokio::fs::rename).await?;
            }
            HARDLINK if self.shared.faults.injector.extensions() == OfferedExtensions::WithHardlink => {
                let (from, to) = (string(&mut data)?, string(&mut data)?);
                self.change_name(from, to, tokio::fs::hard_link).await?;
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
