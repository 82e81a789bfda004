//! The server's free space from `statvfs@openssh.com` (OpenSSH's PROTOCOL file, section 4.4).

use crate::error::ProtocolError;
use crate::packets::reply::Fields;

/// The free space for an ordinary user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes that can still be written.
    pub bytes: u64,
    /// Files that can still be created. Some file systems do not count files: both this and `files_in_all` are 0.
    pub files: u64,
    /// The largest possible number of files.
    pub files_in_all: u64,
}

impl FreeSpace {
    /// Reads the body of the reply: block size, fragment size, blocks, free blocks, free blocks for ordinary users, files,
    /// free files, free files for ordinary users, and more.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields::extended(body);
        let mut next = || fields.u64();
        let (_block, fragment, _blocks, _free) = (next()?, next()?, next()?, next()?);
        let (available, files_in_all, _free_files, files) = (next()?, next()?, next()?, next()?);
        Ok(Self {
            bytes: available.saturating_mul(fragment),
            files,
            files_in_all,
        })
    }

    /// Whether a file of this many bytes does not fit.
    pub fn is_too_little_for(&self, bytes: u64) -> bool {
        self.bytes < bytes || self.has_no_files()
    }

    /// Whether no further file can be created, however small.
    pub fn has_no_files(&self) -> bool {
        self.files == 0 && self.files_in_all > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_is_read_for_ordinary_users() {
        let body: Vec<u8> = [4096u64, 1024, 100, 50, 40, 9, 8, 7, 0, 0, 255]
            .into_iter()
            .flat_map(u64::to_be_bytes)
            .collect();
        let free = FreeSpace::parse(&body).unwrap();
        assert_eq!((free.bytes, free.files, free.files_in_all), (40 << 10, 7, 9));
        assert!(free.is_too_little_for((40 << 10) + 1) && !free.is_too_little_for(40 << 10));
        assert!(FreeSpace::parse(&body[..60]).is_err());
    }

    #[test]
    fn file_system_that_does_not_count_files_has_room_for_them() {
        let free = FreeSpace {
            bytes: 1,
            files: 0,
            files_in_all: 0,
        };
        assert!(!free.is_too_little_for(1));
        let files_in_all = 1;
        assert!(FreeSpace { files_in_all, ..free }.is_too_little_for(1));
    }
}
