//! The sorts of servers there are, good ones and others.

use logferry_config::{Publishing, VerifyMode};
use sha2::{Digest, Sha256};

use super::fake::{Renames, Sizes, Ways};
use crate::publish::publish_steps::PublishMethod;

/// With everything beside the batch that can be.
pub(super) fn accompanied(verify: VerifyMode) -> Publishing {
    Publishing {
        verify,
        manifest: true,
        marker: Some(".ok".to_owned()),
        ..Publishing::default()
    }
}

/// How a server is, and how batches are to appear there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) ways: Ways,
    pub(super) publish_method: PublishMethod,
    pub(super) publish: Publishing,
}

impl Place {
    pub(super) fn new(ways: Ways) -> Self {
        Self {
            ways,
            publish_method: PublishMethod::Rename,
            publish: Publishing::default(),
        }
    }

    pub(super) fn accompanied(ways: Ways, verify: VerifyMode) -> Self {
        Self {
            publish: accompanied(verify),
            ..Self::new(ways)
        }
    }
}

/// Every sort of server that batches come to in one piece, with all that can be beside them.
pub(super) fn places() -> Vec<(&'static str, Place)> {
    let mut places = vec![("plain", Place::new(Ways::default()))];
    places.extend(plain_ways().map(|(name, ways)| (name, Place::accompanied(ways, VerifyMode::Size))));
    places.extend(hashing_ways().map(|(name, ways)| (name, Place::accompanied(ways, VerifyMode::Hash))));
    let short_reads = Ways {
        read_len_max: Some(17),
        ..Ways::default()
    };
    places.push((
        "short reads",
        Place::accompanied(short_reads, VerifyMode::ReadBack),
    ));
    let links = Ways {
        renames: Renames::Replace,
        ..with("hardlink@openssh.com")
    };
    for (name, ways) in [
        ("rename replaces, links", links),
        ("says that it links, and does not", Ways::default()),
    ] {
        let place = Place {
            publish_method: PublishMethod::Link,
            ..Place::accompanied(ways, VerifyMode::Size)
        };
        places.push((name, place));
    }
    places
}

fn with(extension: &'static str) -> Ways {
    Ways {
        extensions: vec![(extension, "1")],
        ..Ways::default()
    }
}

fn plain_ways() -> impl Iterator<Item = (&'static str, Ways)> {
    let sizes = [
        ("no sizes", Sizes::Hidden),
        ("size after close", Sizes::ShownAfterClose),
        ("stat forbidden", Sizes::Forbidden),
    ]
    .map(|(name, sizes)| {
        let ways = Ways {
            sizes,
            ..Ways::default()
        };
        (name, ways)
    });
    let renames = [
        ("rename refuses", Renames::Refuse),
        ("rename replaces", Renames::Replace),
        ("late error of a rename", Renames::LateError),
    ]
    .map(|(name, renames)| {
        let ways = Ways {
            renames,
            ..Ways::default()
        };
        (name, ways)
    });
    let syncs = ("syncs", with("fsync@openssh.com"));
    sizes.into_iter().chain(renames).chain([syncs])
}

fn hashing_ways() -> impl Iterator<Item = (&'static str, Ways)> {
    let hashing = |hasher| Ways {
        hasher: Some(hasher),
        ..with("check-file")
    };
    [
        ("no hash", Ways::default()),
        ("hash", hashing(|file| Sha256::digest(file).to_vec())),
        ("wrong hash", hashing(|_| vec![7; 32])),
        ("another hash", hashing(|_| vec![7; 20])),
    ]
    .into_iter()
}
