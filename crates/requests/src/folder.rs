//! The files of requests.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use logferry_durable::{Disk, DiskError, DiskOperation, RealDisk};

use crate::request::ConsoleRequest;

/// The folder's name in the console's folder.
const FOLDER: &str = "requests";
/// Bytes of a file.
const BYTES_MAX: u64 = 64 << 10;
/// Files that are looked at in one pass.
const FILES_MAX: usize = 1000;
/// Not through a symbolic link (open(2), `O_NOFOLLOW`), and not waiting for a pipe.
const FLAGS: i32 = 0o400_000 | 0o4000;

/// A request cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RequestFolderError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It cannot be written as JSON.
    #[error("a request cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// The requests in the console's folder.
#[derive(Debug, Clone)]
pub struct RequestFolder {
    path: PathBuf,
}

impl RequestFolder {
    /// Those in the folder of a console.
    pub fn of(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FOLDER),
        }
    }

    /// Makes a request durable. After a crash before the end it is not there, or whole.
    pub fn put(&self, request: &ConsoleRequest) -> Result<(), RequestFolderError> {
        RealDisk.create_dir_all(&self.path)?;
        let json = serde_json::to_vec(request)?;
        Ok(RealDisk.replace(&self.file(&request.id), &json)?)
    }

    /// Removes a request that has its outcome.
    pub fn remove(&self, id: &str) -> Result<(), DiskError> {
        RealDisk.remove(&self.file(id))
    }

    /// The requests that are there, by age. What cannot be read, or is none, is left where it is: the console removes it.
    pub fn list(&self) -> Result<Vec<ConsoleRequest>, DiskError> {
        let names = RealDisk.list(&self.path)?;
        let ids = names.iter().filter_map(|name| name.strip_suffix(".json"));
        let ids = ids.filter(|id| ConsoleRequest::is_id(id)).take(FILES_MAX);
        let mut requests: Vec<_> = ids.filter_map(|id| self.read(id).ok().flatten()).collect();
        requests.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
        Ok(requests)
    }

    fn read(&self, id: &str) -> Result<Option<ConsoleRequest>, DiskError> {
        let path = self.file(id);
        let failed = |error| DiskError::new(DiskOperation::Read, &path, error);
        let opened = OpenOptions::new().read(true).custom_flags(FLAGS).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::from(ErrorKind::InvalidInput)));
        }
        let mut json = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut json).map_err(failed)?;
        let request: Option<ConsoleRequest> = serde_json::from_slice(&json).ok();
        Ok(request.filter(|request| request.id == id))
    }

    fn file(&self, id: &str) -> PathBuf {
        self.path.join(format!("{id}.json"))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::request::RequestedAction;

    fn request(id: &str, second: i64) -> ConsoleRequest {
        ConsoleRequest {
            id: id.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
            who: "ops".to_owned(),
            action: RequestedAction::Retry {
                batches: vec!["a".to_owned()],
            },
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests lay out files")]
    fn requests_are_read_back_by_age_and_nothing_else_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RequestFolder::of(dir.path());
        assert_eq!(folder.list().unwrap(), [], "no folder yet");
        for request in [request("b", 1), request("a", 2), request("c", 3)] {
            folder.put(&request).unwrap();
        }
        let path = |name: &str| dir.path().join("requests").join(name);
        std::fs::write(path("d.json"), b"{\"id\":\"d\"").unwrap();
        // A name that is not its own: it would be carried out under two.
        std::fs::copy(path("a.json"), path("e.json")).unwrap();
        std::fs::write(path("a.json.tmp"), b"half").unwrap();
        std::os::unix::fs::symlink(path("a.json"), path("f.json")).unwrap();
        std::fs::create_dir(path("g.json")).unwrap();
        std::fs::write(path("h.json"), vec![b' '; 70 << 10]).unwrap();
        let ids = |folder: &RequestFolder| {
            let requests = folder.list().unwrap().into_iter();
            requests.map(|request| request.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&folder), ["b", "a", "c"]);
        folder.remove("b").unwrap();
        folder.remove("b").unwrap();
        assert_eq!(ids(&folder), ["a", "c"]);
    }
}
