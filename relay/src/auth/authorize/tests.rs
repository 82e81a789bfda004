//! Tests of authorization, case by case.

use proptest::prelude::*;

use super::*;

/// A group with these sources.
fn group(sources: &str, trust_source: bool) -> GroupSettings {
    let text = format!(
        "relay:\n  data_dir: /d\n  groups:\n    - {{name: web-1, listen: \"127.0.0.1:0\", sources: {sources}, \
         trust_source: true}}\n"
    );
    let config = logferry_config::parse(&text, "test.yaml".as_ref(), &|_| None).expect("valid");
    let mut relay = config.relay.expect("a relay section");
    let mut group = relay.groups.remove(0);
    group.trust_source = trust_source;
    group
}

/// Authorizes a client without certificate and token.
fn authorize_address(group: &GroupSettings, peer: &str, claimed: Option<&str>) -> Option<String> {
    let client = PeerIdentity {
        address: peer.parse().expect("an address"),
        certificate: None,
        token: None,
    };
    authorize(group, client, claimed)
        .ok()
        .map(|source| source.to_string())
}

#[test]
fn the_source_is_the_peers_address() {
    let group = group("[\"198.51.100.1-198.51.100.5\"]", false);
    for (peer, claimed, expected) in [
        ("198.51.100.5", None, Some("198.51.100.5")),
        ("::ffff:198.51.100.5", None, Some("198.51.100.5")),
        ("198.51.100.6", None, None),
        ("198.51.100.5", Some("198.51.100.1"), Some("198.51.100.5")),
    ] {
        let source = authorize_address(&group, peer, claimed);
        assert_eq!(source.as_deref(), expected, "{peer} {claimed:?}");
    }
}

#[test]
fn a_named_source_counts_only_where_it_is_trusted_and_listed() {
    let group = group("[\"198.51.100.1\", \"web-7\"]", true);
    for (claimed, expected) in [
        (Some("198.51.100.1"), Some("198.51.100.1")),
        (Some("web-7"), Some("web-7")),
        (Some("198.51.100.9"), None),
        (Some("../../etc"), None),
        (None, None),
    ] {
        let source = authorize_address(&group, "203.0.113.1", claimed);
        assert_eq!(source.as_deref(), expected, "{claimed:?}");
    }
}

/// A client at 198.51.100.1, which every group here admits, with a certificate and a token as given.
fn bound(
    group: &GroupSettings,
    certificate: Option<&[&str]>,
    token: Option<&str>,
    claimed: Option<&str>,
) -> Result<String, String> {
    let source = |name: &str| name.parse::<SourceId>().expect("a source");
    let names: Option<Vec<SourceId>> =
        certificate.map(|names| names.iter().map(|name| source(name)).collect());
    let token = token.map(|token| match token {
        "*" => TokenOwner::Anyone,
        name => TokenOwner::Source(source(name)),
    });
    let client = PeerIdentity {
        address: "198.51.100.1".parse().expect("an address"),
        certificate: names.as_deref(),
        token: token.as_ref(),
    };
    let authorized = authorize(group, client, claimed);
    authorized
        .map(|source| source.to_string())
        .map_err(|refusal| refusal.to_string())
}

const SOURCES: &str = "[\"198.51.100.1-198.51.100.9\", \"web-1\", \"web-2\"]";

#[test]
fn a_certificate_gives_the_source() {
    for trust_source in [false, true] {
        let group = group(SOURCES, trust_source);
        let by = |names: &[&str], claimed| bound(&group, Some(names), None, claimed);
        for (names, claimed, expected) in [
            (&["198.51.100.2"][..], None, "198.51.100.2"),
            (&["elsewhere", "web-1", "198.51.100.2"], None, "web-1"),
            (&["web-1", "198.51.100.2"], Some("198.51.100.2"), "198.51.100.2"),
            (&["web-1"], Some("web-1"), "web-1"),
        ] {
            let source = by(names, claimed);
            assert_eq!(source.as_deref(), Ok(expected), "{names:?} {claimed:?}");
        }
        for (names, claimed, reason) in [
            (&["elsewhere"][..], Some("web-1"), "not for web-1"),
            (&[], None, "is for no host, which is not"),
            (
                &["198.51.100.77", "x"],
                None,
                "is for 198.51.100.77, x, which is not",
            ),
            (&["web-1"], Some("web-2"), "not for web-2"),
            (&["web-1"], Some("198.51.100.1"), "not for 198.51.100.1"),
            (&["web-1", "x"], Some("x"), "not for x"),
            (&["web-1"], Some("a\nb"), "ferry-source"),
        ] {
            let said = by(names, claimed).expect_err(reason);
            assert!(said.contains(reason), "{said}");
        }
    }
}

#[test]
fn a_token_gives_the_source_unless_it_is_for_any_client() {
    for (trust_source, token, claimed, expected) in [
        (false, "web-1", None, Ok("web-1")),
        (true, "web-1", Some("web-1"), Ok("web-1")),
        (true, "web-1", Some("web-2"), Err("not for web-2")),
        (false, "web-1", Some("web-2"), Err("not for web-2")),
        (false, "web-9", None, Err("web-9 is not among the sources")),
        (false, "*", None, Ok("198.51.100.1")),
        (false, "*", Some("web-1"), Ok("198.51.100.1")),
        (true, "*", Some("web-1"), Ok("web-1")),
        (true, "*", Some("web-9"), Err("web-9 is not among the sources")),
    ] {
        let authorized = bound(&group(SOURCES, trust_source), None, Some(token), claimed);
        match (authorized, expected) {
            (Ok(source), Ok(expected)) => assert_eq!(source, expected),
            (Err(said), Err(reason)) => assert!(said.contains(reason), "{said}"),
            (authorized, _) => panic!("{token} {claimed:?}: {authorized:?}"),
        }
    }
}

#[test]
fn a_certificate_and_a_token_must_agree() {
    let group = group(SOURCES, true);
    let both = |token, claimed| bound(&group, Some(&["198.51.100.2", "web-1"]), Some(token), claimed);
    assert_eq!(both("web-1", None).as_deref(), Ok("web-1"));
    assert_eq!(both("*", None).as_deref(), Ok("198.51.100.2"));
    assert_eq!(both("*", Some("web-1")).as_deref(), Ok("web-1"));
    for (token, claimed) in [("web-2", None), ("web-1", Some("198.51.100.2"))] {
        let said = both(token, claimed).expect_err("refused");
        assert!(
            said.contains("the client's certificate or token is for"),
            "{said}"
        );
    }
}

proptest! {
    /// An id can only stand in for an address: never where a certificate, a token or a trusted name gives the source.
    #[test]
    fn what_an_id_may_replace_comes_from_the_address_alone(
        trust_source in any::<bool>(),
        certificate in prop::option::of(prop::sample::subsequence(vec!["web-1", "web-2", "198.51.100.2"], 0..3)),
        token in prop::option::of(prop::sample::select(vec!["*", "web-1", "198.51.100.2"])),
        claimed in prop::option::of(prop::sample::select(vec!["web-1", "198.51.100.2", "web-9"])),
    ) {
        let group = group(SOURCES, trust_source);
        let owner = token.map(|token| match token {
            "*" => TokenOwner::Anyone,
            name => TokenOwner::Source(name.parse().expect("a source")),
        });
        let names: Option<Vec<SourceId>> =
            certificate.as_ref().map(|names| names.iter().map(|name| name.parse().expect("a source")).collect());
        let client = PeerIdentity {
            address: "198.51.100.1".parse().expect("an address"),
            certificate: names.as_deref(),
            token: owner.as_ref(),
        };
        let authorized = authorize(&group, client, claimed);
        if is_by_address(&group, client, claimed) {
            prop_assert_eq!(authorized, Ok(SourceId::from(client.address)));
            prop_assert!(names.is_none() && !matches!(owner, Some(TokenOwner::Source(_))));
        } else if let Ok(source) = authorized {
            prop_assert_ne!(source, SourceId::from(client.address));
        }
    }
}
