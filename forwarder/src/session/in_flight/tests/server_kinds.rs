//! The kinds of servers: correct ones and others.

use logferry_config::{Publishing, VerifyMode};
use sha2::{Digest, Sha256};

use super::fake::{Renames, Sizes, Ways};
use crate::publish::publish_steps::PublishMethod;

/// With a manifest and a marker beside each batch.
pub(super) fn with_sidecars(verify: VerifyMode) -> Publishing {
    Publishing {
        verify,
        manifest: true,
        marker: Some(".ok".to_owned()),
        ..Publishing::default()
    }
}

/// The behaviour of a server, and how batches are published there.
#[derive(Debug, Clone)]
pub(super) struct ServerKind {
    pub(super) ways: Ways,
    pub(super) method: PublishMethod,
    pub(super) publish: Publishing,
}

impl ServerKind {
    pub(super) fn new(ways: Ways) -> Self {
        Self {
            ways,
            method: PublishMethod::Rename,
            publish: Publishing::default(),
        }
    }

    pub(super) fn with_sidecars(ways: Ways, verify: VerifyMode) -> Self {
        Self {
            publish: with_sidecars(verify),
            ..Self::new(ways)
        }
    }
}

/// Every kind of server at which batches arrive complete, with manifest and marker.
pub(super) fn server_kinds() -> Vec<(&'static str, ServerKind)> {
    let mut server_kinds = vec![("plain", ServerKind::new(Ways::default()))];
    server_kinds
        .extend(plain_ways().map(|(name, ways)| (name, ServerKind::with_sidecars(ways, VerifyMode::Size))));
    server_kinds
        .extend(hashing_ways().map(|(name, ways)| (name, ServerKind::with_sidecars(ways, VerifyMode::Hash))));
    let short_reads = ways(|it| it.read_len_max = Some(17));
    server_kinds.push((
        "short reads",
        ServerKind::with_sidecars(short_reads, VerifyMode::ReadBack),
    ));
    let links = Ways {
        renames: Renames::Replace,
        ..with("hardlink@openssh.com")
    };
    for (name, ways) in [
        ("rename replaces, links", links),
        ("says that it links, and does not", Ways::default()),
    ] {
        let kind = ServerKind {
            method: PublishMethod::Link,
            ..ServerKind::with_sidecars(ways, VerifyMode::Size)
        };
        server_kinds.push((name, kind));
    }
    server_kinds
}

/// A server that differs from a correct one in this.
pub(super) fn ways(change: impl FnOnce(&mut Ways)) -> Ways {
    let mut ways = Ways::default();
    change(&mut ways);
    ways
}

fn with(extension: &'static str) -> Ways {
    ways(|it| it.extensions = vec![(extension, "1")])
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
