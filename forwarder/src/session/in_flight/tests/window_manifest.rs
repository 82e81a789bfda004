//! A window manifest where an earlier attempt was interrupted, or a foreign file has its name.

use super::*;

#[test]
fn manifest_is_published_whole_whatever_was_left_under_its_temporary_name() {
    for left in [&b"left behind"[..], &sealed::MANIFEST[..4], sealed::MANIFEST, b""] {
        let mut sealed = Sealed::new(&[], ServerKind::new(ServerBehaviour::default()));
        let mut server = sealed.server();
        server.files.insert("/drop/W.json.part".to_owned(), left.to_vec());
        let completed = run(&mut sealed, &[0], &mut server, None);
        assert!(
            matches!(completed[..], [(0, Ok(PublishOutcome::Published))]),
            "{completed:?}"
        );
        assert_eq!(server.files, sealed.published());
    }
}

#[test]
fn foreign_file_under_its_name_is_left_alone() {
    let mut sealed = Sealed::new(&[], ServerKind::new(ServerBehaviour::default()));
    let mut server = sealed.server();
    let foreign = BTreeMap::from([("/drop/W.json".to_owned(), b"{}".to_vec())]);
    server.files = foreign.clone();
    let completed = run(&mut sealed, &[0], &mut server, None);
    assert!(
        matches!(&completed[..], [(0, Err(DeliveryError::NameTaken { path }))] if path == "/drop/W.json"),
        "{completed:?}"
    );
    assert_eq!(server.files, foreign);
}
