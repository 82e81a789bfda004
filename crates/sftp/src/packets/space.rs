//! How much room a server has, as `statvfs@openssh.com` tells (OpenSSH's PROTOCOL file, section 4.4).

use std::fmt;

use crate::error::ProtocolError;
use crate::packets::reply::Fields;
use crate::packets::request as wire;

/// The room left for an ordinary user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes that can still be written.
    pub bytes: u64,
    /// Files that can still be made. Some file systems count none, and then say 0 here as for `files_in_all`.
    pub files: u64,
    /// Files there can be in all.
    pub files_in_all: u64,
}

impl FreeSpace {
    /// Reads the body of the answer: block size, fragment size, blocks, free blocks, those for ordinary users, files,
    /// free files, those for ordinary users, and more.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields {
            kind: wire::kind::EXTENDED_REPLY,
            rest: body,
        };
        let mut next = || fields.u64();
        let (_block, fragment, _blocks, _free) = (next()?, next()?, next()?, next()?);
        let (available, files_in_all, _free_files, files) = (next()?, next()?, next()?, next()?);
        Ok(Self {
            bytes: available.saturating_mul(fragment),
            files,
            files_in_all,
        })
    }

    /// Whether a file of so many bytes cannot be had there.
    pub fn is_too_little_for(&self, bytes: u64) -> bool {
        self.bytes < bytes || (self.files == 0 && self.files_in_all > 0)
    }
}

impl fmt::Display for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, files, .. } = self;
        write!(f, "{bytes} bytes and {files} files are free")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_read_for_ordinary_users() {
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
        assert!(
            FreeSpace {
                files_in_all: 1,
                ..free
            }
            .is_too_little_for(1)
        );
    }
}
