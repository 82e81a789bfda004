//! Tokens: the source they give, unknown ones, and reloading their file.

use crate::test_relay::{TestRelay, chunk, request, wait_for};

const LINES: &[u8] = b"one\ntwo\n";
const NO_TOKEN: &str = "this port requires a token";
const UNKNOWN_TOKEN: &str = "the token is not in the relay's tokens file";

async fn site(group: &str, tokens: &str) -> TestRelay {
    let mut site = TestRelay::new();
    std::fs::write(site.path("tokens"), tokens).expect("room");
    let settings = format!("  tokens_file: {}\n", site.path("tokens").display());
    site.start(group, &settings).await;
    site
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn a_token_gives_the_source_of_the_lines() {
    let site = site(
        "sources: [web-1, '127.0.0.1']",
        "s3cret web-1\nother web-2\nany *\n",
    )
    .await;
    for (inode, token, source) in [(1, "s3cret", "web-1"), (2, "any", "127.0.0.1")] {
        assert_eq!(
            site.answer(&chunk(inode, LINES, &bearer(token))).await.status,
            200
        );
        assert!(
            site.stored()
                .contains(&(source.to_owned(), "one\ntwo\n".to_owned())),
            "{source}"
        );
    }
    let upload = |token: &str| {
        request(
            "/upload",
            &[],
            &bearer(token),
            br#"{"log": "three", "host": "x"}"#,
        )
    };
    assert_eq!(site.answer(&upload("s3cret")).await.body, "OK - 1 lines");
    let stored = site.stored();
    assert!(
        stored.contains(&("web-1".to_owned(), "one\ntwo\nthree\n".to_owned())),
        "{stored:?}"
    );

    for (token, status, reason) in [
        ("", 401, NO_TOKEN),
        ("authorization: Basic s3cret\r\n", 401, NO_TOKEN),
        (&bearer("wrong"), 401, UNKNOWN_TOKEN),
        (&bearer("s3cre"), 401, UNKNOWN_TOKEN),
        (&bearer("other"), 403, "web-2 is not among the sources of group a"),
        (
            &format!("{}ferry-source: web-2\r\n", bearer("s3cret")),
            403,
            "is for web-1, not for web-2",
        ),
    ] {
        let before = site.rejected();
        let refused = site.answer(&chunk(3, LINES, token)).await;
        refused.assert_refused(status, reason);
        assert_eq!(
            refused.head.contains("www-authenticate: bearer"),
            status == 401,
            "{refused:?}"
        );
        assert!(!refused.body.contains("s3cre"), "{refused:?}");
        assert_eq!(site.rejected(), before + 1);
    }
    site.answer(&upload("other")).await.assert_refused(403, "web-2");
    let without = request("/upload", &[], "", br#"{"log": "four"}"#);
    site.answer(&without).await.assert_refused(401, NO_TOKEN);
    assert_eq!(site.stored(), stored);
}

#[tokio::test]
async fn a_trusted_host_that_contradicts_the_token_is_refused() {
    let site = site(
        "sources: [web-1, web-2], trust_source: true",
        "s3cret web-1\nany *\n",
    )
    .await;
    let upload = |token: &str, host: &str| {
        let body = format!("{{\"log\": \"{token}-{host}\", \"host\": \"{host}\"}}");
        request("/upload", &[], &bearer(token), body.as_bytes())
    };
    site.answer(&upload("s3cret", "web-2"))
        .await
        .assert_refused(403, "is for web-1, not for web-2");
    for (token, host, source) in [("s3cret", "elsewhere", "web-1"), ("any", "web-2", "web-2")] {
        assert_eq!(site.answer(&upload(token, host)).await.status, 200);
        let line = (source.to_owned(), format!("{token}-{host}\n"));
        assert!(site.stored().contains(&line), "{source}");
    }
}

#[tokio::test]
async fn changed_tokens_are_used_without_a_restart_and_invalid_ones_are_not() {
    let site = site("", "old *\n").await;
    let is_known = async |token: &str| {
        let answer = site
            .answer(&request("/v1/heartbeat", &[], &bearer(token), b""))
            .await;
        assert!([400, 401].contains(&answer.status), "{answer:?}");
        answer.status == 400
    };
    assert!(is_known("old").await);
    std::fs::write(site.path("tokens"), "new *\n").expect("room");
    wait_for("the new token", async || is_known("new").await).await;
    assert!(!is_known("old").await);
    std::fs::write(site.path("tokens"), "broken\n").expect("room");
    assert!(is_known("new").await);
    std::fs::write(site.path("tokens"), "newest *\n").expect("room");
    wait_for("the newest token", async || is_known("newest").await).await;
}

#[test]
fn an_invalid_file_is_named_with_its_line_and_without_the_token() {
    let site = TestRelay::new();
    std::fs::write(site.path("tokens"), "a *\n\ns3cret ../etc\n").expect("room");
    let settings = format!("  tokens_file: {}\n", site.path("tokens").display());
    let found = logferry_relay::check_files(&site.config("", &settings));
    let [problem] = &found.problems[..] else {
        panic!("{found:?}")
    };
    let said = problem.to_string();
    for word in ["relay.tokens_file: ", "tokens cannot be used", "line 3"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
}
