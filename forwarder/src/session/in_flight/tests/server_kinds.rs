//! The kinds of servers: correct ones and others.

use logferry_config::{Publishing, VerifyMode};
use sha2::{Digest, Sha256};

use super::fake::{Renames, ServerBehaviour, Sizes};
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
    pub(super) behaviour: ServerBehaviour,
    pub(super) method: PublishMethod,
    pub(super) publish: Publishing,
}

impl ServerKind {
    pub(super) fn new(behaviour: ServerBehaviour) -> Self {
        Self {
            behaviour,
            method: PublishMethod::Rename,
            publish: Publishing::default(),
        }
    }

    pub(super) fn with_sidecars(behaviour: ServerBehaviour, verify: VerifyMode) -> Self {
        Self {
            publish: with_sidecars(verify),
            ..Self::new(behaviour)
        }
    }
}

/// Every kind of server at which batches arrive complete, with manifest and marker.
pub(super) fn server_kinds() -> Vec<(&'static str, ServerKind)> {
    let mut server_kinds = vec![("plain", ServerKind::new(ServerBehaviour::default()))];
    server_kinds.extend(
        plain_ways().map(|(name, behaviour)| (name, ServerKind::with_sidecars(behaviour, VerifyMode::Size))),
    );
    server_kinds.extend(
        hashing_ways()
            .map(|(name, behaviour)| (name, ServerKind::with_sidecars(behaviour, VerifyMode::Hash))),
    );
    let short_reads = behaviour(|it| it.read_len_max = Some(17));
    server_kinds.push((
        "short reads",
        ServerKind::with_sidecars(short_reads, VerifyMode::ReadBack),
    ));
    let links = ServerBehaviour {
        renames: Renames::Replace,
        ..with("hardlink@openssh.com")
    };
    for (name, behaviour) in [
        ("rename replaces, links", links),
        ("says that it links, and does not", ServerBehaviour::default()),
    ] {
        let kind = ServerKind {
            method: PublishMethod::Link,
            ..ServerKind::with_sidecars(behaviour, VerifyMode::Size)
        };
        server_kinds.push((name, kind));
    }
    server_kinds
}

/// A server that differs from a correct one in this.
pub(super) fn behaviour(change: impl FnOnce(&mut ServerBehaviour)) -> ServerBehaviour {
    let mut behaviour = ServerBehaviour::default();
    change(&mut behaviour);
    behaviour
}

fn with(extension: &'static str) -> ServerBehaviour {
    behaviour(|it| it.extensions = vec![(extension, "1")])
}

fn plain_ways() -> impl Iterator<Item = (&'static str, ServerBehaviour)> {
    let sizes = [
        ("no sizes", Sizes::Hidden),
        ("size after close", Sizes::ShownAfterClose),
        ("stat forbidden", Sizes::Forbidden),
    ]
    .map(|(name, sizes)| {
        let behaviour = ServerBehaviour {
            sizes,
            ..ServerBehaviour::default()
        };
        (name, behaviour)
    });
    let renames = [
        ("rename refuses", Renames::Refuse),
        ("rename replaces", Renames::Replace),
        ("late error of a rename", Renames::LateError),
    ]
    .map(|(name, renames)| {
        let behaviour = ServerBehaviour {
            renames,
            ..ServerBehaviour::default()
        };
        (name, behaviour)
    });
    let others = [
        ("syncs", with("fsync@openssh.com")),
        ("missing is a failure", behaviour(|it| it.missing_fails = true)),
    ];
    sizes.into_iter().chain(renames).chain(others)
}

fn hashing_ways() -> impl Iterator<Item = (&'static str, ServerBehaviour)> {
    let hashing = |hasher| ServerBehaviour {
        hasher: Some(hasher),
        ..with("check-file")
    };
    [
        ("no hash", ServerBehaviour::default()),
        ("hash", hashing(|file| Sha256::digest(file).to_vec())),
        ("wrong hash", hashing(|_| vec![7; 32])),
        ("another hash", hashing(|_| vec![7; 20])),
    ]
    .into_iter()
}
